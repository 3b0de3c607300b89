// The canvas as something to handle: drag, zoom, click, arrow keys. While it moves, a large picture is shifted as an image and
// drawn anew when it rests.
class Stage {
  constructor(canvas, scene, select) {
    Object.assign(this, {canvas, scene, select, view: {scale: 1, x: 0, y: 0}, found: [], lastCost: 0, frames: []});
    this.ctx = canvas.getContext("2d", {alpha: false});
    this.kept = document.createElement("canvas");
    new ResizeObserver(() => this.resize()).observe(canvas);
    canvas.addEventListener("pointerdown", e => this.press(e));
    canvas.addEventListener("wheel", e => this.wheel(e), {passive: false});
    canvas.addEventListener("dblclick", e => this.toggleAt(e));
    canvas.addEventListener("keydown", e => this.key(e));
  }

  show(scene) {
    this.scene = scene;
    this.fit();
  }

  resize() {
    const w = this.canvas.clientWidth, h = this.canvas.clientHeight, ratio = Math.min(devicePixelRatio || 1, 2);
    if (!w || !h) return;
    const first = !this.size;
    this.size = {w, h, ratio};
    this.canvas.width = Math.round(w * ratio);
    this.canvas.height = Math.round(h * ratio);
    if (first || !this.touched) this.fit();
    cancelAnimationFrame(this.waiting);
    this.waiting = null;
    this.paint(); // at once: a canvas whose size was set is black, and a frame later would show it
  }

