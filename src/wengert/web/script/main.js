// The page put together: what is there is shown, what is missing is left out.
const data = JSON.parse($("data").textContent), live = document.documentElement.hasAttribute("data-live");
let scene = null, stage = null;
const current = () => state.which === "after" && data.repair && data.repair.after ? data.repair.after : data;
const training = () => current().training || data.training;

function put(id, nodes) {
  const place = $(id), list = [nodes].flat(3).filter(Boolean);
  place.replaceChildren(...list);
  const section = place.closest("section[data-part]");
  if (!section) return;
  section.hidden = !list.length;
  const link = document.querySelector(`nav a[href="#${section.id}"]`);
  if (link) link.hidden = section.hidden;
}

function drawNetwork() {
  const there = !!scene;
  $("network").hidden = !there;
  document.querySelector('nav a[href="#network"]').hidden = !there;
  if (!there) return;
  const asTable = state.view === "table";
  $("canvas").hidden = $("zoom").hidden = asTable;
  $("table").hidden = !asTable;
  const at = coloursNow();
  marksAt = at ? at.at : null;
  marksLimit = at ? at.limit : null;
  if (asTable) $("table").replaceChildren(treeTable(scene, stage));
  else stage.redraw();
  drawLegend(at);
}

// a live run without a diagnosis is coloured by its newest record
const coloursNow = () => coloursAt(training(), scene && !scene.data.ledger);

function drawLegend(at) {
  const mode = at ? "size" : state.colour, limit = at ? at.limit : scene.limit(state.direction, mode);
  const bar = el("span", {class: "ramp", style: {background: `linear-gradient(90deg, ${palette.levels.join(",")})`}});
  const name = mode === "gain" ? t("gain") : `${t("size")} (${t("max")} = × 1)`;
  $("legend").replaceChildren(el("span", {}, `${name}, ${t(state.direction)}`), el("b", {}, factor(-limit)), bar, el("b", {}, factor(limit)));
}

function drawDetails() {
  const at = coloursNow();
  $("details").replaceChildren(...details(scene, state.selected, at && at.record).flat(3).filter(Boolean));
}

function drawReport() {
  const d = current();
  put("hero", hero(d));
  put("finding-list", findings(d, pointer));
  $("body").classList.toggle("no-findings", $("finding-list").childElementCount === 0);
  put("cause-list", d.ledger ? causes(d) : []);
  put("share-list", shareCharts(d));
  put("repair-list", repairs(data.repair));
}

function drawTraining() {
  const run = training();
  put("training-list", run ? trainingCharts(run) : []);
}
function drawScrubber() {
  const bar = scrubber(training());
  $("scrub").replaceChildren(...(bar ? [bar] : []));
}

const pointer = {point(paths) {
  const boxes = paths.map(p => scene.named(p)).filter(Boolean);
  if (!boxes.length) return;
  set({view: "picture"});
  stage.found = boxes;
  stage.select(boxes[0]);
  $("network").scrollIntoView({block: "nearest"});
  stage.fit();
  $("canvas").focus({preventScroll: true});
}};

function select(box) {
  set({selected: box});
  const d = box ? scene.gain(box, state.direction) : undefined;
  $("said").textContent = box ? `${box.name}, ${box.cls || ""}${d === undefined ? "" : `, ${decades(d)} ${t("decades")}`}` : "";
}

function buildNetwork() {
  const d = current(), run = (training() || {}).run || {};
  const source = (d.nodes || []).length || (d.modules || []).length ? d : {...d, modules: (run.modules || []).map(m => ({...m, path: m.name ?? m.path}))};
  const there = (source.nodes || []).length || (source.modules || []).length;
  state.selected = null;
  scene = there ? new Scene(source) : null;
  if (!scene) return;
  if (stage) stage.show(scene);
  else stage = new Stage($("canvas"), scene, select);
  stage.found = ((d.findings || [])[0]?.modules || []).map(p => scene.named(p)).filter(Boolean).slice(0, 40);
  state.selected = stage.found[0] || null;
}

