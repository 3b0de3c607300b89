// The network on a canvas. What is out of sight is skipped, what is too small to read is not written, and lines of one
// colour are one path: so the work follows what can be seen, not the size of the network.
const FONT = "system-ui, 'Segoe UI', 'DejaVu Sans', 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', 'WenQuanYi Micro Hei', sans-serif";

function draw(ctx, scene, view, size, marks) {
  const {scale, x, y} = view, ratio = size.ratio;
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.fillStyle = palette.page;
  ctx.fillRect(0, 0, size.w, size.h);
  ctx.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * x, ratio * y);
  const seen = {l: -x / scale, t: -y / scale, r: (size.w - x) / scale, b: (size.h - y) / scale};
  const closed = [];
  groups(ctx, scene.root, seen, scale, closed, scene);
  lines(ctx, scene, seen, scale, marks);
  closedBoxes(ctx, closed, scene, scale);
  outline(ctx, scene, scale, marks);
}

const outside = (b, s) => b.x > s.r || b.y > s.b || b.x + b.w < s.l || b.y + b.h < s.t;

function rounded(ctx, b, r) {
  ctx.beginPath();
  ctx.roundRect(b.x, b.y, b.w, b.h, r);
}

function groups(ctx, box, seen, scale, closed, scene) {
  if (outside(box, seen)) return;
  if (!box.open) {
    closed.push(box);
    return;
  }
  if (box !== scene.root) {
    rounded(ctx, box, 9);
    ctx.fillStyle = palette.groups[box.depth % 2];
    ctx.fill();
    ctx.lineWidth = Math.max(0.8, 0.7 / scale);
    ctx.strokeStyle = palette.line;
    ctx.stroke();
    if (scale > 0.35) header(ctx, box, scene);
  }
  for (const c of box.children) groups(ctx, c, seen, scale, closed, scene);
}

function header(ctx, box, scene) {
  const d = marksAt ? undefined : scene.tint(box, state.direction, state.colour);
  ctx.textBaseline = "middle";
  ctx.fillStyle = palette.soft;
  ctx.font = `600 11px ${FONT}`;
  ctx.textAlign = "right";
  const label = d === undefined ? "" : decades(d);
  ctx.fillText(label, box.x + box.w - 12, box.y + 17);
  const room = box.w - 40 - (label ? 50 : 0);
  ctx.textAlign = "left";
  ctx.fillText("−", box.x + 11, box.y + 17);
  ctx.fillText(clip(ctx, `${box.name}${box.cls && box.kind !== "fold" ? "  " + box.cls : ""}`, room), box.x + 25, box.y + 17);
}

const clips = new Map();
function clip(ctx, text, room) {
  const key = ctx.font.length + "|" + Math.round(room) + "|" + text;
  let cut = clips.get(key);
  if (cut === undefined) {
    cut = text;
    while (cut.length > 1 && ctx.measureText(cut).width > room) cut = cut.slice(0, -2) + "…";
    if (clips.size > 60000) clips.clear();
    clips.set(key, cut);
  }
  return cut;
}

function lines(ctx, scene, seen, scale, marks) {
  const limit = scene.limit(state.direction, "gain"), buckets = new Map(), curved = scale > 0.12;
  const plain = marksAt !== null;
  for (const line of scene.lines) {
    const {a, b} = line;
    const x1 = a.x + a.w / 2, y1 = a.y + a.h, x2 = b.x + b.w / 2, y2 = b.y;
    if (Math.max(x1, x2) < seen.l || Math.min(x1, x2) > seen.r) continue;
    if (Math.max(y1, y2) < seen.t - 60 || Math.min(y1, y2) > seen.b + 60) continue;
    const lit = marks.selected && (a === marks.selected || b === marks.selected);
    const side = a.kind === "parameter" || a.kind === "input";
    const key = lit ? "lit" : plain || (side && line[state.direction] === undefined) ? "plain" : level(line[state.direction], limit);
    let path = buckets.get(key);
    if (!path) buckets.set(key, path = {line: new Path2D(), tip: new Path2D()});
    path.line.moveTo(x1, y1);
    if (!curved) path.line.lineTo(x2, y2);
    else bend(path.line, x1, y1, x2, y2, line.lane);
    if (scale > 0.3) tip(path.tip, x1, y1, x2, y2);
  }
  for (const [key, path] of buckets) {
    const colour = key === "lit" ? palette.mark : key === "plain" ? palette.line : palette.levels[key];
    const far = key === "lit" || key === "plain" ? 0 : Math.abs(key - (LEVELS - 1) / 2) / (LEVELS - 1) * 2;
    ctx.lineWidth = Math.max(key === "lit" ? 2.6 : 1.3 + 1.7 * far, 0.6 / scale);
    ctx.strokeStyle = ctx.fillStyle = colour;
    ctx.stroke(path.line);
    ctx.fill(path.tip);
  }
}

