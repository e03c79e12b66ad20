// E-mails in numbers, newest first, as far back as a person asks: pages of GET /emails/counts.
import { get, path } from "./api.js";

const added = (one, other) => {
  const sum = { ...one };
  for (const [name, count] of Object.entries(other)) sum[name] = (sum[name] ?? 0) + count;
  return sum;
};

const later = (one, other) => (!one || (other && other > one) ? other : one);

// What two pages count together.
function together(one, other) {
  const queues = new Map(one.queues.map((queue) => [queue.queue, queue]));
  for (const queue of other.queues) {
    const known = queues.get(queue.queue);
    const failure = (queue.last_failure?.at ?? "") > (known?.last_failure?.at ?? "");
    queues.set(
      queue.queue,
      known
        ? {
            queue: queue.queue,
            by_status: added(known.by_status, queue.by_status),
            delivered_at: later(known.delivered_at, queue.delivered_at),
            last_failure: failure ? queue.last_failure : known.last_failure,
          }
        : queue,
    );
  }
  return {
    emails: added(one.emails, other.emails),
    queues: [...queues.values()].sort((a, b) => total(b) - total(a)),
    reasons: grouped(
      [...one.reasons, ...other.reasons],
      ({ status, reason }) => `${status} ${reason}`,
    ),
    times: grouped([...one.times, ...other.times], ({ seconds }) => seconds),
    cursor: other.cursor,
  };
}

// Entries that are alike, with their counts added up; the most first.
function grouped(entries, key) {
  const found = new Map();
  for (const entry of entries) {
    const known = found.get(key(entry));
    if (known) known.count += entry.count;
    else found.set(key(entry), { ...entry });
  }
  return [...found.values()].sort((a, b) => b.count - a.count);
}

// The recipients of a queue.
export const total = ({ by_status }) => sum(Object.values(by_status));

const sum = (values) => values.reduce((all, one) => all + one, 0);

// The time within which this part of all deliveries were made, in seconds; null without any.
export function within(times, part) {
  const wanted = sum(times.map(({ count }) => count)) * part;
  let met = 0;
  for (const { seconds, count } of [...times].sort((a, b) => a.seconds - b.seconds)) {
    met += count;
    if (met >= wanted) return seconds;
  }
  return null;
}

export class Numbers {
  // `asked()`: the parameters of GET /emails/counts. `changed()` is called with every page.
  constructor(asked, changed) {
    Object.assign(this, { asked, changed, found: null, failure: null, reads: 0 });
  }

  // E-mails that are counted.
  get counted() {
    return this.found ? sum(Object.values(this.found.emails)) : 0;
  }

  // Counts anew, `pages` of 1,000 e-mails at most.
  read(pages) {
    return this.count(null, pages);
  }

  // Counts so many pages more.
  more(pages) {
    return this.count(this.found, pages);
  }

  async count(before, pages) {
    const mine = (this.reads += 1);
    const asked = this.asked();
    let found = before;
    try {
      for (let page = 0; page < pages && (!found || found.cursor); page += 1) {
        const next = await get(path("/emails/counts", { ...asked, cursor: found?.cursor }));
        if (mine !== this.reads) return; // others are asked for by now
        found = found ? together(found, next) : next;
        if (before || page) this.take(found); // a first page alone is less than what is shown
      }
      this.failure = null;
    } catch (error) {
      this.failure = error;
    }
    this.take(found ?? this.found);
  }

  take(found) {
    this.found = found;
    this.changed();
  }

  stop() {
    this.reads += 1;
  }
}
