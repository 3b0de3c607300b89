"""The page around the picture: layout, keys, steps. Plain HTML, CSS and JavaScript, nothing fetched."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>@TITLE@</title>
<style>
:root{color-scheme:light dark;--page:#fff;--ink:#0f172a;--soft:#64748b;--edge:#e2e8f0;--panel:#f8fafc;--mark:#7c3aed;
--value:#1d4ed8;--adjoint:#be123c}
@media (prefers-color-scheme:dark){:root{--page:#0f172a;--ink:#f1f5f9;--soft:#94a3b8;--edge:#334155;--panel:#1e293b;
--mark:#c4b5fd;--value:#93c5fd;--adjoint:#fda4af}}
*{box-sizing:border-box}
body{margin:0;height:100vh;display:grid;grid-template:1fr auto/1fr 360px;background:var(--page);color:var(--ink);
font:14px/1.45 system-ui,'Segoe UI','DejaVu Sans',sans-serif}
#stage{overflow:auto;grid-area:1/1}
#stage svg{display:block;transform-origin:0 0}
aside{grid-area:1/2/3;border-left:1px solid var(--edge);background:var(--panel);padding:18px;overflow:auto}
aside h2{font-size:18px;margin:0 0 8px;overflow-wrap:anywhere}
aside p{color:var(--soft);margin:0 0 12px}
dl{margin:0}dt{color:var(--soft);font-size:12px;margin-top:10px}
dd{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;
font:13px/1.4 ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace}
footer{grid-area:2/1;border-top:1px solid var(--edge);padding:10px 16px;display:flex;gap:8px;align-items:center;
min-height:86px}
button{font:inherit;color:inherit;background:var(--panel);border:1px solid var(--edge);border-radius:7px;
padding:5px 11px;cursor:pointer}
button:hover{border-color:var(--soft)}button:disabled{opacity:.4;cursor:default}
button:focus-visible,.box:focus-visible{outline:2px solid var(--mark);outline-offset:2px}
#said{flex:1;min-width:0;font:13px/1.5 ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;white-space:pre-wrap;
overflow-wrap:anywhere;max-height:6.2em;overflow:auto;padding-left:6px}
#count{color:var(--soft);white-space:nowrap;min-width:9em}
.box{cursor:pointer}
.wg .box.chosen rect{stroke:var(--mark);stroke-width:3}
.wg .line.lit{stroke:var(--mark);stroke-width:2.5}
.stepping .box:not(.seen){opacity:.25}.stepping .box:not(.pulled) .adjoint{visibility:hidden}
.stepping .box:not(.seen) .value{visibility:hidden}
.stepping .label:not(.pulled){visibility:hidden}.stepping .line:not(.seen){opacity:.25}
.wg .box.now rect{stroke:var(--mark);stroke-width:3.5}
body.wide{grid-template:minmax(0,1fr) auto 40vh/1fr}
.wide aside{grid-area:3/1;border-left:0;border-top:1px solid var(--edge)}
.wide dl{columns:22em;column-gap:28px}.wide dl div{break-inside:avoid}
@media (max-width:760px){body{grid-template:1fr auto 34vh/1fr}aside{grid-area:3/1;
border-left:0;border-top:1px solid var(--edge)}
footer{flex-wrap:wrap}}
</style>
</head>
<body>
<main id="stage" tabindex="-1">@SVG@</main>
<aside aria-live="polite"><h2 id="title">Details</h2>
<p id="help">Click a box, or reach it with Tab and press Enter. Keys: → and ← step through the forward and the backward
pass, Home leaves them, Space plays, + and − zoom, 0 fits.</p><dl id="rows"></dl></aside>
<footer>
<button id="first" aria-label="Show everything, leave stepping" title="Home">all</button>
<button id="back" aria-label="Step back" title="←">◀ back</button>
<button id="next" aria-label="Step forward" title="→">▶ step</button>
<button id="play" aria-label="Play or pause" title="Space">play</button>
<button id="fit" aria-label="Fit the picture to the window" title="0">fit</button>
<span id="count"></span><div id="said" role="status" aria-live="polite"></div>
</footer>
<script type="application/json" id="data">@DATA@</script>
<script>
"use strict";
const $ = id => document.getElementById(id);
const data = JSON.parse($("data").textContent), steps = data.steps;
const stage = $("stage"), svg = stage.querySelector("svg");
const boxes = [...svg.querySelectorAll("[data-box]")], byNumber = new Map(boxes.map(b => [+b.dataset.box, b]));
const lines = [...svg.querySelectorAll("[data-from]")];
const size = {w: svg.viewBox.baseVal.width, h: svg.viewBox.baseVal.height};
let at = -1, timer = null, scale = 1;

function zoom(s) {
  scale = Math.min(4, Math.max(0.05, s));
  svg.setAttribute("width", size.w * scale);
  svg.setAttribute("height", size.h * scale);
}
function fit() { zoom(Math.min(1.6, stage.clientWidth / size.w, stage.clientHeight / size.h)); }
// at first the picture fits, unless that would make it too small to read: then it is scrolled
function start() {
  fit();
  zoom(Math.min(1, Math.max(0.8, scale)));
}

function choose(k) {
  for (const b of boxes) b.classList.toggle("chosen", +b.dataset.box === k);
  for (const l of lines) l.classList.toggle("lit", +l.dataset.from === k || +l.dataset.to === k);
  const d = data.boxes[k];
  if (!d) return;
  $("title").textContent = d.name;
  $("help").hidden = true;
  const rows = $("rows");
  rows.replaceChildren();
  for (const [name, text] of d.rows) {
    const dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = name;
    dd.textContent = text;
    const row = document.createElement("div");
    row.append(dt, dd);
    rows.append(row);
  }
}

function go(k) {
  at = Math.max(-1, Math.min(steps.length - 1, k));
  document.body.classList.toggle("stepping", at >= 0);
  const seen = new Set(), pulled = new Set();
  for (const s of steps.slice(0, at + 1)) (s.phase === "forward" ? seen : pulled).add(s.box);
  for (const b of boxes) {
    const n = +b.dataset.box;
    b.classList.toggle("seen", seen.has(n));
    b.classList.toggle("pulled", pulled.has(n));
    b.classList.toggle("now", at >= 0 && steps[at].box === n);
  }
  const now = at >= 0 ? steps[at] : null;
  for (const l of lines) {
    const from = +l.dataset.from, to = +l.dataset.to;
    l.classList.toggle("seen", seen.has(to));
    l.classList.toggle("pulled", pulled.has(from) && pulled.has(to));
    l.classList.toggle("lit", !!now && (now.phase === "forward" ? to === now.box : from === now.box && pulled.has(to)));
  }
  $("count").textContent = now ? `${now.phase} ${at + 1} / ${steps.length}` : `${steps.length} steps`;
  $("said").textContent = now ? now.lines.join("\\n") : "";
  $("back").disabled = at < 0;
  $("next").disabled = at >= steps.length - 1;
  if (now) {
    choose(now.box);
    for (const l of lines) {
      const from = +l.dataset.from, to = +l.dataset.to;
      l.classList.toggle("lit", now.phase === "forward" ? to === now.box : from === now.box && pulled.has(to));
    }
    const b = byNumber.get(now.box);
    if (b) b.scrollIntoView({block: "nearest", inline: "nearest"});
  }
  if (at >= steps.length - 1) stop();
}
function stop() { clearInterval(timer); timer = null; $("play").textContent = "play"; }
function play() {
  if (timer) return stop();
  if (at >= steps.length - 1) go(-1);
  $("play").textContent = "pause";
  timer = setInterval(() => go(at + 1), 900);
  go(at + 1);
}

for (const b of boxes) b.addEventListener("click", () => choose(+b.dataset.box));
$("first").onclick = () => { stop(); go(-1); };
$("back").onclick = () => { stop(); go(at - 1); };
$("next").onclick = () => { stop(); go(at + 1); };
$("play").onclick = play;
$("fit").onclick = fit;
document.addEventListener("keydown", e => {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  const onButton = e.target.tagName === "BUTTON", box = e.target.closest && e.target.closest("[data-box]");
  const move = k => () => { stop(); go(k); };
  const does = {ArrowRight: move(at + 1), ArrowLeft: move(at - 1), Home: move(-1), End: move(steps.length - 1),
    "+": () => zoom(scale * 1.25), "=": () => zoom(scale * 1.25), "-": () => zoom(scale / 1.25), "0": fit,
    Enter: () => box && choose(+box.dataset.box),
    " ": () => box ? choose(+box.dataset.box) : play()}[e.key];
  if (!does || (onButton && (e.key === " " || e.key === "Enter"))) return;
  e.preventDefault();
  does();
});
stage.addEventListener("wheel", e => {
  if (!e.ctrlKey) return;
  e.preventDefault();
  zoom(scale * (e.deltaY < 0 ? 1.1 : 1 / 1.1));
}, {passive: false});
addEventListener("resize", start);
document.body.classList.toggle("wide", size.w > 2.2 * size.h && innerWidth > 760);
start();
go(location.hash.startsWith("#step=") ? +location.hash.slice(6) - 1 : -1);
</script>
</body>
</html>
"""
