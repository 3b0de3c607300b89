// Elements are made of text, never of markup: whatever a user has named lands in a text node.
const SVG = "http://www.w3.org/2000/svg";
const $ = id => document.getElementById(id);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [k, v] of Object.entries(value)) node.style.setProperty(k, v);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter(c => c !== null && c !== undefined && c !== false));
  return node;
}
const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

function button(text, attributes) {
  return el("button", {type: "button", ...attributes}, text);
}

// a choice among a few, as a row of buttons that is one radio group for the keyboard and the screen reader
function choice(label, options, current, choose) {
  const row = el("div", {class: "choice", role: "radiogroup", "aria-label": label});
  const pick = k => {
    choose(options[k][0]);
    [...row.children].forEach((b, i) => {
      b.setAttribute("aria-checked", String(i === k));
      b.tabIndex = i === k ? 0 : -1;
    });
  };
  options.forEach(([value, text], k) => row.append(button(text, {
    role: "radio", "aria-checked": String(value === current), tabindex: value === current ? 0 : -1, "data-value": value,
    onclick: () => pick(k),
    onkeydown: e => {
      const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[e.key];
      if (!step) return;
      e.preventDefault();
      const next = (k + step + options.length) % options.length;
      pick(next);
      if (row.isConnected) row.children[next].focus();
    },
  })));
  return row;
}
