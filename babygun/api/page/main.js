// The shell: who is signed in, which view the address names, whether what is shown is live.
import { onAnswer, session, signOut } from "./api.js";
import { $, h, show } from "./dom.js";
import { lend, listen, showKeys } from "./keys.js";
import { onLive, setPerson, signOutEverywhere } from "./live.js";
import { forgetNames } from "./names.js";
import { badge, emptyView, failure } from "./status.js";
import { go, place, rename, route } from "./router.js";
import { doing } from "./messages.js";
import { dayTime, duration, now } from "./format.js";
import * as audit from "./audit.js";
import * as clients from "./clients.js";
import * as compose from "./compose.js";
import * as domain from "./domain.js";
import * as domains from "./domains.js";
import * as email from "./email.js";
import * as emails from "./emails.js";
import * as overview from "./overview.js";
import * as privacy from "./privacy.js";
import * as schedule from "./schedule.js";
import * as signin from "./signin.js";
import * as sites from "./sites.js";
import * as suppressions from "./suppressions.js";
import * as warmups from "./warmups.js";
import * as webhook from "./webhook.js";
import * as webhooks from "./webhooks.js";
import * as workers from "./workers.js";

// What each view needs, and what the list of views calls it. A view `of` another has no
// entry there.
const VIEWS = {
  overview: { module: overview, label: "Overview", scope: "workers:read" },
  emails: { module: emails, label: "E-mails", scope: "emails:read" },
  email: { module: email, of: "emails", scope: "emails:read" },
  schedule: { module: schedule, label: "Schedule", scope: "emails:read" },
  workers: { module: workers, label: "Workers", scope: "workers:read" },
  sites: { module: sites, label: "Sites", scope: "workers:read" },
  domains: { module: domains, label: "Domains", scope: "domains" },
  domain: { module: domain, of: "domains", scope: "domains" },
  "warm-ups": { module: warmups, label: "Warm-ups", scope: "workers:read" },
  webhooks: { module: webhooks, label: "Webhooks", scope: "webhooks" },
  webhook: { module: webhook, of: "webhooks", scope: "webhooks" },
  suppressions: { module: suppressions, label: "Suppressions", scope: "suppressions" },
  clients: { module: clients, label: "Clients", scope: "admin" },
  privacy: { module: privacy, label: "Privacy", scope: "admin" },
  audit: { module: audit, label: "Audit", scope: "admin" },
  compose: { module: compose, label: "Compose", scope: "emails:send" },
};

const main = $("#main");
const LIVE = {
  live: ["complete", "Live"],
  alone: [
    "complete",
    "Live, this tab",
    "This browser can't share one stream among its tabs: each that is seen has its own, and " +
      "more than five make the rest wait",
  ],
  connecting: ["waiting", "Connecting"],
  polling: ["waiting", "Asks every 5 s"],
  off: null,
  away: ["failed", "Offline"],
};

let who = null;
let shown = null; // what the module of the open view returned
let live = "off";
let heard = 0; // when there was last a sign of life of a stream that is silent
let away = false;

const may = (scope) => who.scopes.includes(scope) || who.scopes.includes("admin");

function shell() {
  const { name } = place();
  document.body.classList.toggle("out", !who);
  if (!who) return (show($("#nav")), show($("#account")));
  const current = VIEWS[name].of ?? name;
  show(
    $("#nav"),
    Object.entries(VIEWS).map(
      ([key, view]) =>
        view.label &&
        may(view.scope) &&
        h(
          "a",
          {
            href: `/page/${key}`,
            "data-key": key,
            class: key === "compose" ? "compose" : null,
            "aria-current": key === current ? "page" : null,
          },
          view.label,
        ),
    ),
  );
  // On a phone the views may not all have room.
  $("[aria-current]", $("#nav"))?.scrollIntoView({ block: "nearest", inline: "nearest" });
  show(
    $("#account"),
    h("p", { class: "live", "data-key": "live", "data-still": "1" }),
    h("p", { class: "who", title: `${who.name}\n${who.scopes.join(", ")}` }, who.name),
    h(
      "div",
      { class: "row" },
      h("button", { type: "button", class: "quiet small", onclick: doing(leave) }, "Sign out"),
      h(
        "button",
        { type: "button", class: "quiet small", onclick: showKeys, "aria-label": "Keys" },
        "?",
      ),
    ),
  );
  sign();
}

