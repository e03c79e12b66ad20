// An e-mail's life drawn to scale: for each queue, when it waited and when it was tried.
import { h } from "./dom.js";
import { clockTime, dayTime, duration, many, now } from "./format.js";
import { OPEN, replyWords } from "./status.js";

const LANES = 12;
const STEPS = [
  0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800,
  3600, 7200, 21600, 43200, 86400, 172800, 604800,
]; // s

// The lanes of a log, one for each queue, by name:
// [{ queue, parts: [{ kind: "wait" | "plan" | "try", from, to (ms), state, said }] }].
export function lanes(email, entries) {
  const accepted = Date.parse(email.created_at);
  const queues = new Map(
    [...new Set(email.recipients.map((one) => one.queue))]
      .sort()
      .map((queue) => [
        queue,
        { queue, parts: [], at: accepted, claim: null, due: null, over: false },
      ]),
  );
  for (const entry of entries) {
    const at = Date.parse(entry.at);
    const touched = entry.queue ? [queues.get(entry.queue)] : [...queues.values()];
    for (const lane of touched.filter(Boolean)) step(lane, entry, at);
  }
  const end = now();
  const open = new Set(
    email.recipients.filter(({ status }) => OPEN.has(status)).map(({ queue }) => queue),
  );
  for (const lane of queues.values()) finish(lane, open, email, end);
  return [...queues.values()];
}

function step(lane, entry, at) {
  if (entry.late || entry.event === "complained") return; // it came back, and ends no try
  if (entry.event === "claimed") {
    lane.parts.push({
      kind: "wait",
      from: lane.at,
      to: at,
      said: `Waited ${duration((at - lane.at) / 1000)}`,
    });
    Object.assign(lane, { claim: { at, entry }, at });
  } else if (lane.claim && entry.queue) {
    const from = lane.claim.at;
    const [reply] = entry.replies;
    const said = [
      `Try ${entry.try}: ${entry.event} after ${duration((at - from) / 1000)}`,
      replyWords(reply),
    ]
      .filter(Boolean)
      .join("\n");
    lane.parts.push({ kind: "try", from, to: at, state: entry.event, said });
    Object.assign(lane, {
      claim: null,
      at,
      due: entry.not_before && Date.parse(entry.not_before),
      over: !entry.not_before,
    });
  } else if (entry.event === "cancelled" && !lane.over && !lane.claim) {
    lane.parts.push({ kind: "wait", from: lane.at, to: at, said: "Waited until it was cancelled" });
    Object.assign(lane, { at, due: null, over: true });
  } else if (entry.event === "due_now") Object.assign(lane, { due: null });
  else if (entry.event === "retried") Object.assign(lane, { at, due: null, over: false });
}

// `open`: the queues that have recipients to come.
function finish(lane, open, email, end) {
  if (lane.claim)
    lane.parts.push({
      kind: "try",
      from: lane.claim.at,
      to: Math.max(end, lane.claim.at),
      state: "claimed",
      said: `Being sent for ${duration((end - lane.claim.at) / 1000)}`,
    });
  else if (!lane.over && open.has(lane.queue)) {
    const due = lane.due ?? (email.not_before && Date.parse(email.not_before));
    lane.parts.push({
      kind: "wait",
      from: lane.at,
      to: Math.max(end, lane.at),
      said: `Waits for ${duration((end - lane.at) / 1000)}`,
    });
    if (due > end)
      lane.parts.push({ kind: "plan", from: end, to: due, said: `Next try at ${dayTime(due)}` });
  }
}

const COLOURS = {
  claimed: "sending",
  delivered: "complete",
  deferred: "waiting",
  held: "waiting",
  bounced: "failed",
  expired: "failed",
  suppressed: "cancelled",
};

export function timeline(email, entries) {
  const all = lanes(email, entries);
  const from = Date.parse(email.created_at);
  const last = Math.max(
    from + 10,
    ...all.flatMap((lane) => lane.parts.map((part) => part.to)),
    ...entries.map((entry) => Date.parse(entry.at)),
  );
  const span = (last - from) * 1.02;
  const at = (ms) => `${Math.max(0, Math.min(100, ((ms - from) / span) * 100)).toFixed(3)}%`;
  const tries = all.flatMap((lane) => lane.parts).filter((part) => part.kind === "try").length;
  const step = STEPS.find((one) => span / 1000 / one <= 6) ?? span / 6000;
  const ticks = [];
  for (let tick = 0; tick * 1000 <= span * 0.96; tick += step)
    ticks.push(
      h(
        "span",
        { class: "tick", style: { left: at(from + tick * 1000) } },
        tick ? `+${duration(tick)}` : clockTime(from).slice(0, 8),
      ),
    );
  const parts = (lane) =>
    lane.parts.map((part) =>
      h("span", {
        class: `part ${part.kind} ${COLOURS[part.state] ?? ""}`,
        title: part.said,
        style: { left: at(part.from), width: `calc(${at(part.to)} - ${at(part.from)})` },
      }),
    );
  return h(
    "div",
    {
      class: "timeline",
      role: "img",
      "aria-label":
        `Timeline over ${duration((last - from) / 1000)}: ${many(tries, "try", "tries")}. The ` +
        "log below says the same in words.",
    },
    all
      .slice(0, LANES)
      .map((lane) =>
        h(
          "div",
          { class: "lane" },
          all.length > 1 && h("span", { class: "queue" }, lane.queue),
          h("div", { class: "track" }, parts(lane)),
        ),
      ),
    all.length > LANES &&
      h("p", { class: "soft" }, `and ${many(all.length - LANES, "more queue")}`),
    h(
      "div",
      { class: "ticks" },
      all.length > 1 && h("span", { class: "queue" }),
      h("div", { class: "track" }, ticks),
    ),
  );
}
