// Follows changes by Server-Sent Events. A lost connection goes on where it ended; while there is
// none, the view asks at intervals.
import { path } from "./api.js";

const POLL = 5000; // ms between two questions while no stream is open
const LONGEST_PAUSE = 30_000; // ms between two attempts
// Milliseconds after which a hidden page gives its connection back: a browser has six per server.
const UNSEEN = 20_000;

let said = () => {};

// `say` gets "live", "connecting", "polling" or "off" whenever that changes.
export const onLive = (say) => (said = say);

// follow({ id }, { email, gone, overview, reset, opened, poll }): calls the function of an event's
// name, with its data. `opened`: no change is missed from now on, but what was read before may be
// old. `poll`: ask yourself. Returns { close }.
export function follow(query, to) {
  let source = null;
  let last = null;
  let pause = 1000;
  let retry;
  let unseen;
  let closed = false;
  const poll = setInterval(
    () => source?.readyState !== EventSource.OPEN && !document.hidden && to.poll?.(),
    POLL,
  );

  function open() {
    clearTimeout(retry);
    if (closed || source) return;
    said("connecting");
    const resumed = last;
    source = new EventSource(path("/events", { ...query, last_event_id: resumed }));
    source.onopen = () => {
      pause = 1000;
      said("live");
      if (resumed === null) to.opened?.();
    };
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED) return said("connecting"); // the browser tries again
      source = null;
      said("polling");
      retry = setTimeout(open, pause);
      pause = Math.min(LONGEST_PAUSE, pause * 2);
    };
    for (const name of ["email", "gone", "overview", "reset"]) {
      source.addEventListener(name, (event) => {
        if (event.lastEventId) last = event.lastEventId;
        if (name === "reset") last = null;
        to[name]?.(JSON.parse(event.data));
      });
    }
  }

  function release() {
    source?.close();
    source = null;
    clearTimeout(retry);
  }

  function seen() {
    clearTimeout(unseen);
    if (document.hidden) unseen = setTimeout(release, UNSEEN);
    else {
      open();
      if (!source || source.readyState !== EventSource.OPEN) to.poll?.();
    }
  }

  document.addEventListener("visibilitychange", seen);
  open();
  return {
    close() {
      closed = true;
      release();
      clearInterval(poll);
      clearTimeout(unseen);
      document.removeEventListener("visibilitychange", seen);
      said("off");
    },
  };
}
