// The shell: who is signed in, which view the address names, whether what is shown is live.
import { onAnswer, session, signOut } from "./api.js";
import { $, h, show } from "./dom.js";
import { lend, listen, showKeys } from "./keys.js";
import { onLive } from "./live.js";
import { empty, failure, badge } from "./status.js";
import { go, place, route } from "./router.js";
import { doing } from "./messages.js";
import * as clients from "./clients.js";
import * as compose from "./compose.js";
import * as email from "./email.js";
import * as emails from "./emails.js";
import * as overview from "./overview.js";
import * as schedule from "./schedule.js";
import * as signin from "./signin.js";
import * as sites from "./sites.js";
import * as workers from "./workers.js";

// What each view needs, and what the list of views calls it. email has no entry there.
const VIEWS = {
  overview: { module: overview, label: "Overview", scope: "workers:read" },
  emails: { module: emails, label: "E-mails", scope: "emails:read" },
  email: { module: email, scope: "emails:read" },
  schedule: { module: schedule, label: "Schedule", scope: "emails:read" },
  workers: { module: workers, label: "Workers", scope: "workers:read" },
  sites: { module: sites, label: "Sites", scope: "workers:read" },
  clients: { module: clients, label: "Clients", scope: "admin" },
  compose: { module: compose, label: "Compose", scope: "emails:send" },
};

const main = $("#main");
const LIVE = {
  live: ["complete", "Live"],
  connecting: ["waiting", "Connecting"],
  polling: ["waiting", "Asks every 5 s"],
  off: null,
  away: ["failed", "Offline"],
};

let who = null;
let shown = null; // what the open view's module returned
let live = "off";
let away = false;

const may = (scope) => who.scopes.includes(scope) || who.scopes.includes("admin");

function shell() {
  const { name } = place();
  document.body.classList.toggle("out", !who);
  if (!who) return (show($("#nav")), show($("#account")));
  const current = name === "email" ? "emails" : name;
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
  const state = LIVE[away ? "away" : live];
  show(
    $("#account"),
    h(
      "p",
      { class: "live", title: "Whether what you see is up to date" },
      state ? badge(...state) : null,
    ),
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
}

async function leave() {
  try {
    await signOut();
    compose.forget();
  } finally {
    enter(null);
  }
}

// Somebody has signed in, or nobody is any more.
function enter(person) {
  who = person;
  emails.forget();
  arrive();
}

function close() {
  shown?.close?.();
  shown = null;
  lend([]);
}

function arrive() {
  const to = place();
  if (who && to.name === "overview" && location.pathname === "/" && !may("workers:read"))
    return go("/page/emails");
  const view = VIEWS[to.name];
  if (shown?.name === to.name && who && shown.arrive) {
    shown.arrive(to);
    return shell();
  }
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
      empty(
        "You may not see this",
        `It needs the scope ${view.scope}, and ${who.name} has ${who.scopes.join(", ") || "none"}. Somebody with the scope admin can make a client that has it.`,
      ),
    );
  } else {
    const title = (text) => root.isConnected && (document.title = `${text} · Babygun`);
    title(view.label ?? "E-mail");
    try {
      shown = { ...view.module.open(root, { ...to, who, may, title }), name: to.name };
    } catch (error) {
      show(root, failure(error, arrive));
      throw error;
    }
    lend(shown.keys ?? []);
  }
  shell();
}

onLive((state) => {
  live = state;
  shell();
});
onAnswer({
  signedOut() {
    if (who) enter(null);
  },
  answered(reached) {
    if (away === !reached) return;
    away = !reached;
    shell();
  },
});
listen();
route(arrive);

async function start() {
  try {
    who = await session();
  } catch (error) {
    if (error.status !== 401) return show(main, failure(error, start));
  }
  arrive();
}
start();
