// The address bar holds the view and its filters. Going back and forth is the browser's own.

const ROUTES = [
  [/^\/(?:page\/overview)?$/, "overview"],
  [/^\/page\/emails$/, "emails"],
  [/^\/page\/emails\/([^/]+)$/, "email"],
  [/^\/page\/webhooks\/([^/]+)$/, "webhook"],
  [/^\/page\/domains\/([^/]+)$/, "domain"],
  [/^\/page\/(audit|clients|compose|domains|privacy|schedule|sites)$/, null],
  [/^\/page\/(suppressions|warm-ups|webhooks|workers)$/, null],
];

let arrived = () => {};

// The parameters of the address; one that is there several times is an array.
function asked() {
  const query = {};
  for (const [name, value] of new URLSearchParams(location.search))
    query[name] = name in query ? [query[name], value].flat() : value;
  return query;
}

// What the address names: { name, id, query }.
export function place() {
  for (const [pattern, name] of ROUTES) {
    const match = pattern.exec(location.pathname);
    if (match)
      return {
        name: name ?? match[1],
        id: match[1] ? decodeURIComponent(match[1]) : null,
        query: asked(),
      };
  }
  return { name: "overview", id: null, query: {} };
}

export function go(path) {
  if (path !== location.pathname + location.search) history.pushState(null, "", path);
  arrived();
}

// Other filters, which the view has heeded already: going back undoes them.
export const note = (path) => history.pushState(null, "", path);

// The same with nothing to go back to.
export const rename = (path) => history.replaceState(history.state, "", path);

export function route(onArrival) {
  arrived = onArrival;
  history.scrollRestoration = "manual";
  addEventListener("popstate", () => arrived());
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href^='/page/'], a.brand");
    if (
      !link ||
      event.defaultPrevented ||
      event.button ||
      event.metaKey ||
      event.ctrlKey ||
      event.shiftKey ||
      event.altKey ||
      link.target ||
      link.hasAttribute("download")
    )
      return;
    event.preventDefault();
    go(link.getAttribute("href"));
  });
}
