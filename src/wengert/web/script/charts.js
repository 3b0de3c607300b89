// Small charts. Bars are table cells, so that the numbers are there for everybody; curves are SVG with their numbers in words.
function barTable(caption, rows, {limit, text, colour, head}) {
  const most = limit || Math.max(1e-9, ...rows.map(r => Math.abs(r.value ?? 0)));
  const signed = rows.some(r => r.value === null || r.value < 0);
  const table = el("table", {class: "bars"}, el("caption", {class: "unseen"}, caption),
    el("thead", {class: "unseen"}, el("tr", {}, head.map(h => el("th", {scope: "col"}, h)))));
  table.append(el("tbody", {}, rows.map(r => {
    const part = r.value === null ? 1 : Math.min(1, Math.abs(r.value) / most), negative = r.value === null || r.value < 0;
    const width = `${(signed ? 50 : 100) * part}%`;
    const place = !signed ? {left: "0", width} : negative ? {right: "50%", width} : {left: "50%", width};
    return el("tr", {class: r.total ? "total" : null},
      el("th", {scope: "row"}, r.mark ? el("i", {class: "swatch", style: {background: r.mark}}) : null, r.name),
      el("td", {class: "bar"}, el("div", {class: "track" + (signed ? " signed" : "")},
        el("span", {class: "fill", style: {...place, background: colour ? colour(r) : "var(--mark)"}}))),
      el("td", {class: "n"}, text(r.value)));
  })));
  return table;
}

function histogram(stats, label, colour) {
  const h = stats && stats.histogram;
  if (!h || !h.counts || !h.counts.length) return null;
  const most = Math.max(1, ...h.counts), n = h.counts.length, W = 280, H = 64;
  const picture = svg("svg", {viewBox: `0 0 ${W} ${H + 16}`, class: "histogram", role: "img",
    "aria-label": `${label}: ${number(h.low)} … ${number(h.high)}`});
  h.counts.forEach((c, k) => {
    const height = c ? Math.max(1, c / most * H) : 0;
    picture.append(svg("rect", {x: k * W / n + 0.5, y: H - height, width: Math.max(1, W / n - 1), height, fill: colour}));
  });
  if (h.low < 0 && h.high > 0) {
    const x = -h.low / (h.high - h.low) * W;
    picture.append(svg("line", {x1: x, x2: x, y1: 0, y2: H, class: "zero"}));
  }
  picture.append(svg("line", {x1: 0, x2: W, y1: H, y2: H, class: "axis"}),
    svg("text", {x: 0, y: H + 12}, number(h.low)), svg("text", {x: W, y: H + 12, "text-anchor": "end"}, number(h.high)));
  return el("figure", {}, el("figcaption", {}, label), picture);
}

function ticks(low, high, most) {
  if (!(high > low)) return [low];
  const rough = (high - low) / most, base = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(m => m * base).find(s => s >= rough), list = [];
  for (let x = Math.ceil(low / step - 1e-9) * step; x <= high + step * 1e-9; x += step) list.push(Math.abs(x) < step * 1e-6 ? 0 : x);
  return list;
}

// curves: [{name, colour, xs, ys, band?: [lows, highs], dash?}]; a value of null leaves a gap
function curves(label, lines, {log = false, width = half(), height = 190, mark = null, unit = "", range = null} = {}) {
  const W = width, H = height, L = 52, R = 12, T = 10, B = 24;
  const map = y => log ? log10(y) : range && Number.isFinite(y) ? Math.max(range[0], Math.min(range[1], y)) : y;
  const xs = lines.flatMap(l => l.xs), ys = lines.flatMap(l => [...l.ys, ...(l.band || []).flat()]).map(map)
    .filter(y => y !== null && y !== undefined && Number.isFinite(y));
  if (!xs.length || !ys.length) return el("p", {class: "soft"}, t("waiting for the first record"));
  const x0 = Math.min(...xs), x1 = Math.max(...xs, x0 + 1);
  let y0 = ys.reduce((a, b) => Math.min(a, b)), y1 = ys.reduce((a, b) => Math.max(a, b));
  if (range) [y0, y1] = range;
  const air = (y1 - y0) * 0.06 || 0.5 * Math.abs(y0) || 0.5;
  y0 -= air;
  y1 += air;
  const X = x => L + (x - x0) / (x1 - x0) * (W - L - R), Y = y => T + (y1 - y) / (y1 - y0) * (H - T - B);
  const last = lines.map(l => `${l.name} ${number(l.ys[l.ys.length - 1])}`).join(", ");
  const picture = svg("svg", {viewBox: `0 0 ${W} ${H}`, class: "curves", role: "img", "aria-label": `${label}: ${last}`});
  const at = log ? logTicks(y0, y1) : ticks(y0, y1, 4);
  for (const y of at) picture.append(svg("line", {x1: L, x2: W - R, y1: Y(y), y2: Y(y), class: "grid"}),
    svg("text", {x: L - 7, y: Y(y) + 4, "text-anchor": "end"}, log ? logName(y) : number(+y.toPrecision(6)) + unit));
  for (const x of ticks(x0, x1, 6)) picture.append(svg("text", {x: X(x), y: H - 6, "text-anchor": "middle"}, number(x)));
  for (const l of lines) {
    if (l.band) {
      const there = l.xs.map((x, k) => [X(x), Y(map(l.band[0][k])), Y(map(l.band[1][k]))]).filter(p => p.every(Number.isFinite));
      const points = [...there.map(p => `${p[0]},${p[1]}`), ...there.reverse().map(p => `${p[0]},${p[2]}`)];
      picture.append(svg("polygon", {points: points.join(" "), fill: l.colour, opacity: 0.16}));
    }
    let path = "", pen = false;
    l.xs.forEach((x, k) => {
      const y = l.ys[k] === null || l.ys[k] === undefined ? null : map(l.ys[k]);
      if (y === null || !Number.isFinite(y)) pen = false;
      else {
        path += `${pen ? "L" : "M"}${X(x).toFixed(1)},${Y(y).toFixed(1)}`;
        pen = true;
      }
    });
    picture.append(svg("path", {d: path, fill: "none", stroke: l.colour, "stroke-width": 1.8, "stroke-linejoin": "round",
      "stroke-dasharray": l.dash || null}));
  }
  if (mark !== null) picture.append(svg("line", {x1: X(mark), x2: X(mark), y1: T, y2: H - B, class: "now"}));
  return picture;
}

