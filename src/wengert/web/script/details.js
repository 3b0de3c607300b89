// Everything that is known of the box that was chosen.
const STATS = ["norm", "mean", "std", "min", "max", "zero", "dead", "saturated"];

function details(scene, box, record) {
  if (!box) return [word("p", "Click a box to see its numbers.", {class: "soft"}), el("p", {class: "soft"}, long("keys")),
    ...scene && scene.data.ledger ? details(scene, scene.root, null) : []];
  const node = box.node || {}, module = box.module || {};
  const parts = [el("h3", {}, box.name), el("p", {class: "soft path"}, [...box.trail.slice(1, -1).map(b => b.name), box.cls].filter(Boolean).join(" › "))];
  const facts = [];
  if (node.shape) facts.push([t("shape"), `${node.shape.join(" × ") || t("value")}${node.dtype ? "  " + node.dtype : ""}`]);
  if (node.turn !== undefined && node.turn !== null) facts.push([t("time step"), String(node.turn)]);
  if (!box.leaf) facts.push([t("steps inside"), String(box.size)]);
  for (const way of ["backward", "forward"]) {
    const d = scene.gain(box, way);
    if (d !== undefined) facts.push([t("gain " + way), `${decades(d)}   ${factor(d)}`]);
  }
  if (typeof node.derivative === "string") facts.push([t("local derivative"), node.derivative]);
  parts.push(facts_(facts));
  if (node.line) parts.push(source(node.line));
  const kinds = Object.entries(scene.kinds(box, state.direction)).filter(([, d]) => d === null || Math.abs(d) > 0.004);
  if (kinds.length > 1 || (kinds.length && !box.leaf)) parts.push(el("h4", {}, `${t("By kind")} (${t(state.direction)})`),
    barTable(t("By kind"), kinds.map(([k, d]) => ({name: t(k), value: d, mark: kindColour(k), kind: k})),
      {text: decades, colour: r => kindColour(r.kind), head: [t("kind"), "", t("decades")]}));
  const kept = record && (box.kind === "parameter" ? record.parameters : record.activations);
  const seen = kept && (kept[node.name] || kept[box.path] || kept[module.call]);
  const forward = seen || node.forward || module.forward, gradient = seen ? seen.gradient : node.gradient || module.gradient;
  if (record && seen) parts.push(el("p", {class: "moment"}, `${t("Training step")} ${record.step}`));
  const extra = seen ? {} : {...(module.dead !== undefined ? {dead: module.dead} : {}), ...(module.saturated !== undefined ? {saturated: module.saturated} : {})};
  parts.push(statistics("value", {...extra, ...forward}, "values", "var(--value)"));
  if (node.derivative && typeof node.derivative === "object")
    parts.push(statistics("local derivative", node.derivative, "local derivative", "var(--ink-soft)"));
  parts.push(statistics("gradient", gradient, "gradients", "var(--adjoint)"));
  return parts;
}

function facts_(rows) {
  return el("dl", {class: "facts"}, rows.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text))));
}

function source(line) {
  return el("div", {class: "source"}, el("div", {class: "where"}, line.file ? `${line.file}:${line.line}${line.function ? ` · ${line.function}` : ""}` : t("source line")),
    el("pre", {}, el("code", {}, (line.text || "").trim())));
}

function statistics(name, stats, caption, colour) {
  if (!stats) return null;
  const rows = STATS.filter(k => stats[k] !== undefined).map(k =>
    [t(k), k === "zero" || k === "dead" || k === "saturated" ? percent(stats[k]) : number(stats[k])]);
  if (!rows.length && !stats.histogram) return null;
  return el("section", {class: "statistics"}, el("h4", {}, head(name)), histogram(stats, t(caption), colour), facts_(rows));
}
