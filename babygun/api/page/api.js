// Calls the API. The browser keeps the session in a cookie that no script can read.
import { duration, many, setClock } from "./format.js";

// What the API (RFC 9457) or the network says went wrong.
export class Failure extends Error {
  constructor(
    message,
    {
      title = "Something went wrong",
      status = 0,
      slug = "",
      field = null,
      errors = [],
      requestId = null,
    } = {},
  ) {
    super(message);
    Object.assign(this, { title, status, slug, field, errors, requestId });
  }
}

const LIMITS = { GET: 10_000 }; // ms that an answer may take
const LIMIT = 60_000; // of any other call
const LATE_ANSWER = "Try again, or look at something else meanwhile.";
const LATE_CHANGE = "What you asked for may be done or not: look before you ask again.";

let reached = () => {};
let ended = async () => false;
let again = null; // while somebody has to sign in: whether the same person did

// `signedOut(failure)` is called when the session has ended. It resolves to whether the same person
// has signed in again: then every call that waited is made once more. `answered` is called with
// whether the last call got an answer.
export function onAnswer({ signedOut, answered }) {
  ended = signedOut;
  reached = answered;
}

// Whether calls wait until somebody signs in.
export const locked = () => again !== null;

// Calls the API; resolves to what `read(response)` makes of the answer.
async function answerOf(method, path, { quiet401 = false, ...options }, read) {
  for (;;) {
    if (again && !quiet401 && !(await again)) throw signedOut();
    try {
      return await once(method, path, options, read);
    } catch (error) {
      if (error.status !== 401 || quiet401) throw error;
      again ??= ended(error).finally(() => (again = null));
    }
  }
}

const signedOut = () => new Failure("You are signed out.", { slug: "signed-out", status: 401 });

// `raw`, of media type `type`: sent as it is. `body`: sent as JSON.
async function once(method, path, { body, raw, type, accept, headers: more }, read) {
  const headers = { Accept: accept ?? "application/json", ...more };
  if (raw ?? body) headers["Content-Type"] = type ?? "application/json";
  const limit = LIMITS[method] ?? LIMIT;
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), limit);
  try {
    const response = await fetch(path, {
      method,
      headers,
      signal: late.signal,
      body: raw ?? (body && JSON.stringify(body)),
    });
    reached(true);
    const date = Date.parse(response.headers.get("Date"));
    if (date) setClock(date + 500); // the header has whole seconds
    if (!response.ok) throw await failureOf(response);
    return await read(response);
  } catch (error) {
    if (error instanceof Failure) throw error;
    reached(false);
    throw late.signal.aborted
      ? new Failure(
          `There was none for ${limit / 1000} s. ${method === "GET" ? LATE_ANSWER : LATE_CHANGE}`,
          { title: "The API does not answer", slug: "no-answer" },
        )
      : new Failure(
          "Is it running, and this machine on the network? The page goes on by itself as " +
            "soon as it answers.",
          { title: "The API can't be reached", slug: "unreachable" },
        );
  } finally {
    clearTimeout(timer);
  }
}

async function failureOf(response) {
  let problem = {};
  try {
    problem = await response.json();
  } catch {
    // a proxy's answer, or none at all
  }
  const failure = new Failure(
    problem.detail ?? `The answer was ${response.status} ${response.statusText}.`,
    {
      title: problem.title,
      status: response.status,
      slug: (problem.type ?? "").split(":").pop(),
      field: problem.field ?? null,
      errors:
        problem.errors ?? (problem.field ? [{ field: problem.field, detail: problem.detail }] : []),
      requestId: problem.request_id ?? response.headers.get("X-Request-Id"),
    },
  );
  if (response.status === 429) {
    const seconds = Number(response.headers.get("Retry-After") ?? 1);
    const words = seconds < 600 ? many(seconds, "second") : duration(seconds);
    failure.message += ` Try again in ${words}.`;
  }
  return failure;
}

export const call = (method, path, options = {}) =>
  answerOf(method, path, options, (response) => (response.status === 204 ? null : response.json()));

export const get = (path, options) => call("GET", path, options);
export const post = (path, body, options) => call("POST", path, { body, ...options });

// The answer as text, at most `limit` bytes of it; { text, cut }.
export const text = (path, limit) =>
  answerOf("GET", path, { accept: "*/*" }, (response) => begin(response, limit));

// The answer's bytes.
export const blob = (path) =>
  answerOf("GET", path, { accept: "*/*" }, (response) => response.blob());

async function begin(response, limit) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let found = "";
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return { text: found + decoder.decode(), cut: false };
    size += value.length;
    found += decoder.decode(value, { stream: true });
    if (size >= limit) {
      reader.cancel();
      return { text: found, cut: true };
    }
  }
}

// Does `work` every `ms`, while the page is seen and somebody is signed in; one at a time. Returns
// a function that ends it.
export function every(ms, work) {
  let busy = false;
  const timer = setInterval(async () => {
    if (busy || document.hidden || locked()) return;
    busy = true;
    try {
      await work();
    } finally {
      busy = false;
    }
  }, ms);
  return () => clearInterval(timer);
}

// A path with its query: an array gives several parameters, what is empty gives none.
export function path(base, query) {
  const given = Object.entries(query)
    .flatMap(([name, value]) => [value].flat().map((one) => [name, one]))
    .filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `${base}?${new URLSearchParams(given)}` : base;
}

// The session: { client_id, name, scopes, expires_at }.
export const signIn = (id, secret) =>
  post("/session", { client_id: id, client_secret: secret }, { quiet401: true });
export const session = () => get("/session", { quiet401: true });
export const signOut = () => call("DELETE", "/session", { quiet401: true });
