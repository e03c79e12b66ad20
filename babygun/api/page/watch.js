// The data of the overview, kept up to date, with the history of the rates.
import { every, get } from "./api.js";
import { follow } from "./live.js";

export const HOUR = 720; // points of the history, 5 s each
export const AGAIN = 60_000; // ms after which it is read again
// Names of the rates, what they are called, and how they are drawn.
export const SERIES = [
  ["accepted", "Accepted", "accepted"],
  ["delivered", "Delivered", "complete"],
  ["deferred", "Deferred", "waiting"],
  ["failed", "Failed", "failed"],
];
// Points that the history may be behind the rates: every process must have reported a step.
const BEHIND = 6;

let remembered = null; // the history as it was last: a process that starts again knows none

// The data of GET /overview, kept up to date. `changed(data, error)`; the history is data.history.
export function watchOverview(changed) {
  let data = null;
  let history = null;
  let updates = 0;
  async function read() {
    const before = updates;
    try {
      const found = await get("/overview");
      const { accepted, start } = found.history;
      history = remembered = whole(found.history, remembered);
      // What the stream has brought meanwhile is newer.
      data = { ...(updates === before ? found : data), history };
      data.since = accepted.length < HOUR ? start : null;
      changed(data, null);
    } catch (error) {
      changed(data, error);
    }
  }
  function update(next) {
    if (!history) return;
    updates += 1;
    extend(history, next);
    data = { ...next, history, since: data.since };
    changed(data, null);
  }
  const stream = follow(
    { only: "overview" },
    { overview: update, opened: read, reset: read, poll: read },
  );
  const stop = every(AGAIN, read);
  read();
  return {
    close() {
      stop();
      stream.close();
    },
  };
}

// A process that runs for less than an hour knows less: the chart shows the hour all the same, with
// what this page has seen of it.
function whole(history, before) {
  const lacking = Math.max(0, HOUR - history.accepted.length);
  const startMs = Date.parse(history.start) - lacking * history.step * 1000;
  const shift = before ? Math.round((startMs - Date.parse(before.start)) / 1000 / before.step) : 0;
  return {
    start: new Date(startMs).toISOString(),
    step: history.step,
    ...Object.fromEntries(
      SERIES.map(([name]) => [
        name,
        [...Array(lacking).fill(null), ...history[name]].map((value, index) =>
          index < lacking ? (before?.[name][index + shift] ?? value) : value,
        ),
      ]),
    ),
  };
}

// The history goes on with each second's rates until it is read again.
function extend(history, { at, rates }) {
  const index = Math.floor((Date.parse(at) - Date.parse(history.start)) / 1000 / history.step);
  const known = history.accepted.length;
  if (index < 0 || index > known + HOUR) return;
  for (const [name] of SERIES) {
    const values = history[name];
    const lately = index - values.length <= BEHIND; // else nothing is known of the time between
    while (values.length < index) values.push(lately ? rates[name] : null);
    if (values.length === index) values.push(rates[name]);
    values.splice(0, Math.max(0, values.length - HOUR));
  }
  const dropped = Math.max(0, index + 1 - HOUR);
  if (dropped)
    history.start = new Date(
      Date.parse(history.start) + dropped * history.step * 1000,
    ).toISOString();
}

// The end of the history.
export function tail(history, points) {
  const from = Math.max(0, history.accepted.length - points);
  const start = new Date(Date.parse(history.start) + from * history.step * 1000).toISOString();
  return {
    start,
    step: history.step,
    ...Object.fromEntries(SERIES.map(([name]) => [name, history[name].slice(from)])),
  };
}
