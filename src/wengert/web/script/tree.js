// The network as a tree of modules with the recorded steps as leaves; repeated blocks are folded into one.
const CALL = /^(.*?)#(\d+)$/;

class Box {
  constructor(id, name, parent) {
    Object.assign(this, {id, name, parent, children: [], open: false, links: new Map(), x: 0, y: 0, w: 0, h: 0});
    this.depth = parent ? parent.depth + 1 : 0;
  }
  get leaf() { return !this.children.length; }
  get trail() { return this.parent ? [...this.parent.trail, this] : [this]; }
}

function buildTree(data) {
  const about = new Map((data.modules || []).map(m => [m.path, m])), root = new Box("m:", data.title || "model", null);
  root.kind = "module";
  root.path = "";
  root.module = about.get("");
  root.cls = root.module ? root.module.class : "";
  const calls = new Map((data.modules || []).filter(m => m.call).map(m => [m.call, m.path]));
  const groups = new Map([["", root]]), leaves = new Map();
  const group = path => {
    if (groups.has(path)) return groups.get(path);
    const cut = path.lastIndexOf("."), parent = group(cut < 0 ? "" : path.slice(0, cut));
    const box = new Box("m:" + path, path.slice(cut + 1), parent);
    Object.assign(box, {kind: "module", path, module: about.get(path)});
    box.cls = box.module ? box.module.class : "";
    groups.set(path, box);
    parent.children.push(box);
    return box;
  };
  for (const node of data.nodes || []) {
    if (node.role === "constant") continue;
    const parent = group(node.module || "");
    const name = node.name || node.primitive || String(node.id);
    const box = new Box("n:" + node.id, node.role === "parameter" ? name.slice(name.lastIndexOf(".") + 1) : name, parent);
    Object.assign(box, {kind: node.role || "step", node, cls: node.primitive || node.role || ""});
    leaves.set(node.id, box);
    parent.children.push(box);
  }
  if (!leaves.size) for (const m of data.modules || []) if (m.path) group(m.path);
  const edges = (data.edges || []).map(e => ({...e, a: leaves.get(e.from), b: leaves.get(e.to)})).filter(e => e.a && e.b);
  for (const e of edges) (e.b.gains ||= []).push(e);
  order(root, leaves, edges);
  fold(root);
  count(root);
  for (const e of edges) link(e);
  if (!leaves.size) chain(root);
  return {root, leaves, groups, edges, named: path => groups.get(path) || groups.get(calls.get(path))};
}

// in the order of the run; a parameter or input stands before what reads it first
function order(root, leaves, edges) {
  let k = 0;
  for (const box of leaves.values()) box.order = box.kind === "step" ? k++ : Infinity;
  for (const {a, b} of edges) if (a.kind !== "step") a.order = Math.min(a.order, b.order - 0.5);
  const visit = box => {
    if (box.node) return box.order;
    const at = box.children.map(visit);
    const sorted = box.children.map((c, i) => [c, at[i], i]).sort((p, q) => (p[1] - q[1]) || p[2] - q[2]);
    box.children = sorted.map(p => p[0]);
    return sorted.length ? sorted[0][1] : 0;
  };
  if (leaves.size) visit(root);
}

// without recorded steps, modules are taken to follow one another as they were made
function chain(box) {
  for (const [k, b] of box.children.entries()) {
    chain(b);
    if (k) box.links.set(b.id, {a: box.children[k - 1], b});
  }
}

function count(box) {
  box.size = box.leaf ? 1 : box.children.reduce((sum, c) => sum + count(c), 0);
  return box.size;
}

// an edge belongs to the innermost module that holds both its ends, as a link between two of that module's children
function link(e) {
  let a = e.a, b = e.b;
  while (a.parent !== b.parent) {
    if (a.depth >= b.depth) a = a.parent;
    else b = b.parent;
  }
  if (a === b) return;
  const key = a.id + " " + b.id, links = a.parent.links;
  if (!links.has(key)) links.set(key, {a, b});
}

function signature(box) {
  if (box.sign === undefined)
    box.sign = box.leaf ? box.cls || box.name : `${box.cls}(${box.children.map(signature).join()})`;
  return box.sign;
}

// children that repeat with some period are put into one box: twenty times (Linear, Sigmoid) is one thing to look at
function fold(box) {
  if (box.leaf) return;
  box.children.forEach(fold);
  const was = box.children, now = [];
  let k = 0;
  while (k < was.length) {
    const run = longestRun(was, k);
    if (!run) {
      now.push(was[k++]);
      continue;
    }
    const members = was.slice(k, k + run.period * run.times), names = members.slice(0, run.period).map(c => c.cls || c.name);
    const first = members[0], last = members[members.length - 1];
    const wrap = new Box(`f:${first.id}`, `${run.times} × ${names.join(" + ")}`, box);
    Object.assign(wrap, {kind: "fold", path: null, cls: `${first.name} … ${last.name}`, children: members, ...run});
    for (const m of members) m.parent = wrap;
    deepen(wrap);
    now.push(wrap);
    k += members.length;
  }
  box.children = now.length === 1 && now[0].kind === "fold" && was.length === now[0].children.length ? was : now;
  if (box.children === was) for (const c of was) c.parent = box;
  deepen(box);
}

function deepen(box) {
  box.depth = box.parent ? box.parent.depth + 1 : 0;
  box.children.forEach(deepen);
}

function longestRun(boxes, start) {
  let best = null;
  for (let period = 1; period <= 4; period++) {
    let times = 1;
    const block = boxes.slice(start, start + period);
    if (block.length < period || block.some(b => b.node)) break;
    while (block.every((b, i) => {
      const other = boxes[start + times * period + i];
      return other && !other.node && signature(other) === signature(b);
    })) times++;
    if (times >= 4 && (!best || times * period > best.times * best.period)) best = {period, times};
  }
  return best;
}