function controls() {
  const bar = $("controls");
  bar.replaceChildren();
  if (data.repair && data.repair.after) bar.append(choice(t("Version"), [["before", t("before")], ["after", t("after")]], state.which, which => set({which})));
  bar.append(choice(t("Language"), [["en", "EN"], ["zh", "中文"]], state.language, language => set({language})),
    choice(t("Theme"), [["", "◐"], ["light", "☀"], ["dark", "☾"]], state.theme, theme => set({theme})));
  [...bar.lastChild.children].forEach((b, k) => {
    b.setAttribute("aria-label", t(["as the system", "light", "dark"][k]));
    b.title = t(["as the system", "light", "dark"][k]);
  });
  $("tools").replaceChildren(
    choice(t("Direction"), [["backward", `← ${t("backward")}`], ["forward", `→ ${t("forward")}`]], state.direction, direction => set({direction})),
    choice(t("Colour"), [["gain", t("gain")], ["size", t("size")]], state.colour, colour => set({colour})),
    choice(t("View"), [["picture", t("picture")], ["table", t("table")]], state.view, view => set({view})),
    button(t("Open all"), {class: "small", onclick: () => { scene.openAll(true); stage.fit(); drawNetwork(); }}),
    button(t("Close all"), {class: "small", onclick: () => { scene.openAll(false); stage.fit(); drawNetwork(); }}));
  $("zoom").replaceChildren(
    button("+", {"aria-label": t("Zoom in"), title: t("Zoom in"), onclick: () => stage.zoom(1.3)}),
    button("−", {"aria-label": t("Zoom out"), title: t("Zoom out"), onclick: () => stage.zoom(1 / 1.3)}),
    button("⤢", {"aria-label": t("Fit"), title: t("Fit"), onclick: () => stage.fit()}));
}

function everything() {
  document.title = data.title ? `${data.title} · Wengert` : "Wengert";
  $("canvas").setAttribute("aria-label", `${t("Network")}. ${long("keys")}`);
  controls();
  drawReport();
  drawNetwork();
  drawDetails();
  drawTraining();
  drawScrubber();
}

watch(["language"], everything);
watch(["theme"], () => {
  readPalette();
  drawNetwork();
  drawTraining();
});
watch(["which"], () => { buildNetwork(); everything(); });
watch(["direction"], () => { drawReport(); drawNetwork(); drawDetails(); });
watch(["colour", "arranged", "view"], drawNetwork);
watch(["view"], controls);
watch(["selected"], () => { drawDetails(); drawNetwork(); });
watch(["step"], () => { drawNetwork(); drawDetails(); drawTraining(); });
watch(["measure"], drawTraining);
let wide = innerWidth;
addEventListener("resize", () => {
  if (wide === innerWidth) return;
  wide = innerWidth;
  drawReport();
  drawTraining();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readPalette(); drawNetwork(); drawTraining(); });

for (const part of location.hash.slice(1).split("&")) {  // #language=zh&theme=dark opens the page so
  const [key, value] = part.split("=");
  if (["language", "theme", "direction", "colour", "view", "which"].includes(key) && value) state[key] = value;
}
if (!location.hash.includes("language") && /^zh/i.test(navigator.language || "")) state.language = "zh";
document.documentElement.lang = state.language === "zh" ? "zh-Hans" : "en";
for (const e of document.querySelectorAll("[data-word]")) e.textContent = t(e.dataset.word);
readPalette();
buildNetwork();
everything();
if (live) follow(data, report => {
  if (report) Object.assign(data, report, {training: data.training});
  if (report || !scene) buildNetwork();
  drawReport();
  drawNetwork();
  drawDetails();
  drawTraining();
  if (document.activeElement?.type !== "range") drawScrubber();
});
