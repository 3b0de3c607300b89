// What is visible now: boxes with places, edges between them with their gains, and the numbers that colour them.
class Scene {
  constructor(data) {
    this.data = data;
    Object.assign(this, buildTree(data));
    this.ledgers = {};
    for (const way of ["backward", "forward"]) {
      const ledger = (data.ledger || {})[way] || {};
      this.ledgers[way] = new Map((ledger.by_module || []).map(m => [m.path, m]));
    }
    this.scales = {};
    this.root.open = true;
    this.openSome(64);
    this.arrange();
  }

  // open modules from the outside in while the picture stays one that can be read
  openSome(budget) {
    let shown = this.root.children.length;
    const innermost = [];
    for (let queue = [...this.root.children]; queue.length;) {
      const next = [], alike = new Map(); // what is alike is opened together or not at all
      for (const box of queue) if (!box.leaf) {
        if (!box.children.every(c => c.node)) alike.set(signature(box), [...alike.get(signature(box)) || [], box]);
        else if (box.cls !== "function") innermost.push(box);
      }
      for (const boxes of alike.values()) {
        const more = boxes.reduce((sum, b) => sum + b.children.length - 1, 0);
        if (shown + more > budget) continue;
        shown += more;
        for (const b of boxes) {
          b.open = true;
          next.push(...b.children);
        }
      }
      queue = next;
    }
    if (shown < 16) for (const box of innermost) if (shown + box.children.length - 1 <= 30) {
      box.open = true;
      shown += box.children.length - 1;
    }
  }

  openAll(open) {
    const visit = box => {
      if (box.leaf) return;
      box.open = open;
      box.laid = false;
      box.children.forEach(visit);
    };
    visit(this.root);
    this.root.open = true;
    this.arrange();
  }

  toggle(box) {
    if (box.leaf || box === this.root) return;
    box.open = !box.open;
    for (let b = box; b; b = b.parent) b.laid = false;
    this.arrange();
  }

  reveal(box) {
    for (let b = box.parent; b; b = b.parent) {
      b.open = true;
      b.laid = false;
    }
    this.arrange();
  }

  arrange() {
    place(this.root);
    this.boxes = [];
    const settle = (box, x, y, shown) => {
      Object.assign(box, {x, y, shown});
      this.boxes.push(box);
      if (box.open) for (const c of box.children) settle(c, x + c.rx, y + c.ry, c);
      else this.cover(box, box);
    };
    settle(this.root, 0, 0, this.root);
    this.joinEdges();
    this.version = (this.version || 0) + 1;
  }

  cover(box, by) {
    box.shown = by;
    if (!box.leaf) for (const c of box.children) this.cover(c, by);
  }

  joinEdges() {
    const joined = new Map();
    for (const e of this.edges) {
      const a = e.a.shown, b = e.b.shown;
      if (a === b) continue;
      const key = a.id + " " + b.id;
      let one = joined.get(key);
      if (!one) joined.set(key, one = {a, b, parts: []});
      one.parts.push(e);
    }
    if (!this.edges.length) this.chained(this.root, joined);
    this.lines = [...joined.values()];
    for (const line of this.lines) {
      line.backward = meanGain(line.parts, "gain");
      line.forward = meanGain(line.parts, "forward");
      line.share = line.parts.reduce((sum, e) => Math.max(sum, e.share ?? 1), 0);
      line.lane = lane(line.a, line.b);
      line.kinds = [...new Set(line.parts.map(e => e.kind).filter(Boolean))];
    }
  }

  chained(box, joined) {
    if (!box.open) return;
    for (const {a, b} of box.links.values()) joined.set(b.id, {a, b, parts: []});
    for (const c of box.children) this.chained(c, joined);
  }

