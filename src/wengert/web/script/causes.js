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
    el("div", {class: "said"}, summary(data)),
    numbers.length ? el("dl", {class: "numbers"}, numbers.map(([k, v]) => el("div", {}, el("dt", {}, k), el("dd", {}, v)))) : null);
}

function summary(data) {
  const first = (data.findings || [])[0];
  if (state.language !== "zh") return el("p", {}, head(data.summary || ""));
  if (first) return sentence(first);
  return data.verdict === "healthy" ? el("p", {}, LONG.zh.healthy) : el("p", {lang: "en"}, head(data.summary || ""));
}

// the cause in the reader's language; what no pattern knows is told by kind and shares, with the English below
function sentence(f) {
  if (state.language !== "zh") return el("p", {lang: "en"}, head(f.cause || ""));
  const said = cause(f.cause || "");
  return [el("p", {lang: "zh"}, said ? `${MEANINGS[f.kind] || ""}${said}` : inChinese(f)), said ? null : el("p", {lang: "en", class: "soft"}, head(f.cause || ""))];
}

function findings(data, stage) {
  const list = data.findings || [];
  return list.map((f, k) => {
    const shares = Object.entries(f.shares || {}).filter(([, s]) => s > 0.004).sort((a, b) => b[1] - a[1]);
    return el("article", {class: "finding"},
      el("h3", {}, el("span", {class: "rank", "aria-hidden": "true"}, String(k + 1)), head(f.kind)),
      f.where ? el("p", {class: "where"}, placeName(f.where)) : null,
      sentence(f),
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
  return el("details", {}, el("summary", {}, head("Evidence")), facts_(rows.map(([k, v]) => [t(k.replaceAll("_", " ")), typeof v === "number" || v === null ? number(v) : phrase(String(v))])));
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
  if ((data.spectrum || []).length) parts.push(spectra(data.spectrum));
  if (data.depth) parts.push(theory(data.depth));
  return parts;
}

// the singular values from each layer to the next, a column of strokes each: near 1 where a layer keeps what goes through it
function spectra(rows) {
  const logs = rows.map(r => (r.values || []).map(v => log10(v ?? 0)).filter(v => v !== null));
  const all = logs.flat(), W = roomy(1), H = 230, L = 56, R = 10, T = 12, B = 46, slot = (W - L - R) / rows.length;
  if (!all.length) return null;
  const y1 = Math.max(0.3, ...all) + 0.1, y0 = Math.max(y1 - 16, Math.min(-0.3, ...all) - 0.1), Y = y => T + (y1 - Math.max(y0, y)) / (y1 - y0) * (H - T - B);
  const name = r => `${r.from} → ${r.to}`, title = t("Jacobians from layer to layer");
  const picture = svg("svg", {viewBox: `0 0 ${W} ${H}`, class: "curves spectra", role: "img",
    "aria-label": `${title}: ${rows.map(r => `${name(r)} ${number(r.rms)}`).join(", ")}`});
  for (const y of logTicks(y0, y1)) picture.append(svg("line", {x1: L, x2: W - R, y1: Y(y), y2: Y(y), class: y === 0 ? "axis" : "grid"}),
    svg("text", {x: L - 7, y: Y(y) + 4, "text-anchor": "end"}, logName(y)));
  const wide = Math.min(40, slot * 0.7), every = Math.ceil(84 / slot);
  rows.forEach((r, k) => {
    const x = L + slot * (k + 0.5), middle = log10(r.rms ?? 0), group = svg("g", {}, svg("title", {}, `${name(r)}: ${number(r.rms)}`));
    for (const y of logs[k]) group.append(svg("line", {x1: x - wide / 2, x2: x + wide / 2, y1: Y(y), y2: Y(y), class: "value"}));
    if (middle !== null) group.append(svg("circle", {cx: x, cy: Y(middle), r: 3.2, class: "middle"}));
    picture.append(group);
    if (k % every === 0 || k === rows.length - 1 && (rows.length - 1) % every > every / 2)
      picture.append(svg("text", {x, y: H - B + 18, "text-anchor": "middle"}, cut(name(r), Math.max(9, Math.floor(every * slot / 7)))));
  });
  const table = el("table", {class: "plain"}, el("thead", {}, el("tr", {}, [t("layers"), t("max"), t("min"), t("root mean square")].map(h => el("th", {scope: "col"}, h)))),
    el("tbody", {}, rows.map(r => el("tr", {}, el("th", {scope: "row"}, name(r)), [(r.values || [])[0], (r.values || []).at(-1), r.rms].map(v => el("td", {class: "n"}, number(v)))))));
  return el("figure", {class: "card wide"}, el("figcaption", {}, `${title}: ${t("singular values")}`, el("small", {}, long("spectrum"))), picture,
    el("details", {}, el("summary", {}, head("numbers as a table")), el("div", {class: "scroll"}, table)));
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
  const found = entries.map(e => ({name: ["loss", "input"].includes(e.name) ? t(e.name) : e.name || "", total: e.total, by_kind: e.by_kind || {}}));
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
