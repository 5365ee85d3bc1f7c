// Small tools for building elements. Text always goes in as text, never as HTML.

export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

function drawing(tag, properties, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(properties)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function icon(name) {
  return drawing("svg", { class: "icon", "aria-hidden": "true" }, drawing("use", { href: `${document.body.dataset.icons}#${name}` }));
}

// A bar that shows how much of a budget is used; `tone` is its colour: "warn" or "bad".
export function budgetMeter(percent, tone) {
  const reading = { role: "meter", "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": percent, "aria-label": `Used: ${percent} %` };
  return drawing("svg", { class: "budget-meter", "data-tone": tone, ...reading }, drawing("rect", { width: `${percent}%`, height: "100%" }));
}

// A small button: a sign, and its words beside it (`shown`) or as its name.
export function toolButton(words, symbol, action, { shown = false, label = null } = {}) {
  const name = label ?? (shown ? null : words);
  return element(
    "button",
    { type: "button", class: shown ? "quiet" : "quiet quiet--icon", onclick: action, "aria-label": name, title: name },
    icon(symbol),
    shown ? element("span", {}, words) : null,
  );
}

// Make `nodes` the children of `parent`, in this order. What stands in its place already is not touched: it would lose the
// focus.
export function arrange(parent, nodes) {
  const keep = new Set(nodes);
  for (const child of Array.from(parent.children)) if (!keep.has(child)) child.remove();
  let next = parent.firstElementChild;
  for (const node of nodes) {
    if (node === next) next = next.nextElementSibling;
    else parent.insertBefore(node, next);
  }
}

// Set the text of `node`, by adding to what is there where that is enough: a long answer grows without being redrawn.
export function setText(node, text) {
  const current = node.firstChild;
  if (current?.nodeType === Node.TEXT_NODE && node.childNodes.length === 1) {
    if (current.data === text) return;
    if (text.startsWith(current.data)) {
      current.appendData(text.slice(current.data.length));
      return;
    }
  }
  node.textContent = text;
}
