// Calls the API. The browser keeps the session in a cookie that no script can read.
import { many, setClock } from "./format.js";

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

let unauthorized = () => {};
let reached = () => {};

// `signedOut` is called when the session is over, `answered` with whether the last call reached
// the API.
export function onAnswer({ signedOut, answered }) {
  unauthorized = signedOut;
  reached = answered;
}

async function answerOf(
  method,
  path,
  { body, accept, headers: more, signal, quiet401 = false } = {},
) {
  const headers = { Accept: accept ?? "application/json", ...more };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      signal,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    reached(false);
    throw new Failure(
      "Is it running, and this machine on the network? The page goes on by itself as soon as it answers.",
      { title: "The API can't be reached", slug: "unreachable" },
    );
  }
  reached(true);
  const date = Date.parse(response.headers.get("Date"));
  if (date) setClock(date + 500); // the header has whole seconds
  if (response.ok) return response;
  throw await failureOf(response, quiet401);
}

async function failureOf(response, quiet401) {
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
  if (response.status === 429)
    failure.message += ` Try again in ${many(Number(response.headers.get("Retry-After") ?? 1), "second")}.`;
  if (response.status === 401 && !quiet401) unauthorized(failure);
  return failure;
}

export async function call(method, path, options) {
  const response = await answerOf(method, path, options);
  return response.status === 204 ? null : response.json();
}

export const get = (path, options) => call("GET", path, options);
export const post = (path, body, options) => call("POST", path, { body, ...options });

// The answer as text, at most `limit` bytes of it; { text, cut }.
export async function text(path, limit) {
  const response = await answerOf("GET", path, { accept: "*/*" });
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

// A path with its query; empty parameters are left out.
export function path(base, query) {
  const given = Object.entries(query).filter(
    ([, value]) => value !== null && value !== undefined && value !== "",
  );
  return given.length ? `${base}?${new URLSearchParams(given)}` : base;
}

// The session: { client_id, name, scopes, expires_at }.
export const signIn = (id, secret) =>
  post("/session", { client_id: id, client_secret: secret }, { quiet401: true });
export const session = () => get("/session", { quiet401: true });
export const signOut = () => call("DELETE", "/session", { quiet401: true });
