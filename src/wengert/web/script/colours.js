// One scale for both directions of trouble: blue shrinks, grey keeps, orange grows. Blue against orange is told apart by
// every common kind of colour blindness, and every colour has its number written beside it or one key away.
const LEVELS = 33;
const RAMPS = {
  light: ["#08458f", "#5b9bdd", "#d5dae1", "#f0a35e", "#ad3a00"],
  dark: ["#62b1ff", "#3673b3", "#485160", "#b8682a", "#ffa557"],
};
const KINDS = ["activation", "weight", "normalisation", "shortcut", "attention", "pooling", "loss", "embedding",
  "gate", "time", "recurrence", "dropout", "other"];
let palette = null;

const channels = hex => [1, 3, 5].map(k => parseInt(hex.slice(k, k + 2), 16));

function ramp(stops) {
  return Array.from({length: LEVELS}, (_, k) => {
    const at = k / (LEVELS - 1) * (stops.length - 1), i = Math.min(stops.length - 2, Math.floor(at));
    const a = channels(stops[i]), b = channels(stops[i + 1]);
    return a.map((x, c) => Math.round(x + (b[c] - x) * (at - i)));
  });
}
const luminance = ([r, g, b]) => [r, g, b].map(c => (c / 255) ** 2.2)
  .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);

function isDark() {
  return state.theme ? state.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function readPalette() {
  document.documentElement.toggleAttribute("data-dark", isDark());
  const style = getComputedStyle(document.documentElement), read = name => style.getPropertyValue(name).trim();
  const levels = ramp(RAMPS[isDark() ? "dark" : "light"]);
  palette = {
    ink: read("--ink"), soft: read("--soft"), line: read("--line"), page: read("--page"), panel: read("--panel"),
    mark: read("--mark"), box: read("--box"), groups: [read("--group-0"), read("--group-1")],
    levels: levels.map(c => `rgb(${c.join(",")})`),
    text: levels.map(c => luminance(c) > 0.179 ? "#000000" : "#ffffff"),
  };
}

// the level of d decades on a scale that ends at ±limit; a gradient that is gone altogether is the darkest blue
function level(d, limit) {
  if (d === undefined) return (LEVELS - 1) / 2;
  if (d === null) return 0;
  return Math.round((Math.max(-1, Math.min(1, d / limit)) + 1) / 2 * (LEVELS - 1));
}
const ALIASES = {weights: "weight", activations: "activation", normalization: "normalisation"};
const kindColour = kind => `var(--kind-${KINDS.includes(ALIASES[kind] || kind) ? ALIASES[kind] || kind : "other"})`;
