// The verdict, the findings, and the ledger: what each kind of step does to the gradient and to the signal.
function hero(data) {
  const verdict = data.verdict || "";
  const numbers = [];
  if (data.loss !== undefined) numbers.push([t("Loss"), number(data.loss)]);
  const total = ((data.ledger || {}).backward || {}).total;
  if (total !== undefined) numbers.push([`${t("gradient")}, ${t("whole way")}`, `${decades(total)} (${factor(total)})`]);
  const nodes = data.nodes || [];
  if (nodes.length) numbers.push([t("operations"), number(nodes.filter(n => (n.role || "step") === "step").length)]);
  const modules = (data.modules || []).filter(m => m.path && m.class !== "turn" && m.class !== "function");
  if (modules.length) numbers.push([t("modules"), number(modules.length)]);
  return el("div", {class: "hero"},
    verdict ? el("p", {class: "verdict", "data-healthy": verdict === "healthy"}, el("span", {class: "sign", "aria-hidden": "true"}, verdict === "healthy" ? "✓" : "!"), head(verdict)) : null,
    el("div", {class: "said"}, state.language === "zh" && (data.findings || []).length ? el("p", {lang: "zh"}, inChinese(data.findings[0])) : null,
      el("p", {lang: "en", class: state.language === "zh" ? "soft" : null}, head(data.summary || ""))),
    numbers.length ? el("dl", {class: "numbers"}, numbers.map(([k, v]) => el("div", {}, el("dt", {}, k), el("dd", {}, v)))) : null);
}

function findings(data, stage) {
  const list = data.findings || [];
  return list.map((f, k) => {
    const shares = Object.entries(f.shares || {}).filter(([, s]) => s > 0.004).sort((a, b) => b[1] - a[1]);
    return el("article", {class: "finding"},
      el("h3", {}, el("span", {class: "rank", "aria-hidden": "true"}, String(k + 1)), head(f.kind)),
      f.where ? el("p", {class: "where"}, placeName(f.where)) : null,
      state.language === "zh" ? el("p", {lang: "zh"}, inChinese(f)) : null,
      el("p", {lang: "en", class: state.language === "zh" ? "soft" : null}, head(f.cause || "")),
      shares.length ? shareStrip(shares) : null,
      f.line ? source(f.line) : null,
      evidence(f.evidence),
      (f.remedies || []).length ? [el("h4", {}, t("Remedies")), el("ol", {class: "remedies"}, f.remedies.map(r =>
        el("li", {}, el("b", {}, phrase(r.name)), r.reason ? el("span", {}, ` ${phrase(r.reason)}`) : null)))] : null,
      (f.modules || []).length ? button(t("Show in the network"), {class: "small", onclick: () => stage.point(f.modules)}) : null);
  });
}

function shareStrip(shares) {
  const whole = shares.reduce((sum, [, s]) => sum + s, 0) || 1;
  return el("div", {class: "shares"},
    el("div", {class: "strip", role: "img", "aria-label": shares.map(([k, s]) => `${t(k)} ${percent(s)}`).join(", ")},
      shares.map(([k, s]) => el("span", {style: {"flex-grow": String(s / whole), background: kindColour(k)}}))),
    el("ul", {}, shares.map(([k, s]) => el("li", {}, el("i", {class: "swatch", style: {background: kindColour(k)}}), `${t(k)} `, el("b", {}, percent(s))))));
}

function evidence(facts) {
  const rows = Object.entries(facts || {}).filter(([, v]) => v === null || ["number", "string", "boolean"].includes(typeof v)).slice(0, 8);
  if (!rows.length) return null;
  return el("details", {}, el("summary", {}, head("Evidence")), facts_(rows.map(([k, v]) => [t(k.replaceAll("_", " ")), typeof v === "number" || v === null ? number(v) : String(v)])));
}