  fit() {
    this.touched = false;
    if (!this.size) return;
    const {w, h} = this.size, root = this.scene.root;
    const scale = Math.min(1.25, (w - 24) / root.w, (h - 12) / root.h);
    this.view = {scale, x: (w - root.w * scale) / 2, y: (h - (root.h + GAP.head) * scale) / 2};
    this.redraw();
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = null;
      this.paint();
    });
  }

  paint() {
    if (!this.size) return;
    const start = performance.now();
    const selected = state.selected && state.selected.shown ? this.visible(state.selected) : null;
    draw(this.ctx, this.scene, this.view, this.size, {selected, found: this.found.map(b => this.visible(b))});
    this.keptView = null;
    this.lastCost = performance.now() - start;
  }

  visible(box) {
    let shown = box;
    for (let b = box.parent; b; b = b.parent) if (!b.open) shown = b;
    return shown;
  }

  // a frame of a movement
  move() {
    if (this.moving) return;
    this.moving = requestAnimationFrame(() => {
      this.moving = null;
      const start = performance.now();
      if (this.lastCost < 9) this.paint();
      else this.shift();
      this.frames.push(performance.now() - start);
      if (this.frames.length > 600) this.frames.shift();
    });
  }

  shift() {
    if (!this.keptView) {
      this.kept.width = this.canvas.width;
      this.kept.height = this.canvas.height;
      this.kept.getContext("2d").drawImage(this.canvas, 0, 0);
      this.keptView = this.drawnView;
    }
    const from = this.keptView, to = this.view, by = to.scale / from.scale, r = this.size.ratio;
    this.ctx.setTransform(1, 0, 0, 1, 0, 0);
    this.ctx.fillStyle = palette.page;
    this.ctx.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.ctx.setTransform(by, 0, 0, by, r * (to.x - from.x * by), r * (to.y - from.y * by));
    this.ctx.drawImage(this.kept, 0, 0);
    clearTimeout(this.rest);
    this.rest = setTimeout(() => this.redraw(), 90);
  }

  pan(dx, dy) {
    this.before();
    this.view = {...this.view, x: this.view.x + dx, y: this.view.y + dy};
    this.move();
  }

  zoom(by, at) {
    this.before();
    const {scale, x, y} = this.view, s = Math.min(3, Math.max(0.004, scale * by)), k = s / scale;
    const cx = at ? at[0] : this.size.w / 2, cy = at ? at[1] : this.size.h / 2;
    this.view = {scale: s, x: cx - (cx - x) * k, y: cy - (cy - y) * k};
    this.move();
  }

  before() {
    this.touched = true;
    if (!this.keptView && !this.moving) this.drawnView = this.view;
  }

  at(e) {
    const r = this.canvas.getBoundingClientRect(), {scale, x, y} = this.view;
    return [(e.clientX - r.left - x) / scale, (e.clientY - r.top - y) / scale];
  }

  find(px, py) {
    const inside = b => px >= b.x && px <= b.x + b.w && py >= b.y && py <= b.y + b.h;
    let box = this.scene.root;
    while (box.open) {
      const next = box.children.find(inside);
      if (!next) break;
      box = next;
    }
    return box === this.scene.root ? null : box;
  }

  press(e) {
    if (e.button) return;
    this.canvas.setPointerCapture(e.pointerId);
    let [x, y] = [e.clientX, e.clientY], far = 0;
    const drag = m => {
      far += Math.abs(m.clientX - x) + Math.abs(m.clientY - y);
      if (far > 4) this.pan(m.clientX - x, m.clientY - y);
      [x, y] = [m.clientX, m.clientY];
    };
    const lift = () => {
      this.canvas.removeEventListener("pointermove", drag);
      if (far > 4) return;
      const point = this.at(e), box = this.find(...point);
      if (box && !box.leaf && point[0] < box.x + 24 && point[1] < box.y + 30) this.toggle(box);
      this.select(box);
    };
    this.canvas.addEventListener("pointermove", drag);
    for (const end of ["pointerup", "pointercancel"]) this.canvas.addEventListener(end, lift, {once: true});
  }

  wheel(e) {
    if (!e.ctrlKey && !e.metaKey && document.activeElement !== this.canvas) return; // the page scrolls
    e.preventDefault();
    const r = this.canvas.getBoundingClientRect();
    this.zoom(Math.exp(-Math.sign(e.deltaY) * Math.min(0.25, Math.abs(e.deltaY) / 400)), [e.clientX - r.left, e.clientY - r.top]);
  }

  toggleAt(e) {
    const box = this.find(...this.at(e));
    if (box) this.toggle(box);
  }

  // the box that is opened stays where it is on the screen
  toggle(box) {
    if (box.leaf) return;
    const {scale} = this.view, sx = box.x * scale + this.view.x, sy = box.y * scale + this.view.y;
    this.scene.toggle(box);
    this.view = {scale, x: sx - box.x * scale, y: sy - box.y * scale};
    this.redraw();
    set({arranged: this.scene.version});
  }

  // by the keyboard one goes in; Escape comes out again
  enter(box) {
    if (box.leaf) return;
    if (!box.open) this.toggle(box);
    this.select(box.children[0]);
    this.visit(box.children[0]);
  }

  // bring a box into sight
  visit(box) {
    if (!this.size) return;
    const {scale, x, y} = this.view, {w, h} = this.size;
    const l = box.x * scale + x, top = box.y * scale + y, r = l + box.w * scale, b = top + box.h * scale;
    const dx = l < 20 ? 20 - l : r > w - 20 ? w - 20 - r : 0, dy = top < 20 ? 20 - top : b > h - 20 ? h - 20 - b : 0;
    this.view = {scale, x: x + dx, y: y + dy};
    this.redraw();
  }

  neighbours(box) {
    const up = [], down = [];
    for (const {a, b} of this.scene.lines) {
      if (b === box) up.push(a);
      if (a === box) down.push(b);
    }
    const side = box.parent ? box.parent.children : [box], k = side.indexOf(box);
    return {ArrowUp: up[0], ArrowDown: down[0], ArrowLeft: side[k - 1], ArrowRight: side[k + 1]};
  }

  key(e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const now = state.selected ? this.visible(state.selected) : null;
    const first = this.scene.root.children[0];
    if (e.key.startsWith("Arrow")) {
      e.preventDefault();
      const near = now ? this.neighbours(now) : {};
      const next = now ? near[e.key] || (e.key === "ArrowDown" ? near.ArrowRight : e.key === "ArrowUp" ? near.ArrowLeft : null) : first;
      if (!next) return;
      this.select(next);
      this.visit(next);
      return;
    }
    const does = {
      "+": () => this.zoom(1.25), "=": () => this.zoom(1.25), "-": () => this.zoom(0.8), "0": () => this.fit(),
      Enter: () => now && this.enter(now), " ": () => now && this.toggle(now),
      Escape: () => {
        if (!now || now.parent === this.scene.root || !now.parent) return;
        const outer = now.parent;
        this.toggle(outer);
        this.select(outer);
        this.visit(outer);
      },
    }[e.key];
    if (!does) return;
    e.preventDefault();
    does();
  }
}
