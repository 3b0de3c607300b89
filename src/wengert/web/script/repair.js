// What was tried, and whether it helped: loss before and after, side by side, with the spread over seeds.
function repairs(repair) {
  if (!repair) return [];
  const parts = [], m = repair.metric, said = m && /accuracy|share|准确率/.test(m.name) ? percent : number;
  parts.push(el("div", {class: "outcome"}, el("p", {class: "verdict", "data-healthy": !!repair.repaired},
    el("span", {class: "sign", "aria-hidden": "true"}, repair.repaired ? "✓" : "!"), head(repair.repaired ? "repaired" : "not repaired")),
  m ? el("p", {class: "metric"}, `${head(m.name)} `, el("b", {}, said(m.before)), " → ", el("b", {}, said(m.after))) : null));
  for (const a of repair.attempts || []) parts.push(attempt(a));
  return parts;
}

function attempt(a) {
  const lines = [], loss = a.loss || {};
  for (const [key, colour, dash] of [["before", "var(--ink-soft)", "5 4"], ["after", "var(--mark)", null]]) {
    const seeds = (loss[key] || []).filter(l => l.length);
    if (!seeds.length) continue;
    const n = Math.min(...seeds.map(l => l.length)), at = k => seeds.map(l => l[k]).filter(v => v !== null);
    const xs = Array.from({length: n}, (_, k) => k + 1), pick = f => xs.map((_, k) => at(k).length ? f(at(k)) : null);
    lines.push({name: t(key), colour, dash, xs, ys: pick(v => v.reduce((s, x) => s + x, 0) / v.length),
      band: [pick(v => Math.min(...v)), pick(v => Math.max(...v))]});
  }
  const c = a.criterion || {}, learned = a.learned || {}, share = x => percent(Math.max(0, x ?? 0));
  return el("article", {class: "card attempt"},
    el("div", {}, el("h3", {}, phrase(a.remedy || "")), el("p", {}, phrase(a.reason || "")),
      el("p", {}, el("span", {class: "tag", "data-good": a.verdict === "helped"}, head(a.verdict || ""))),
      learned.after !== undefined && learned.after !== null ? el("p", {class: "soft"}, `${t("Learned")}: ${share(learned.before)} → ${share(learned.after)}`, el("small", {}, ` ${long("learned")}`)) : null,
      c.before !== undefined ? el("p", {class: "soft"}, `${t("Criterion")}: ${number(c.before)} → ${number(c.after)}`) : null),
    lines.length ? el("figure", {}, el("figcaption", {}, t("Loss"), legendOf(lines)),
    curves(t("Loss"), lines, {height: 170, width: roomy(0.62)})) : null);
}
