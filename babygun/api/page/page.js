// The page: signs in, lists the newest e-mails, shows one, sends a test. Asks again every two seconds while it is seen.
import { content, emailRow, facts, logLine, recipientRow } from "./view.js";

const REFRESH = 2000; // ms
const $ = (id) => document.getElementById(id);
const state = { token: sessionStorage.getItem("token"), shown: 20, open: null, busy: false, away: false };

async function call(method, path, body, token = state.token) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  if (response.status === 204) return null;
  const answer = await response.json();
  if (response.ok) return answer;
  if (response.status === 401 && token) signOut();
  throw new Error(answer.field ? `${answer.field}: ${answer.detail}` : answer.detail);
}

function notice(error) {
  $("notice").hidden = !error;
  $("notice").textContent = error ? (error instanceof TypeError ? "The API can't be reached." : error.message) : "";
}

// Asks again by itself. Says that it fails until it succeeds, and leaves alone what was said of something else.
async function watch() {
  try {
    await refresh();
    if (state.away) notice(null);
    state.away = false;
  } catch (error) {
    state.away = true;
    notice(error);
  }
}

// Runs what a person asked for, and says so if it fails.
function doing(work) {
  return async (event) => {
    event?.preventDefault();
    try {
      await work(event);
      notice(null);
    } catch (error) {
      notice(error);
    }
  };
}

function signOut() {
  state.token = state.open = null;
  sessionStorage.removeItem("token");
  show();
}

function show() {
  const signedIn = Boolean(state.token);
  $("signed-in").hidden = $("sign-out").hidden = !signedIn;
  $("signed-out").hidden = signedIn;
  if (!signedIn) $("who").textContent = "";
  $("email").hidden = !state.open;
}

async function emails(wanted) {
  const found = [];
  let cursor = null;
  do {
    const query = new URLSearchParams({ limit: Math.min(100, wanted - found.length) });
    if ($("status").value) query.set("status", $("status").value);
    if (cursor) query.set("cursor", cursor);
    const page = await call("GET", `/emails?${query}`);
    found.push(...page.emails);
    cursor = page.cursor;
  } while (cursor && found.length < wanted);
  return { found, more: Boolean(cursor) };
}

async function refresh() {
  if (!state.token || state.busy || document.hidden) return;
  state.busy = true;
  try {
    const { found, more } = await emails(state.shown);
    $("emails").replaceChildren(
      ...found.map((email) => {
        const made = emailRow(email, email.id === state.open);
        made.onclick = doing(() => openEmail(email.id));
        made.onkeydown = (event) => event.key === "Enter" && made.click();
        return made;
      }),
    );
    $("empty").hidden = found.length > 0;
    $("more").hidden = !more;
    if (state.open) await showEmail(state.open);
  } finally {
    state.busy = false;
  }
}

async function openEmail(id) {
  state.open = id;
  await showEmail(id);
  show();
  await refresh();
}

async function showEmail(id) {
  const [email, log] = await Promise.all([call("GET", `/emails/${id}`), call("GET", `/emails/${id}/log`)]);
  if (state.open !== id) return;
  $("subject").textContent = email.subject || "(no subject)";
  $("facts").replaceChildren(...facts(email));
  $("recipients").replaceChildren(...email.recipients.map(recipientRow));
  $("log").replaceChildren(...log.entries.map(logLine));
  $("content").textContent = content(email);
  $("cancel").hidden = email.status !== "incomplete";
  $("retry").hidden = !["failed", "cancelled"].includes(email.status);
}

async function whoAmI() {
  const info = await call("GET", "/tokens");
  $("who").textContent = info.client_id;
}

$("sign-in").onsubmit = doing(async (event) => {
  const answer = await call("POST", "/tokens", Object.fromEntries(new FormData(event.target)), null);
  state.token = answer.token;
  sessionStorage.setItem("token", state.token);
  event.target.reset();
  show();
  await whoAmI();
  await refresh();
});

$("send").onsubmit = doing(async (event) => {
  const accepted = await call("POST", "/emails", Object.fromEntries(new FormData(event.target)));
  event.target.hidden = true;
  await openEmail(accepted.id);
});

$("sign-out").onclick = doing(async () => {
  await call("DELETE", "/tokens").finally(signOut);
});
$("compose").onclick = () => ($("send").hidden = !$("send").hidden);
$("status").onchange = doing(refresh);
$("more").onclick = doing(async () => {
  state.shown += 20;
  await refresh();
});
$("close").onclick = () => {
  state.open = null;
  show();
};
for (const action of ["cancel", "retry"]) {
  $(action).onclick = doing(async () => {
    await call("POST", `/emails/${state.open}/${action}`);
    await refresh();
  });
}

show();
if (state.token) doing(whoAmI)();
watch();
setInterval(watch, REFRESH);
document.addEventListener("visibilitychange", watch);
