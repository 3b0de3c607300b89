// The run over time: curves, ranges of every layer as a picture, and a slider that moves all of it.
const MEASURES = {
  gradient: ["gradients of activations", r => r.activations, a => (a.gradient || {}).norm ?? (a.gradient || {}).std],
  signal: ["spread of activations", r => r.activations, a => a.std ?? a.norm],
  weights: ["spread of parameters", r => r.parameters, p => p.std ?? p.norm],
  slope: ["gradients of parameters", r => r.parameters, p => (p.gradient || {}).norm],
  update: ["update ratio", r => r.parameters, p => p.update_ratio],
  dead: ["dead share of units", r => r.activations, a => a.dead],
  saturated: ["saturated share of values", r => r.activations, a => a.saturated],
  rank: ["effective rank of activations", r => r.activations, a => a.rank],
  shattering: ["gradients' likeness to white noise", r => r.activations, a => a.shattering],
};
const SHARES = ["dead", "saturated"]; // from 0 to 1, not by decades

const WHOLE = [["grad_norm", "gradient norm", "var(--adjoint)"], ["update_ratio", "update ratio", "var(--value)"],
  ["noise_scale", "gradient noise scale", "var(--ink-soft)"], ["curvature", "curvature along the step", "var(--good)"]];

// a run that was taken up again begins with the step that it was taken up at: what came after that was made anew
function steps(training) {
  const list = [];
  for (const r of (training || {}).records || []) {
    if (!Number.isFinite(r.step) || Math.abs(r.step) > 1e15) continue; // damaged
    if (r.kind === "start") while (list.length && list[list.length - 1].step >= r.step) list.pop();
    if (r.kind === "step") list.push(r);
  }
  return list;
}
const thin = (list, most) => list.length <= most ? list : Array.from({length: most}, (_, k) => list[Math.round(k * (list.length - 1) / (most - 1))]);

function trainingCharts(training) {
  const records = thin(steps(training), 600);
  if (!records.length) return [word("p", "waiting for the first record", {class: "soft"})];
  const xs = records.map(r => r.step), mark = state.step === null ? null : state.step;
  const epochs = (training.records || []).filter(r => r.kind === "epoch" && r.metrics && Number.isFinite(r.step));
  const metrics = [...new Set(epochs.flatMap(r => Object.keys(r.metrics)))];
  const metric = (name, colour, dash) => ({name, colour, dash, xs: epochs.map(r => r.step), ys: epochs.map(r => r.metrics[name])});
  const charts = [["loss over training", [{name: t("Loss"), colour: "var(--mark)", xs, ys: records.map(r => r.loss)},
    ...metrics.filter(m => /loss$/.test(m)).map(m => ({...metric(m, m === "loss" ? "var(--ink-soft)" : "var(--adjoint)", "5 4"), name: `${m === "loss" ? t("Loss") : m} (${t("epoch")})`}))], false]];
  for (const m of metrics.filter(m => !/loss$/.test(m)).slice(0, 2)) charts.push([m, [metric(m, "var(--good)")], false]);
  for (const [key, name, colour] of WHOLE) {
    const at = records.filter(r => (r.whole || {})[key] > 0);
    if (at.length > 1 || (key === "grad_norm" && at.length))
      charts.push([name, [{name: t(name), colour, xs: at.map(r => r.step), ys: at.map(r => r.whole[key])}], true]);
  }
  charts.push(...shareOver(records));
  const beside = Math.max(1, Math.min(charts.length, Math.floor((roomy(1) + 60) / 456)));
  const parts = charts.map(([name, lines, log, unit, range]) => el("figure", {class: "card"}, el("figcaption", {}, head(name), lines.length > 1 ? legendOf(lines) : null),
    curves(t(name), lines, {log, mark, unit, range, width: roomy(1 / beside) - 8})));
  const available = Object.keys(MEASURES).filter(m => records.some(r => Object.values(MEASURES[m][1](r) || {}).some(p => MEASURES[m][2](p) !== undefined)));
  if (!available.length) return [el("div", {class: "pair"}, parts)];
  const measure = available.includes(state.measure) ? state.measure : available[0];
  const pick = choice(t("Measure"), available.map(m => [m, t(MEASURES[m][0])]), measure, m => set({measure: m}));
  return [el("div", {class: "pair"}, parts), el("figure", {class: "card wide"}, el("figcaption", {}, head("parameter range")), pick, el("p", {class: "soft"}, long(SHARES.includes(measure) ? "parts" : "ranges")), heat(records, measure, mark))];
}