function bend(path, x1, y1, x2, y2, lane) {
  if (lane !== undefined && y2 - y1 > 70) {
    const from = y1 + 34, to = y2 - 30;
    path.bezierCurveTo(x1, y1 + 20, lane, from - 20, lane, from);
    path.lineTo(lane, Math.max(from, to));
    path.bezierCurveTo(lane, to + 18, x2, y2 - 22, x2, y2);
    return;
  }
  if (y2 > y1 - 4) {
    const reach = Math.max(12, Math.min(60, (y2 - y1) / 2));
    path.bezierCurveTo(x1, y1 + reach, x2, y2 - reach, x2, y2);
    return;
  }
  const middle = (x1 + x2) / 2;  // up to the head of the next column, through the gap between the two
  path.bezierCurveTo(x1, y1 + 28, middle, y1 + 28, middle, y1 - 10);
  path.lineTo(middle, y2 + 10);
  path.bezierCurveTo(middle, y2 - 28, x2, y2 - 28, x2, y2);
}

function tip(path, x1, y1, x2, y2) {
  if (state.direction === "forward") {
    path.moveTo(x2 - 4, y2 - 7);
    path.lineTo(x2 + 4, y2 - 7);
    path.lineTo(x2, y2);
  } else {
    path.moveTo(x1 - 4, y1 + 7);
    path.lineTo(x1 + 4, y1 + 7);
    path.lineTo(x1, y1);
  }
  path.closePath();
}

function closedBoxes(ctx, boxes, scene, scale) {
  const mode = state.colour, limit = scene.limit(state.direction, mode), tiny = scale < 0.16;
  if (tiny) {  // specks: one path for each colour
    const byLevel = new Map();
    for (const b of boxes) {
      const k = boxLevel(b, scene, mode, limit);
      let path = byLevel.get(k);
      if (!path) byLevel.set(k, path = new Path2D());
      path.rect(b.x, b.y, b.w, b.h);
    }
    for (const [k, path] of byLevel) {
      ctx.fillStyle = k === null ? palette.line : palette.levels[k];
      ctx.fill(path);
    }
    return;
  }
  for (const b of boxes) {
    const k = boxLevel(b, scene, mode, limit), quiet = k === null;
    rounded(ctx, b, b.kind === "parameter" || b.kind === "input" ? b.h / 2 : 6);
    ctx.fillStyle = quiet || b.kind === "fold" ? palette.box : palette.levels[k];
    ctx.fill();
    ctx.lineWidth = 1;
    ctx.strokeStyle = palette.line;
    ctx.stroke();
    if (b.kind === "fold") strip(ctx, b, scene, mode, limit);
    if (scale > 0.32) label(ctx, b, scene, quiet || b.kind === "fold" ? palette.ink : palette.text[k], mode);
  }
}

function boxLevel(b, scene, mode, limit) {
  const d = marksAt ? marksAt(b) : scene.tint(b, state.direction, mode);
  return d === undefined ? null : level(d, marksAt ? marksLimit : limit);
}
let marksAt = null, marksLimit = null; // while a training step is shown: box -> decades

function label(ctx, b, scene, ink, mode) {
  const d = marksAt ? marksAt(b) : scene.tint(b, state.direction, mode);
  ctx.fillStyle = ink;
  ctx.textBaseline = "middle";
  if (b.node) {
    ctx.font = `${b.kind === "step" ? 500 : 400} 12px ${FONT}`;
    ctx.textAlign = "center";
    ctx.fillText(clip(ctx, b.name, b.w - 14), b.x + b.w / 2, b.y + b.h / 2 + 0.5);
    return;
  }
  const right = d === undefined ? "" : decades(d), fold = b.kind === "fold";
  ctx.textAlign = "right";
  ctx.font = `600 12px ${FONT}`;
  if (right) ctx.fillText(right, b.x + b.w - 11, b.y + (fold ? 17 : b.h / 2));
  ctx.textAlign = "left";
  const room = b.w - 34 - (right ? 48 : 0);
  if (!b.leaf) ctx.fillText("+", b.x + 10, b.y + (fold ? 17 : 16));
  ctx.fillText(clip(ctx, b.name, room), b.x + 24, b.y + (fold ? 17 : 16));
  ctx.font = `400 11px ${FONT}`;
  ctx.globalAlpha = 0.85;
  ctx.fillText(clip(ctx, b.cls || `${b.size} ${t("steps inside")}`, room), b.x + 24, b.y + (fold ? 34 : 31));
  ctx.globalAlpha = 1;
}

// the repeats inside a folded box, in order: where along the depth the trouble lies is seen without opening it
function strip(ctx, b, scene, mode, limit) {
  const n = b.children.length, shown = Math.min(n, 120), w = (b.w - 24) / shown;
  for (let i = 0; i < shown; i++) {
    const child = b.children[Math.floor(i * n / shown)], k = boxLevel(child, scene, mode, limit);
    ctx.fillStyle = k === null ? palette.line : palette.levels[k];
    ctx.fillRect(b.x + 12 + i * w, b.y + 48, Math.max(w - (w > 5 ? 1.5 : 0), 0.5), 16);
  }
}

function outline(ctx, scene, scale, marks) {
  const ring = (b, colour, width, gap) => {
    ctx.beginPath();
    ctx.roundRect(b.x - gap, b.y - gap, b.w + 2 * gap, b.h + 2 * gap, 8);
    ctx.lineWidth = Math.max(width, width * 0.8 / scale);
    ctx.strokeStyle = colour;
    ctx.stroke();
  };
  for (const b of marks.found) if (b !== scene.root) ring(b, palette.mark, 2, 4);
  if (marks.selected) ring(marks.selected, palette.ink, 2.5, 1);
}
