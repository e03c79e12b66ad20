// The e-mails of a filter, newest first: read page by page, kept up to date by events. Holds a few
// words of each, however many they are.
import { get, path } from "./api.js";
import { now } from "./format.js";
import { replyWords, stateOf } from "./status.js";
import { asked, fits } from "./search.js";

const PAGE = 100;
const ENOUGH = 40; // rows after which a filter that lets little through is not read on by itself

const MOST_AGAIN = 1000; // rows that are read again at once, after changes were missed

// What a row shows. A state of a lower revision is an older one.
function brief(email) {
  const [first, ...others] = email.recipients;
  const state = stateOf(email);
  const many = email.many; // a wide e-mail: lists have no recipients of it
  return {
    id: email.id,
    revision: email.revision,
    state,
    to: many?.first ?? first?.email ?? "",
    others: many ? many.total - 1 : others.length,
    subject: email.subject,
    tags: email.tags,
    at: email.created_at,
    due: state === "waiting" && email.tries > 0 ? email.not_before : null,
    reason: ["failed", "waiting"].includes(state) ? worst(email.recipients) : "",
    refused: refusal(email),
  };
}

// What a server said of a recipient that it refused for good; empty if it refused none.
export function refusal({ recipients }) {
  const one = recipients.find(({ status }) => status === "bounced");
  return one ? replyWords(one) || "refused" : "";
}

// What a server said of the worst recipient.
function worst(recipients) {
  const one = ["bounced", "expired", "deferred", "suppressed"]
    .map((status) => recipients.find((each) => each.status === status))
    .find(Boolean);
  return replyWords(one).slice(0, 200);
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
      lost: new Set(), // removed e-mails, which an answer on its way may still hold
      current: null, // the id of the row that the keys are on
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
    if (this.busy || this.renewing || this.done) return;
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
      this.refresh();
    }
  }

  stop() {
    this.stopped = true;
  }

  // Reads the newest again, after a time without events. New e-mails wait to be shown, as always.
  // `missed`: changes of any row may be missing, so all that is shown is read again.
  async renew(missed = false) {
    if (this.busy || this.renewing) return void (this.stale ||= missed);
    this.renewing = true;
    try {
      const { emails, cursor } = await this.again(missed);
      const found = new Set(emails.map(({ id }) => id));
      const known = [...found].some((id) => this.known.has(id) || this.fresh.has(id));
      if (this.rows.length && cursor && found.size && !known) {
        this.cut(0);
        this.fresh.clear();
        Object.assign(this, { cursor, done: false });
        for (const email of emails) this.add(brief(email));
      } else {
        for (const email of emails) this.arrived(email);
        if (missed) this.compare(found, cursor);
      }
      this.failure = null;
    } catch (error) {
      if (!this.rows.length) this.failure = error;
    } finally {
      this.renewing = false;
    }
    this.changed();
    this.refresh();
  }

  // What was asked for while something else was read.
  refresh() {
    const { stale } = this;
    this.stale = false;
    if (stale) this.renew(true);
  }

  // The first page; of `all`, the pages of what is shown.
  async again(all) {
    const last = all && this.rows.at(-1)?.id;
    const emails = [];
    let cursor = null;
    do {
      const page = await this.page(cursor);
      emails.push(...page.emails);
      ({ cursor } = page);
    } while (cursor && last < cursor && emails.length < MOST_AGAIN);
    return { emails, cursor };
  }

  // Rows that were read again and not found do not fit any more; what is beyond is left out.
  compare(found, cursor) {
    const end = cursor ? this.place(cursor) + this.known.has(cursor) : this.rows.length;
    for (const row of this.rows.slice(0, end)) if (!found.has(row.id)) row.past = true;
    if (!cursor || end < this.rows.length) Object.assign(this, { cursor, done: !cursor });
    this.cut(end);
  }

  cut(end) {
    for (const { id } of this.rows.splice(end)) this.known.delete(id);
  }

  // Revisions have begun again: whatever comes now is newer.
  forget() {
    for (const row of [...this.rows, ...this.fresh.values()]) row.revision = 0;
  }

  // An event: the e-mail as it is now. A row that is shown stays, also where the filter no longer
  // lets it through.
  arrived(email) {
    const row = brief(email);
    const shown = this.known.get(row.id);
    const past = !fits(email, this.filters, this.since);
    if (this.lost.has(row.id) || row.revision < (shown ?? this.fresh.get(row.id))?.revision) return;
    if (shown) Object.assign(shown, row, { past });
    else if (past) this.fresh.delete(row.id);
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
    this.lost.add(id);
    this.fresh.delete(id);
    if (!this.known.delete(id)) return;
    this.rows.splice(this.place(id), 1);
  }

  add(row) {
    if (this.lost.has(row.id)) return;
    const shown = this.known.get(row.id);
    if (shown) return row.revision >= shown.revision && Object.assign(shown, row);
    const newer = this.fresh.get(row.id);
    if (newer?.revision > row.revision) row = newer;
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