// the layer with most dead units, and the one with most saturated values, at each step
function shareOver(records) {
  const lines = [["dead", "var(--bad)"], ["saturated", "var(--adjoint)"]].map(([key, colour]) => {
    const found = records.map(r => [r.step, Object.values(r.activations || {}).map(a => a[key]).filter(Number.isFinite)]).filter(([, v]) => v.length);
    return {name: t(key), colour, xs: found.map(([x]) => x), ys: found.map(([, v]) => 100 * Math.max(...v))};
  }).filter(l => l.xs.length > 1);
  return lines.length ? [["dead and saturated, in the worst layer", lines, false, " %", [0, 100]]] : [];
}

// rows are layers, columns are steps, colours are decades against the whole picture's median
function heat(records, measure, mark) {
  const [, table, read] = MEASURES[measure], names = [], seen = new Set(), share = SHARES.includes(measure), said = share ? percent : number;
  records = records.filter(r => Object.values(table(r) || {}).some(p => read(p) !== undefined)); // some numbers are taken more seldom
  for (const r of records) for (const [name, entry] of Object.entries(table(r) || {})) if (!seen.has(name) && read(entry) !== undefined) {
    seen.add(name);
    names.push(name);
  }
  const shown = thin(records, 160), values = names.map(name => shown.map(r => read((table(r) || {})[name] || {})));
  const logs = values.flat().map(v => v === null || v === undefined ? null : log10(v)).filter(v => v !== null).sort((a, b) => a - b);
  const middle = logs[Math.floor(logs.length / 2)] ?? 0;
  const limit = Math.max(0.5, Math.abs((logs[Math.floor(logs.length * 0.02)] ?? 0) - middle), Math.abs((logs[Math.floor(logs.length * 0.98)] ?? 0) - middle));
  const row = Math.max(9, Math.min(20, 360 / names.length)), L = 150, W = roomy(1), R = 76, H = names.length * row + 26, wide = (W - L - R) / shown.length;
  const picture = svg("svg", {viewBox: `0 0 ${W} ${H}`, class: "curves", role: "img",
    "aria-label": `${t(MEASURES[measure][0])}: ` + names.map((n, k) => `${n} ${said(values[k][values[k].length - 1])}`).join(", ")});
  const every = Math.ceil(11 / row);
  names.forEach((name, i) => {
    if (i % every === 0) picture.append(svg("text", {x: L - 8, y: i * row + row / 2 + 4, "text-anchor": "end"}, cut(name, 22)));
    values[i].forEach((v, k) => {
      if (v === undefined) return;
      const d = v === null ? undefined : log10(v), at = share ? level(v, 1) : level(d === null ? null : d - middle, limit);
      const shade = v === null ? "var(--ink)" : palette.levels[at];
      picture.append(svg("rect", {x: L + k * wide, y: i * row, width: wide + 0.4, height: row - (row > 12 ? 1 : 0), fill: shade},
        svg("title", {}, `${name}, ${t("step")} ${shown[k].step}: ${said(v)}`)));
    });
    const end = values[i][values[i].length - 1];
    if (i % every === 0) picture.append(svg("text", {x: W - R + 8, y: i * row + row / 2 + 4}, end === undefined ? "" : said(end)));
  });
  for (const k of [...new Set(ticks(0, shown.length - 1, 6).map(Math.round))].filter(k => shown[k]))
    picture.append(svg("text", {x: L + (k + 0.5) * wide, y: H - 6, "text-anchor": "middle"}, number(shown[k].step)));
  if (mark !== null) {
    const k = shown.reduce((best, r, i) => Math.abs(r.step - mark) < Math.abs(shown[best].step - mark) ? i : best, 0);
    picture.append(svg("rect", {x: L + k * wide, y: 0, width: Math.max(wide, 2), height: names.length * row, class: "column"}));
  }
  return picture;
}

