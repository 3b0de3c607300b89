// The same network as a table: a tree grid that a screen reader reads and that the keyboard walks.
const MOST = 1200;

function treeTable(scene, stage) {
  const rows = [];
  const visit = box => {
    rows.push(box);
    if (box.open) box.children.forEach(visit);
  };
  scene.root.children.forEach(visit);
  const cells = ["module", "class", "decades", "size", "shape", "source line"];
  const head = el("thead", {}, el("tr", {}, cells.map(c => el("th", {scope: "col"}, t(c) + (c === "decades" ? ` (${t(state.direction)})` : "")))));
  const body = el("tbody");
  const limit = scene.limit(state.direction, "gain");
  rows.slice(0, MOST).forEach((box, k) => body.append(row(box, k, scene, stage, limit)));
  const table = el("table", {class: "tree", role: "treegrid", "aria-label": t("Network"), "aria-rowcount": rows.length}, head, body);
  body.addEventListener("keydown", e => walk(e, body, rows, stage));
  const left = rows.length - MOST;
  return el("div", {}, table, left > 0 ? el("p", {class: "soft"}, `${left} ${t("more rows are not shown: close some modules")}`) : null);
}

function row(box, k, scene, stage, limit) {
  const d = scene.gain(box, state.direction), stats = scene.stats(box, state.direction) || {}, node = box.node || {};
  const glyph = box.leaf ? "" : box.open ? "▾" : "▸", deep = box.depth - 1;
  const swatch = d === undefined ? null : el("i", {class: "swatch", style: {background: palette.levels[level(d, limit)]}});
  return el("tr", {
    role: "row", tabindex: k === 0 ? 0 : -1, "aria-level": deep + 1, "aria-expanded": box.leaf ? null : String(box.open),
    "aria-selected": String(state.selected === box),
    onclick: e => {
      if (e.target.closest(".glyph")) stage.toggle(box);
      stage.select(box);
    },
    ondblclick: () => stage.toggle(box),
  },
  el("th", {scope: "row", role: "rowheader", style: {"padding-left": `${8 + 16 * deep}px`}}, el("span", {class: "glyph"}, glyph), box.name),
  el("td", {role: "gridcell"}, box.cls || ""),
  el("td", {role: "gridcell", class: "n"}, swatch, d === undefined ? "" : decades(d)),
  el("td", {role: "gridcell", class: "n"}, stats.norm === undefined ? "" : number(stats.norm)),
  el("td", {role: "gridcell"}, node.shape ? node.shape.join("×") || "1" : ""),
  el("td", {role: "gridcell"}, node.line ? `${node.line.file}:${node.line.line}` : ""));
}

function walk(e, body, rows, stage) {
  const row = e.target.closest("tr"), k = [...body.children].indexOf(row), box = rows[k];
  if (!box) return;
  const go = i => {
    const next = body.children[Math.max(0, Math.min(body.children.length - 1, i))];
    row.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  };
  const toggle = open => {
    if (box.leaf || box.open === open) return false;
    stage.toggle(box);
    requestAnimationFrame(() => {
      const again = document.querySelector(".tree tbody");
      if (again && again.children[k]) again.children[k].focus();
    });
    return true;
  };
  const does = {
    ArrowDown: () => go(k + 1), ArrowUp: () => go(k - 1), Home: () => go(0), End: () => go(body.children.length - 1),
    ArrowRight: () => toggle(true) || go(k + 1),
    ArrowLeft: () => toggle(false) || (rows.includes(box.parent) && go(rows.indexOf(box.parent))),
    Enter: () => stage.select(box), " ": () => stage.select(box),
  }[e.key];
  if (!does) return;
  e.preventDefault();
  does();
}
