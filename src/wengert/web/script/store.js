// What the reader has chosen, in one place; parts of the page say which choices they draw themselves from.
const state = {
  language: "en", theme: "", direction: "backward", colour: "gain", view: "picture", which: "before",
  selected: null, step: null, measure: "gradient", finding: null,
};
const watchers = [];

function watch(keys, f) {
  watchers.push({keys: new Set(keys), f});
}

function set(changes) {
  const changed = Object.keys(changes).filter(k => state[k] !== changes[k]);
  if (!changed.length) return;
  Object.assign(state, changes);
  for (const w of watchers) if (changed.some(k => w.keys.has(k))) w.f(changed);
}
