// Follows changes. All tabs share one stream; while there is none, the view asks at intervals.
import { every, locked } from "./api.js";
import { Stream } from "./stream.js";

const POLL = 5000; // ms between two questions while no stream is open
const HERE = 60_000; // ms between two signs of life of this tab

let said = () => {};
let left = () => {};
let post; // sends to the stream
let alone = false; // it is of this tab alone
let state = "off";
let who = null;
let view = null; // the one that follows: { query, to }

// `say(state, since)`: "live", "alone" (live, but this tab's own), "connecting", "polling",
// "silent" (no sign of life since that time) or "off", whenever that changes. `out()`: somebody has
// signed out in another tab.
export const onLive = (say, out) => ([said, left] = [say, out]);

const address = () => new URL("stream.js", import.meta.url).href;

function connect() {
  try {
    // The only script that the page makes a worker of.
    const url = globalThis.trustedTypes
      ? trustedTypes.createPolicy("babygun", { createScriptURL: address }).createScriptURL("")
      : address();
    const worker = new SharedWorker(url, { type: "module" });
    worker.onerror = stayAlone;
    worker.port.onmessage = ({ data }) => take(data);
    post = (message) => worker.port.postMessage(message);
  } catch {
    stayAlone();
  }
}

function stayAlone() {
  alone = true;
  post = new Stream(0).connect(take);
  announce();
}

function take({ state: next, since, name, data, opened, out }) {
  if (out) return left();
  if (!view) return;
  if (next) {
    state = next;
    said(state === "live" && alone ? "alone" : state, since);
    if (state === "polling" && !document.hidden && !locked()) view.to.poll?.();
  } else if (opened) view.to.opened?.();
  else view.to[name]?.(data);
}

const announce = () => post({ want: view?.query ?? null, who, hidden: document.hidden });

// Who is signed in, by id.
export function setPerson(id) {
  who = id;
  announce();
}

// This browser's other tabs must show nothing more.
export const signOutEverywhere = () => post({ out: true });

// follow({ id }, { email, gone, overview, reset, opened, poll }): calls the function of an event's
// name, with its data. `opened`: no change is missed from now on, but what was read before may be
// old. `poll`: ask yourself. Returns { close }.
export function follow(query, to) {
  const mine = (view = { query, to });
  announce();
  const stop = every(POLL, () => state !== "live" && to.poll?.());
  return {
    close() {
      stop();
      if (view !== mine) return;
      view = null;
      announce();
      said((state = "off"));
    },
  };
}

connect();
document.addEventListener("visibilitychange", () => {
  announce();
  if (!document.hidden && state !== "live" && !locked()) view?.to.poll?.();
});
addEventListener("pagehide", () => post({ bye: true }));
addEventListener("pageshow", (event) => event.persisted && announce());
setInterval(() => post({ here: true }), HERE);