  // decades that a box adds, from the ledger of its module or the edges of its step
  gain(box, way) {
    if (box === this.root) return ((this.data.ledger || {})[way] || {}).total;
    if (box.node) return box.gains ? meanGain(box.gains, way === "backward" ? "gain" : "forward") : undefined;
    const entry = this.ledgers[way].get(box.path);
    if (entry) return entry.total;
    const parts = box.children.map(c => c.node ? undefined : this.gain(c, way)).filter(g => g !== undefined);
    if (!parts.length) return undefined;
    return parts.includes(null) ? null : parts.reduce((sum, g) => sum + g, 0);
  }

  kinds(box, way) {
    if (box === this.root) return ((this.data.ledger || {})[way] || {}).by_kind || {};
    const entry = this.ledgers[way].get(box.path);
    if (entry) return entry.by_kind || {};
    const sums = {};
    if (box.node) for (const e of box.gains || []) sums[e.kind] = (sums[e.kind] ?? 0) + (e[way === "backward" ? "gain" : "forward"] ?? 0);
    else for (const c of box.children) if (!c.node)
      for (const [k, d] of Object.entries(this.kinds(c, way))) sums[k] = (sums[k] ?? 0) + d;
    return sums;
  }

  stats(box, way) {
    const about = box.node || box.module || {};
    return about[way === "backward" ? "gradient" : "forward"];
  }

  // log10 of the size of what passes here, against the largest anywhere
  size(box, way) {
    const stats = this.stats(box, way) || {}, d = log10(stats.norm ?? stats.std ?? 0);
    if (box.kind === "fold") return this.size(box.children[0], way);
    if (!this.stats(box, way)) return undefined;
    return d === null ? null : d - this.reference(way);
  }

  reference(way) {
    const key = "reference " + way;
    if (this.scales[key] === undefined) {
      let largest = -Infinity;
      for (const box of [...this.leaves.values(), ...this.groups.values()]) {
        const s = this.stats(box, way);
        if (s) largest = Math.max(largest, log10(s.norm ?? s.std ?? 0) ?? -Infinity);
      }
      this.scales[key] = Number.isFinite(largest) ? largest : 0;
    }
    return this.scales[key];
  }

  tint(box, way, mode) {
    return mode === "gain" ? this.gain(box, way) : this.size(box, way);
  }

  // where the colours end: most boxes lie within, and the scale never pretends that a few hundredths matter
  limit(way, mode) {
    const key = mode + way;
    if (this.scales[key] === undefined) {
      const named = [...this.groups.values()].filter(b => b !== this.root && this.tint(b, way, mode) !== undefined);
      const boxes = named.length > 2 ? named : [...this.leaves.values()];  // steps inside often cancel one another
      const sizes = boxes.map(b => Math.abs(this.tint(b, way, mode) ?? 0)).sort((a, b) => a - b);
      const high = sizes.length ? sizes[Math.floor(0.95 * (sizes.length - 1))] : 1;
      this.scales[key] = [1, 2, 4, 8, 16].find(x => x >= high) || 16;
    }
    return this.scales[key];
  }
}

// Where a line that goes past other boxes runs: beside them in the place that the layout kept, or along the edge of the
// module that it comes into.
function lane(a, b) {
  let p = a, q = b;
  while (p.parent !== q.parent) {
    if (p.depth >= q.depth) p = p.parent;
    else q = q.parent;
  }
  const outer = p.parent, link = outer && outer.links.get(p.id + " " + q.id);
  if (link && link.lane !== undefined) return outer.x + link.lane;
  const home = b.parent;
  if (home !== outer && b.y - home.y > 100) return home.x + home.w - 6;
  if (a.parent !== outer && a.parent.y + a.parent.h - a.y - a.h > 60) return a.x + a.w / 2; // straight down and out
  return undefined;
}

function meanGain(edges, key) {
  let sum = 0, weight = 0, known = false;
  for (const e of edges) {
    if (e[key] === undefined) continue;
    known = true;
    if (e[key] === null) continue;
    const share = Math.max(e.share ?? 1, 1e-9);
    sum += share * e[key];
    weight += share;
  }
  return weight ? sum / weight : known ? null : undefined;
}
