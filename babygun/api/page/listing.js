// The e-mails of a filter, newest first: read page by page, kept up to date by events. Holds a few
// words of each, however many they are.
import { get, path } from "./api.js";
import { now } from "./format.js";
import { stateOf } from "./status.js";
import { asked, fits } from "./search.js";

const PAGE = 100;
const ENOUGH = 40; // rows after which a filter that lets little through is not read on by itself

// What a row shows.
function brief(email) {
  const [first, ...others] = email.recipients;
  const many = email.many; // a wide e-mail: lists have no recipients of it
  return {
    id: email.id,
    state: stateOf(email),
    to: many?.first ?? first?.email ?? "",
    others: many ? many.total - 1 : others.length,
    subject: email.subject,
    tags: email.tags,
    at: email.created_at,
    due: email.not_before,
  };
}

// Ids begin with their time, in milliseconds.
export const timeOf = (id) => parseInt(id.replaceAll("-", "").slice(0, 12), 16);

export class Listing {
  // `changed()` is called after every change of what is to be shown.
  constructor(filters, changed) {
    Object.assign(this, {
      filters,
      changed,
      rows: [],
      known: new Map(),
      fresh: new Map(),
      cursor: null,
      done: false,
      busy: false,
      failure: null,
      scroll: 0,
    });
    // A span of time in the filter counts from here, or rows would leave it while pages are read.
    this.since = now();
  }

  async page(cursor, limit = PAGE) {
    return get(path("/emails", { limit, cursor, ...asked(this.filters, this.since) }));
  }

  // Reads on, until there is something more to see, nothing more to read, or `stop()`.
  async more() {
    if (this.busy || this.done) return;
    Object.assign(this, { busy: true, stopped: false, failure: null });
    this.changed();
    const before = this.rows.length;
    try {
      do {
        const { emails, cursor } = await this.page(this.cursor);
        for (const email of emails) this.add(brief(email));
        Object.assign(this, { cursor, done: !cursor });
        this.changed();
      } while (!this.done && !this.stopped && this.rows.length < before + ENOUGH);
    } catch (error) {
      this.failure = error;
    } finally {
      this.busy = false;
      this.changed();
    }
  }

  stop() {
    this.stopped = true;
  }

  // Reads the newest again, after a time without events. New e-mails wait to be shown, as always.
  async renew() {
    if (this.busy) return;
    try {
      const { emails, cursor } = await this.page(null);
      const gap =
        this.rows.length > 0 &&
        cursor &&
        emails.length > 0 &&
        !emails.some(({ id }) => this.known.has(id) || this.fresh.has(id));
      if (gap) {
        this.rows = [];
        this.known.clear();
        this.fresh.clear();
        Object.assign(this, { cursor, done: false });
        for (const email of emails) this.add(brief(email));
      } else for (const email of emails) this.arrived(email);
      this.failure = null;
    } catch (error) {
      if (!this.rows.length) this.failure = error;
    }
    this.changed();
  }

  // An event: the e-mail as it is now. A row that is shown stays, also where the filter no longer
  // lets it through.
  arrived(email) {
    const row = brief(email);
    const shown = this.known.get(row.id);
    if (shown) Object.assign(shown, row, { past: !fits(email, this.filters, this.since) });
    else if (!fits(email, this.filters, this.since)) this.fresh.delete(row.id);
    else if (this.done || !this.rows.length || row.id > this.rows.at(-1).id)
      this.fresh.set(row.id, row);
  }

  // Shows what has arrived; returns how many rows that are.
  admit() {
    const count = this.fresh.size;
    for (const row of [...this.fresh.values()].sort((a, b) => (a.id < b.id ? -1 : 1)))
      this.add(row);
    this.fresh.clear();
    return count;
  }

  gone(id) {
    this.fresh.delete(id);
    if (!this.known.delete(id)) return;
    this.rows.splice(this.place(id), 1);
  }

  add(row) {
    if (this.known.has(row.id)) return;
    this.fresh.delete(row.id);
    this.known.set(row.id, row);
    const last = this.rows.at(-1);
    if (!last || row.id < last.id) this.rows.push(row);
    else this.rows.splice(this.place(row.id), 0, row);
  }

  // Where an id stands, or would stand.
  place(id) {
    let low = 0;
    let high = this.rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.rows[middle].id > id) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
