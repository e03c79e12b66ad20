// Makes elements and brings them up to date. Text goes in as text only, never as HTML: what the page shows was written by strangers.

const SVG = "http://www.w3.org/2000/svg";
const DIRECT = new Set(["value", "checked", "disabled", "hidden", "indeterminate", "selected", "htmlFor"]); // set as properties

// h("a", { href, class, onclick }, children…): an element. Null and false, as an attribute or a child, say that there is none.
export const h = (tag, given, ...children) => fill(document.createElement(tag), given, children);

// The same for a part of an SVG image.
export const s = (tag, given, ...children) => fill(document.createElementNS(SVG, tag), given, children);

const absent = (value) => value === null || value === undefined || value === false;

function fill(node, given, children) {
  for (const [name, value] of Object.entries(given ?? {})) {
    if (name.startsWith("on")) {
      if (value) (node.handlers ??= {})[name] = node[name] = value;
    } else if (DIRECT.has(name)) node[name] = value ?? "";
    else if (name === "style") for (const [key, one] of Object.entries(value)) node.style.setProperty(key, one);
    else if (!absent(value)) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => !absent(child)));
  return node;
}

// Makes the children of `node` what `made` says, and touches nothing that is so already: what has the focus, is selected or scrolled stays.
// An element with data-key is known again by it; one with data-still is left alone once it is there.
export function show(node, ...made) {
  children(node, made.flat(Infinity).filter((child) => !absent(child)).map((child) => (child instanceof Node ? child : document.createTextNode(child))));
  return node;
}

function children(node, wanted) {
  const known = new Map();
  for (const child of node.children) if (child.dataset.key) known.set(child.dataset.key, child);
  let at = node.firstChild;
  for (const made of wanted) {
    const key = made.dataset?.key;
    const same = key ? known.get(key) : at && !at.dataset?.key && alike(at, made) ? at : null;
    if (!same) node.insertBefore(made, at);
    else {
      if (same === at) at = at.nextSibling;
      else node.insertBefore(same, at);
      if (same !== made) become(same, made);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

const alike = (one, other) => one.nodeType === other.nodeType && one.nodeName === other.nodeName && one.id === other.id;

function become(node, made) {
  if (node.nodeType === Node.TEXT_NODE) {
    if (node.data !== made.data) node.data = made.data;
    return;
  }
  if (node.dataset.still) return;
  for (const { name, value } of made.attributes) {
    if (name === "style") node.style.cssText = made.style.cssText; // the policy lets a script set styles, but no attribute
    else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
  }
  for (const { name } of [...node.attributes]) if (!made.hasAttribute(name)) node.removeAttribute(name);
  for (const name of new Set([...Object.keys(node.handlers ?? {}), ...Object.keys(made.handlers ?? {})])) node[name] = made.handlers?.[name] ?? null;
  node.handlers = made.handlers;
  if ("checked" in made && node.checked !== made.checked) node.checked = made.checked;
  if ("disabled" in made && node.disabled !== made.disabled) node.disabled = made.disabled;
  children(node, [...made.childNodes]);
}

export const $ = (selector, from = document) => from.querySelector(selector);