// the slider; at its right end the page shows the diagnosis (or the newest record of a live run)
function scrubber(training) {
  const records = steps(training);
  if (records.length < 2) return null;
  const now = state.step === null ? records.length : records.findIndex(r => r.step === state.step);
  const said = el("output", {}, state.step === null ? t("latest") : `${t("step")} ${state.step}`);
  const slider = el("input", {type: "range", min: 0, max: records.length, value: now, step: 1, "aria-label": t("Training step"),
    "aria-valuetext": said.textContent, oninput: () => {
      const r = records[+slider.value];
      set({step: r ? r.step : null});
      said.textContent = r ? `${t("step")} ${r.step}` : t("latest");
      slider.setAttribute("aria-valuetext", said.textContent);
    }});
  let timer = null;
  const play = button(t("Play"), {class: "small", onclick: () => {
    if (timer) return halt();
    if (+slider.value >= records.length) slider.value = 0;
    play.textContent = t("Pause");
    timer = setInterval(() => {
      if (!slider.isConnected || +slider.value >= records.length) return halt();
      slider.value = +slider.value + Math.max(1, Math.round(records.length / 120));
      slider.dispatchEvent(new Event("input"));
    }, 120);
  }});
  const halt = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = t("Play");
  };
  return el("div", {class: "scrubber"}, play, el("label", {}, t("Training step"), slider), said);
}

// the colours of the network at one training step, from what was recorded for each module
function coloursAt(training, newestToo) {
  const all = steps(training), newest = newestToo ? all[all.length - 1] : null;
  const record = state.step === null ? newest : all.find(r => r.step === state.step);
  if (!record) return null;
  const sizes = new Map(), pick = a => state.direction === "backward" ? (a.gradient || {}).norm ?? (a.gradient || {}).std : a.norm ?? a.std;
  for (const [call, a] of Object.entries(record.activations || {})) {
    const v = pick(a);
    if (v !== undefined) sizes.set(call, v === null ? undefined : log10(v));
  }
  const largest = Math.max(...[...sizes.values()].filter(v => v !== null && v !== undefined));
  const at = box => {
    for (let b = box; b; b = b.parent) for (const key of [b.path, (b.module || {}).call]) if (key && sizes.has(key)) {
      const v = sizes.get(key);
      return v === null ? null : v === undefined ? undefined : v - largest;
    }
    return undefined;
  };
  const low = Math.min(0, ...[...sizes.values()].filter(Number.isFinite).map(v => v - largest));
  return {record: withHistograms(all, record), at, limit: [1, 2, 4, 8, 16].find(x => x >= -low) || 16};
}

// histograms are taken more seldom than norms: the last ones before a step go with it
function withHistograms(all, record) {
  const found = {...record};
  const before = all.slice(0, all.indexOf(record) + 1).reverse();
  for (const part of ["activations", "parameters"]) {
    const last = before.find(r => Object.values(r[part] || {}).some(e => e.histogram));
    if (!last || last === record) continue;
    found[part] = {};
    for (const [name, e] of Object.entries(record[part] || {})) {
      const old = last[part][name] || {};
      found[part][name] = {...e, histogram: e.histogram || old.histogram,
        gradient: {...e.gradient, histogram: (e.gradient || {}).histogram || (old.gradient || {}).histogram}};
    }
  }
  return found;
}
