// The address bar holds the view and its filters. Going back and forth is the browser's own.

const ROUTES = [
  [/^\/(?:page\/overview)?$/, "overview"],
  [/^\/page\/emails$/, "emails"],
  [/^\/page\/emails\/([^/]+)$/, "email"],
  [/^\/page\/(compose|schedule|workers|sites|clients)$/, null],
];

let arrived = () => {};

// What the address names: { name, id, query }.
export function place() {
  for (const [pattern, name] of ROUTES) {
    const match = pattern.exec(location.pathname);
    if (match)
      return {
        name: name ?? match[1],
        id: match[1] ? decodeURIComponent(match[1]) : null,
        query: Object.fromEntries(new URLSearchParams(location.search)),
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
    const link = event.target.closest?.("a[href^='/page/']");
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
