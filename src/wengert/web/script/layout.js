// Layered layout of one module at a time: every child is a box of known size, every link points down. A long column is
// broken into several, as a newspaper does. The work grows with the number of boxes and links, not with their square.
const GAP = {x: 22, y: 26, pad: 14, head: 26, column: 46};
const SIZES = {step: [112, 30], parameter: [112, 24], input: [112, 26], module: [168, 46], fold: [250, 74]};

function place(box) {
  if (box.leaf || !box.open) {
    [box.w, box.h] = SIZES[box.kind] || SIZES.step;
    return;
  }
  if (box.laid) return;
  box.children.forEach(place);
  const rows = layers(box.children, [...box.links.values()]);
  const size = columns(rows);
  box.w = Math.max(size.w + 2 * GAP.pad, 190);
  box.h = size.h + 2 * GAP.pad + GAP.head;
  box.laid = true;
}

function layers(boxes, links) {
  const place = new Map(boxes.map((b, k) => [b, k])), n = boxes.length;
  const before = boxes.map(() => []), after = boxes.map(() => []), known = new Map();
  for (const one of links) {
    const {a, b} = one;
    delete one.lane;
    known.set(a.id + " " + b.id, one);
    const i = place.get(a), j = place.get(b);
    if (i < j) {  // a link that points back (a module that is entered again) does not rank
      before[j].push(i);
      after[i].push(j);
    }
  }
  const rank = new Array(n).fill(0);
  for (let j = 0; j < n; j++) for (const i of before[j]) rank[j] = Math.max(rank[j], rank[i] + 1);
  for (let i = n - 1; i >= 0; i--)  // what starts here (a parameter, say) sits just above what uses it
    if (!before[i].length && after[i].length) rank[i] = Math.min(...after[i].map(j => rank[j])) - 1;
  const lowest = rank.reduce((a, b) => Math.min(a, b), 0), rows = [];
  const item = boxes.map((box, k) => ({box, w: box.w, h: box.h, order: k, up: [], down: []}));
  item.forEach((it, k) => (rows[rank[k] - lowest] ||= []).push(it));
  connect(item, before, rank, rows, lowest, known);
  const filled = rows.filter(r => r && r.length);
  sort(filled);
  return filled;
}

// long links get a narrow place in every row that they pass, so that a shortcut runs beside what it skips
function connect(item, before, rank, rows, lowest, known) {
  let budget = 6 * item.length + 200;
  for (let j = 0; j < item.length; j++) for (const i of before[j]) {
    let from = item[i];
    const span = rank[j] - rank[i];
    if (span > 1 && span < budget) {
      budget -= span;
      for (let r = rank[i] + 1; r < rank[j]; r++) {
        const dummy = {box: null, w: 8, h: 0, order: item[j].order, up: [from], down: [], link: known.get(item[i].box.id + " " + item[j].box.id)};
        (rows[r - lowest] ||= []).push(dummy);
        from.down.push(dummy);
        from = dummy;
      }
    }
    from.down.push(item[j]);
    item[j].up.push(from);
  }
}

function sort(rows) {
  for (const r of rows) r.forEach((it, k) => { it.at = k; });
  const middle = list => list.reduce((sum, it) => sum + it.at, 0) / list.length;
  for (let sweep = 0; sweep < 4; sweep++) {
    const down = sweep % 2 === 0;
    for (const r of down ? rows : [...rows].reverse()) {
      if (r.length < 2) continue;
      for (const it of r) it.wish = (down ? it.up : it.down).length ? middle(down ? it.up : it.down) : it.at;
      r.sort((a, b) => a.wish - b.wish || a.order - b.order);
      r.forEach((it, k) => { it.at = k; });
    }
  }
  for (const r of rows) {
    let x = 0;
    for (const it of r) {
      it.x = x + it.w / 2;
      x += it.w + GAP.x;
    }
    const half = (x - GAP.x) / 2;
    for (const it of r) it.x -= half;
  }
  for (let sweep = 0; sweep < 6; sweep++)
    for (const r of sweep % 2 ? [...rows].reverse() : rows) align(r, sweep % 2 ? "down" : "up");
}

// the places nearest to where the neighbours are, in the given order and without overlap (pool adjacent violators)
function align(row, side) {
  const blocks = [];
  let offset = 0;
  for (const it of row) {
    const near = it[side].length ? it[side] : null;
    const wish = near ? near.reduce((sum, o) => sum + o.x, 0) / near.length : it.x;
    offset += it.w / 2;
    blocks.push({sum: wish - offset, count: 1, items: [[it, offset]]});
    offset += it.w / 2 + GAP.x;
    while (blocks.length > 1) {
      const b = blocks[blocks.length - 1], a = blocks[blocks.length - 2];
      if (a.sum / a.count <= b.sum / b.count) break;
      blocks.pop();
      a.sum += b.sum;
      a.count += b.count;
      a.items.push(...b.items);
    }
  }
  for (const b of blocks) for (const [it, o] of b.items) it.x = b.sum / b.count + o;
}

function columns(rows) {
  const heights = rows.map(r => Math.max(...r.map(it => it.h)));
  const total = heights.reduce((sum, h) => sum + h + GAP.y, -GAP.y);
  let low = Infinity, high = -Infinity;
  for (const r of rows) for (const it of r) {
    low = Math.min(low, it.x - it.w / 2);
    high = Math.max(high, it.x + it.w / 2);
  }
  const wanted = rows.length < 4 || total < 640 ? 1 : Math.max(1, Math.round(Math.sqrt(1.45 * total / (high - low + GAP.column))));
  const limit = total / wanted;
  let y = 0, x = 0, tallest = 0, start = 0;
  const finish = end => {
    let left = Infinity, right = -Infinity;
    for (const r of rows.slice(start, end)) for (const it of r) {
      left = Math.min(left, it.x - it.w / 2);
      right = Math.max(right, it.x + it.w / 2);
    }
    for (const r of rows.slice(start, end)) for (const it of r) it.x += x - left;
    x += right - left + GAP.column;
    tallest = Math.max(tallest, y - GAP.y);
    start = end;
    y = 0;
  };
  rows.forEach((r, k) => {
    for (const it of r) it.y = y + heights[k] / 2;
    y += heights[k] + GAP.y;
    if (y >= limit - 1 && k + 1 < rows.length && wanted > 1) finish(k + 1);
  });
  finish(rows.length);
  for (const r of rows) for (const it of r) {
    if (it.box) {
      it.box.rx = it.x - it.w / 2 + GAP.pad;
      it.box.ry = it.y - it.h / 2 + GAP.pad + GAP.head;
    } else if (it.link) {
      const x = it.x + GAP.pad, l = it.link;
      l.lane = l.lane === undefined || Math.abs(l.lane - x) < 60 ? Math.max(l.lane ?? x, x) : NaN; // in two columns
    }
  }
  for (const r of rows) for (const it of r) if (it.link && Number.isNaN(it.link.lane)) delete it.link.lane;
  return {w: x - GAP.column, h: tallest};
}
