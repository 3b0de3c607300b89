// A run that is still going on: new records are asked for once a second, from the byte where the last answer ended.
function follow(data, update) {
  const say = text => {
    const place = $("live");
    place.hidden = false;
    place.dataset.word = text;
    place.textContent = t(text);
  };
  let at = 0, reports = "", wait = 1000;
  data.training ||= {run: {}, records: []};
  const ask = async () => {
    try {
      const answer = await fetch(`records.jsonl?from=${at}`, {cache: "no-store"});
      if (!answer.ok) throw new Error(String(answer.status));
      const text = await answer.text(), next = Number(answer.headers.get("X-Next") || at);
      if (next < at) data.training.records.length = 0; // the run was begun anew
      at = next;
      const fresh = text.split("\n").filter(Boolean).map(parse).filter(Boolean);
      data.training.records.push(...fresh);
      const done = data.training.records.some(r => r.kind === "end");
      say(done ? "ended" : "live");
      const stamp = answer.headers.get("X-Report") || "";
      let report = null;
      if (stamp && stamp !== reports) {
        report = await (await fetch("report.json", {cache: "no-store"})).json();
        reports = stamp;
      }
      if (fresh.length || report) update(report);
      wait = fresh.length ? 250 : done ? 5000 : 1000;
    } catch {
      say("connection lost");
      wait = Math.min(8000, wait * 2);
    }
    setTimeout(ask, wait);
  };
  const begin = async () => {
    try {
      data.training.run = await (await fetch("run.json", {cache: "no-store"})).json();
      update(null);
    } catch {
      say("connection lost");
    }
    ask();
  };
  begin();
}

function parse(line) {
  try {
    return JSON.parse(line);
  } catch {
    return null; // the last line of a run that was cut off
  }
}