// Whether what is shown is up to date.
function sign() {
  const [state, said, why] =
    live === "silent"
      ? ["failed", `No answer for ${duration(Math.round((Date.now() - heard) / 1000))}`]
      : (LIVE[away ? "away" : live] ?? []);
  const place = $("#account .live");
  if (!place) return;
  place.title = why ?? "Whether what you see is up to date";
  show(place, state && badge(state, said));
}

async function leave() {
  try {
    await signOut();
  } finally {
    signOutEverywhere();
    enter(null);
  }
}

// Somebody has signed in, or nobody is any more.
function enter(person) {
  who = person;
  emails.forget();
  compose.forget();
  forgetNames();
  setPerson(who?.client_id ?? null);
  close();
  arrive();
}

// The session has ended. What is shown stays, out of sight, until the same person signs in again;
// resolves to whether that happened.
function ended() {
  const before = who;
  if (!before) return false;
  const over = Date.parse(before.expires_at) <= now();
  const why = over
    ? `Your session was valid until ${dayTime(Date.parse(before.expires_at))}.`
    : "Your session has ended: it was signed out elsewhere, or its client was deleted.";
  return new Promise((resolve) => {
    signin.ask(`${why} Sign in, and go on where you were.`, (person) => {
      const same = person.client_id === before.client_id;
      resolve(same);
      if (!same) return setTimeout(() => enter(person)); // once the calls that waited have ended
      who = person;
      setPerson(who.client_id);
      shell();
    });
  });
}

function close() {
  shown?.close?.();
  shown = null;
  lend([]);
}

// The first view that somebody may see.
const home = () => Object.keys(VIEWS).find((name) => VIEWS[name].label && may(VIEWS[name].scope));

function arrive() {
  if (who && location.pathname === "/" && home()) rename(`/page/${home()}`);
  const to = place();
  const view = VIEWS[to.name];
  if (shown?.name === to.name && who && shown.arrive) {
    shown.arrive(to);
    return shell();
  }
  const first = !shown;
  close();
  const root = h("div"); // of this view alone: what another one still waits for finds its own
  main.replaceChildren(root);
  scrollTo(0, 0);
  if (!who) {
    document.title = "Sign in · Babygun";
    signin.open(root, enter);
  } else if (!may(view.scope)) {
    document.title = "Babygun";
    show(
      root,
      emptyView(
        "You may not see this",
        `It needs the scope ${view.scope}, and ${who.name} has ` +
          `${who.scopes.join(", ") || "none"}. Somebody with the scope admin can make a client ` +
          "that has it.",
        home() && h("a", { class: "button", href: `/page/${home()}` }, VIEWS[home()].label),
      ),
    );
  } else {
    const title = (text) =>
      root.isConnected && (document.title = [text, "Babygun"].filter(Boolean).join(" · "));
    title(view.label ?? "");
    try {
      shown = { ...view.module.open(root, { ...to, who, may, title }), name: to.name };
    } catch (error) {
      show(root, failure(error, arrive));
      throw error;
    }
    lend(shown.keys ?? []);
  }
  // Without this the next Tab would begin at the top of the page.
  if (!first && document.activeElement === document.body) main.focus({ preventScroll: true });
  shell();
}

onLive(
  (state, since) => {
    live = state;
    heard = since;
    if (state === "live") away = false;
    sign();
  },
  () => who && enter(null),
);
onAnswer({
  signedOut: async () => ended(),
  answered(reached) {
    if (away === !reached) return;
    away = !reached;
    sign();
  },
});
setInterval(() => live === "silent" && sign(), 1000);
listen();
route(arrive);

async function start() {
  try {
    who = await session();
    setPerson(who.client_id);
  } catch (error) {
    if (error.status !== 401) return show(main, failure(error, start));
  }
  arrive();
}
start();