const legendOf = lines => el("ul", {class: "legend"}, lines.map(l => el("li", {}, el("i", {class: "swatch", style: {background: l.colour}}), l.name)));

const logName = y => Math.abs(y - Math.round(y)) < 1e-9 && Math.abs(y) > 2.5 ? `10${raised(Math.round(y))}` : number(+(10 ** y).toPrecision(3));

function logTicks(y0, y1) {
  const list = [];
  if (y1 - y0 < 1.5) {
    for (let p = Math.floor(y0); p <= y1; p++) for (const m of [1, 2, 5]) list.push(p + Math.log10(m));
  } else {
    const step = Math.max(1, Math.ceil((y1 - y0) / 5));
    for (let y = Math.ceil(y0 / step) * step; y <= y1; y += step) list.push(y);
  }
  const inside = list.filter(y => y >= y0 && y <= y1);
  return inside.length > 1 || y1 > 300 ? inside : ticks(10 ** y0, 10 ** y1, 4).filter(x => x > 0).map(Math.log10);
}

// columns stacked by kind along the depth, shrinking below the line and growing above it, and what is left at each place
function stacked(label, entries, kinds) {
  const W = roomy(1), H = 230, L = 48, R = 10, T = 12, B = 46, n = entries.length;
  const up = e => kinds.reduce((s, k) => s + Math.max(0, e.by_kind[k] ?? 0), 0);
  const down = e => kinds.reduce((s, k) => s + Math.min(0, e.by_kind[k] ?? 0), 0);
  const y1 = Math.max(0.05, ...entries.map(up)), y0 = Math.min(-0.05, ...entries.map(down));
  const Y = y => T + (y1 - y) / (y1 - y0) * (H - T - B), slot = (W - L - R) / n, wide = Math.min(46, slot * 0.72);
  const picture = svg("svg", {viewBox: `0 0 ${W} ${H}`, class: "curves stacked", role: "img", "aria-label": label});
  for (const y of ticks(y0, y1, 4)) picture.append(
    svg("line", {x1: L, x2: W - R, y1: Y(y), y2: Y(y), class: Math.abs(y) < 1e-12 ? "axis" : "grid"}),
    svg("text", {x: L - 7, y: Y(y) + 4, "text-anchor": "end"}, minus(String(+y.toPrecision(3)))));
  const every = Math.ceil(62 / slot);
  entries.forEach((e, k) => {
    const x = L + slot * (k + 0.5);
    let high = 0, low = 0;
    for (const kind of kinds) {
      const v = e.by_kind[kind] ?? 0;
      if (!v) continue;
      const from = v > 0 ? high : low, to = from + v;
      if (v > 0) high = to;
      else low = to;
      picture.append(svg("rect", {x: x - wide / 2, width: wide, y: Math.min(Y(from), Y(to)), height: Math.abs(Y(from) - Y(to)),
        style: {fill: kindColour(kind)}}, svg("title", {}, `${e.name}: ${t(kind)} ${decades(v)}`)));
    }
    if (k % every === 0) picture.append(svg("text", {x, y: H - B + 18, "text-anchor": "middle"}, cut(e.name, 11)));
  });
  return picture;
}
// the width that a chart gets, so that its text has the size of the page's
const roomy = part => Math.max(320, Math.round((Math.min(1600, document.querySelector("main").clientWidth) - 44) * part) - 44);
const half = () => innerWidth < 980 ? roomy(1) : roomy(0.5);
const cut = (text, most) => text.length <= most ? text : text.slice(0, most - 1) + "…";