function causes(data) {
  const ledger = data.ledger || {}, parts = [el("p", {class: "lead"}, long("causes"))];
  const ways = ["backward", "forward"].filter(w => ledger[w] && ledger[w].by_kind);
  const most = Math.max(0.1, ...ways.flatMap(w => Object.values(ledger[w].by_kind).map(d => Math.abs(d ?? 0))));
  parts.push(el("div", {class: "pair"}, ways.map(w => {
    const kinds = Object.entries(ledger[w].by_kind).filter(([, d]) => d === null || d !== 0);
    kinds.sort((a, b) => Math.abs(b[1] ?? 99) - Math.abs(a[1] ?? 99));
    const rows = kinds.map(([k, d]) => ({name: t(k), kind: k, value: d, mark: kindColour(k)}));
    if (ledger[w].total !== undefined) rows.push({name: t("Total"), value: ledger[w].total, total: true});
    const limit = Math.max(most, Math.abs(ledger[w].total ?? 0));
    return el("figure", {class: "card"}, el("figcaption", {}, long(w)), barTable(long(w), rows,
      {limit, text: decades, colour: r => r.total ? "var(--ink-soft)" : kindColour(r.kind), head: [t("kind"), "", t("decades")]}));
  })));
  const way = ledger[state.direction] || {}, layered = way.by_layer || way.by_module || [];
  if (layered.length > 1) parts.push(along(layered.map(e => ({...e, name: e.name || e.path})), t("By layer")));
  if ((way.by_turn || []).length > 1) parts.push(along(way.by_turn.map(e => ({...e, name: String(e.turn)})), t("By time step")));
  if (data.depth) parts.push(theory(data.depth));
  return parts;
}

// mean-field theory of wide layers, from the weights as they stand and no data
function theory(d) {
  const s = d.scales || {}, rows = [[t("layers with weights"), number(d.depth)]];
  if (d.decades !== undefined) rows.push([t("gradient, whole way"), `${decades(d.decades)}   ${factor(d.decades)}`]);
  if (typeof s.chi === "number") rows.push([`χ₁ (${t("factor of the gradient's square, layer by layer")})`, `${number(s.chi)}${s.phase ? `   ${t(s.phase)}` : ""}`]);
  if (typeof s.q === "number") rows.push([`q* (${t("variance that the signal comes to")})`, number(s.q)]);
  if (typeof s.weight_variance === "number") rows.push(["σ_w², σ_b²", `${number(s.weight_variance)}, ${number(s.bias_variance)}`]);
  if (typeof s.xi_c === "number") rows.push([`ξ (${t("depth scale")})`, `${number(s.xi_c)} ${t("layers")}`]);
  if (typeof d.passes === "boolean") rows.push([t("a signal gets through"), t(d.passes ? "yes" : "no")]);
  return el("figure", {class: "card wide theory"}, el("figcaption", {}, t("In theory, before any training"), el("small", {}, long("theory"))), facts_(rows));
}

function along(entries, title) {
  const found = entries.map(e => ({name: e.name || "", total: e.total, by_kind: e.by_kind || {}}));
  const kinds = KINDS.filter(k => found.some(e => Math.abs(e.by_kind[k] ?? 0) > 1e-9));
  const legend = el("ul", {class: "legend"}, kinds.map(k => el("li", {}, el("i", {class: "swatch", style: {background: kindColour(k)}}), t(k))));
  const table = el("table", {class: "plain"}, el("thead", {}, el("tr", {}, [title, ...kinds.map(t), t("Total")].map(h => el("th", {scope: "col"}, h)))),
    el("tbody", {}, found.map(e => el("tr", {}, el("th", {scope: "row"}, e.name),
      kinds.map(k => el("td", {class: "n"}, e.by_kind[k] === undefined ? "" : decades(e.by_kind[k]))), el("td", {class: "n"}, decades(e.total))))));
  return el("figure", {class: "card wide"}, el("figcaption", {}, `${title} · ${t(state.direction)} (${t("decades")})`), legend,
    stacked(title, found, kinds), el("details", {}, el("summary", {}, head("numbers as a table")), el("div", {class: "scroll"}, table)));
}

// the shares that count; what lies between and around them is summed up in a row
function thinned(shares) {
  const rows = [];
  let run = null;
  shares.forEach((s, k) => {
    if (s === null || Math.abs(s) >= 1e-3 || shares.length < 8) {
      run = null;
      rows.push({name: String(k), value: s});
    } else if (run) {
      run.value += s;
      run.name = `${run.first} – ${k}`;
    } else rows.push(run = {name: String(k), first: k, value: s});
  });
  return rows;
}

function shareCharts(data) {
  const one = (found, title, axis) => {
    if (!found || !(found.shares || []).length) return null;
    const rows = thinned(found.shares);
    return el("figure", {class: "card"}, el("figcaption", {}, head(title), found.parameter ? el("code", {}, ` ${found.parameter}`) : null, el("small", {}, head(axis))),
      barTable(t(title), rows, {text: percent, colour: () => "var(--mark)", head: [t(axis), "", t("share")]}));
  };
  const both = [one(data.path_length, "Gradient by path length", "weighted layers crossed"), one(data.lag, "Gradient by time lag", "steps back in time")].filter(Boolean);
  return both.length ? [el("p", {class: "lead"}, long("shares")), el("div", {class: "pair"}, both)] : [];
}
