// Makes elements and updates them. Text goes in as text, never as HTML: strangers wrote what the
// page shows.

const SVG = "http://www.w3.org/2000/svg";
const DIRECT = new Set([
  "value",
  "checked",
  "disabled",
  "hidden",
  "indeterminate",
  "selected",
  "htmlFor",
]); // set as properties

// h("a", { href, class, onclick }, children…): an element. An attribute or child that is null or
// false is left out.
export const h = (tag, given, ...children) => fill(document.createElement(tag), given, children);

// The same for a part of an SVG image.
export const s = (tag, given, ...children) =>
  fill(document.createElementNS(SVG, tag), given, children);

const absent = (value) => value === null || value === undefined || value === false;

function fill(node, given, children) {
  for (const [name, value] of Object.entries(given ?? {})) {
    if (name.startsWith("on")) {
      if (value) (node.handlers ??= {})[name] = node[name] = value;
    } else if (DIRECT.has(name)) node[name] = value ?? "";
    else if (name === "style")
      for (const [key, one] of Object.entries(value)) node.style.setProperty(key, one);
    else if (!absent(value)) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => !absent(child)));
  return node;
}

// Updates the children of `node` to `made`. What is equal already is not touched: focus, selection
// and scroll positions stay.
// data-key: finds an element again. data-still: an element that is never updated.
export function show(node, ...made) {
  children(
    node,
    made
      .flat(Infinity)
      .filter((child) => !absent(child))
      .map((child) => (child instanceof Node ? child : document.createTextNode(child))),
  );
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
  let focused = false;
  while (at) {
    const next = at.nextSibling;
    focused ||= at.contains(document.activeElement);
    at.remove();
    at = next;
  }
  if (focused) refocus(node);
}

// What had the focus is gone: something near it gets it, or the next Tab would begin at the top of
// the page. Rows come and go as a list is scrolled: there it is the whole view.
function refocus(node) {
  const near = node.closest(".rows") ? null : $("button, a[href], input", node);
  (near ?? $("#main")).focus({ preventScroll: true });
}

const alike = (one, other) =>
  one.nodeType === other.nodeType && one.nodeName === other.nodeName && one.id === other.id;

function become(node, made) {
  if (node.nodeType === Node.TEXT_NODE) {
    if (node.data !== made.data) node.data = made.data;
    return;
  }
  if (node.dataset.still) return;
  for (const { name, value } of made.attributes) {
    if (name === "style")
      // The policy lets a script set styles, but not the attribute.
      node.style.cssText = made.style.cssText;
    else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
  }
  for (const { name } of [...node.attributes])
    if (!made.hasAttribute(name)) node.removeAttribute(name);
  for (const name of new Set([
    ...Object.keys(node.handlers ?? {}),
    ...Object.keys(made.handlers ?? {}),
  ]))
    node[name] = made.handlers?.[name] ?? null;
  node.handlers = made.handlers;
  if (node.nodeName === "OPTION") node.selected = made.selected;
  if (node.nodeName === "INPUT" && node !== document.activeElement && node.value !== made.value)
    node.value = made.value;
  if ("checked" in made && node.checked !== made.checked) node.checked = made.checked;
  if ("indeterminate" in made && node.indeterminate !== made.indeterminate)
    node.indeterminate = made.indeterminate;
  if ("disabled" in made && node.disabled !== made.disabled) node.disabled = made.disabled;
  children(node, [...made.childNodes]);
}

// A dialog gives the focus back to where it was, which may be gone by now.
export const rescueFocus = () =>
  document.activeElement === document.body && $("#main").focus({ preventScroll: true });

export const $ = (selector, from = document) => from.querySelector(selector);
