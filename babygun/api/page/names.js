// The names of clients, in place of their ids; known to somebody with the scope admin.
import { get } from "./api.js";
import { h } from "./dom.js";

let known = new Map();
let asked = null;

// Reads the names once; `then()` is called when they are there.
export function withNames(may, then) {
  if (!may("admin")) return;
  asked ??= get("/clients").then(
    ({ clients }) => setNames(clients),
    () => (asked = null),
  );
  asked.then(then);
}

export const setNames = (clients) =>
  (known = new Map(clients.map((one) => [one.client_id ?? one.id, one.name])));

export function forgetNames() {
  known = new Map();
  asked = null;
}

// [[id, name], …], by name.
export const names = () =>
  [...known].map(([id, name]) => [id, name || id]).sort(([, a], [, b]) => a.localeCompare(b));

export const nameOf = (id) => known.get(id) || id;

// Who set something, such as "operator 115c4f34d0b4ce46", by names.
export const byName = (setBy) => setBy.split(" ").map(nameOf).join(" ");

// A client by its name, and by its id where the name is not known.
export const client = (id) =>
  known.get(id) ? h("span", { title: id }, known.get(id)) : h("code", null, id);
