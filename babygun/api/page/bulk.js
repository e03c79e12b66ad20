// Several e-mails at once: which are chosen, and what is done to them.
import { post } from "./api.js";
import { h } from "./dom.js";
import { count, many } from "./format.js";
import { refusal } from "./listing.js";
import { inWords } from "./search.js";
import { ask, doing, notify } from "./messages.js";

const AT_ONCE = 200; // ids in one call: the bar moves on after each
const MOST = 10_000; // that are chosen at once

const DOES = {
  retry: {
    verb: "Retry",
    done: "tried again",
    text:
      "Those that failed or were cancelled are tried again, for the recipients that have not " +
      "got them. The others stay as they are.",
    danger: false,
  },
  "send-now": {
    verb: "Try now",
    done: "tried now",
    text:
      "Those that wait for a later time or for their next try are tried at once. The others " +
      "stay as they are.",
    danger: false,
  },
  cancel: {
    verb: "Cancel",
    done: "cancelled",
    text:
      "Those that wait are never sent. What is delivered or being sent at this moment can't be " +
      "called back.",
    danger: true,
  },
};

const SHOWN = 3; // replies in a question

// Asks before what was refused for good is tried again; `replies`: what the servers said.
export function askAgain(replies, what) {
  const said = new Map();
  for (const reply of replies) said.set(reply, (said.get(reply) ?? 0) + 1);
  const words = [...said]
    .sort(([, one], [, other]) => other - one)
    .slice(0, SHOWN)
    .map(([reply, times]) => (times > 1 ? `${reply} (${count(times)} times)` : reply));
  return ask(
    `Try again what was refused for good?`,
    `${many(replies.length, what)}: ` +
      `${words.join("; ")}${said.size > SHOWN ? "; and others" : ""}. Providers take those who ` +
      "try dead addresses again for spammers.",
    "Try again",
    { danger: true, keep: "Don't" },
  );
}

export class Selection {
  // `changed()` is called after every change of what is to be shown.
  constructor(listing) {
    // `ids`: each with the refusal of its e-mail. `complete`: all that match are chosen.
    Object.assign(this, {
      listing,
      ids: new Map(),
      complete: false,
      said: "",
      busy: false,
      from: null,
    });
  }

  // `range`: all rows from the one chosen before.
  toggle(index, range = false) {
    const { rows } = this.listing;
    const on = !this.ids.has(rows[index].id);
    const [first, last] =
      range && this.from !== null
        ? [Math.min(index, this.from), Math.max(index, this.from)]
        : [index, index];
    for (const { id, refused } of rows.slice(first, last + 1))
      on ? this.ids.set(id, refused) : this.ids.delete(id);
    this.complete = false;
    this.from = index;
    this.changed();
  }

  clear() {
    this.ids.clear();
    this.complete = false;
    this.from = null;
    this.changed();
  }

  // Chooses all that the filter lets through, however far back.
  async all() {
    this.complete = true;
    await this.during(async () => {
      let cursor = null;
      do {
        const page = await this.listing.page(cursor);
        for (const email of page.emails) this.ids.set(email.id, refusal(email));
        cursor = page.cursor;
        this.say(`Choosing: ${count(this.ids.size)} so far`);
      } while (cursor && this.ids.size < MOST && this.busy);
      this.complete = this.busy;
      if (cursor && this.busy)
        notify(`The newest ${count(MOST)} are chosen; do the rest afterwards.`);
    });
  }

  async act(what) {
    const { verb, text, danger, done } = DOES[what];
    const words = inWords(this.listing.filters);
    const title = `${verb} ${many(this.ids.size, "e-mail")}?`;
    if (
      !(await ask(title, `${words ? `Chosen among: ${words}. ` : ""}${text}`, verb, {
        danger,
        keep: "Don't",
      }))
    )
      return;
    const refused = [...this.ids]
      .map(([id, known]) => this.listing.known.get(id)?.refused ?? known)
      .filter(Boolean);
    if (what === "retry" && refused.length && !(await askAgain(refused, "e-mail"))) return;
    await this.during(async () => {
      const ids = [...this.ids.keys()];
      const outcomes = { ok: 0, left: 0 };
      let reason = "";
      for (let at = 0; at < ids.length && this.busy; at += AT_ONCE) {
        this.say(`${verb}: ${count(at)} of ${count(ids.length)}`);
        const asked = ids.slice(at, at + AT_ONCE);
        const before = new Map(asked.map((id) => [id, this.listing.known.get(id)?.revision]));
        const { results } = await post(`/emails/${what}`, { ids: asked });
        for (const { id, status, detail, email_status: now } of results) {
          const row = this.listing.known.get(id);
          // What has come meanwhile is newer than the answer.
          if (row && now && row.revision === before.get(id))
            row.state = now === "incomplete" ? "waiting" : now;
          outcomes[status === "ok" ? "ok" : "left"] += 1;
          if (status === "ok") this.ids.delete(id);
          else reason ||= detail;
        }
      }
      const { left } = outcomes;
      const kept = `${count(left)} left as ${left === 1 ? "it was" : "they were"}: ${reason}`;
      notify(`${many(outcomes.ok, "e-mail")} ${done}.${left ? ` ${kept}` : ""}`, {
        wrong: left > 0 && outcomes.ok === 0,
      });
      this.clear();
    });
  }

  async during(work) {
    this.busy = true;
    try {
      await work();
    } finally {
      this.busy = false;
      this.say("");
    }
  }

  say(text) {
    this.said = text;
    this.changed();
  }

  // The box that chooses all that match.
  whole() {
    return h("input", {
      type: "checkbox",
      "data-key": "whole",
      "aria-label": "Choose all that match",
      checked: this.complete,
      indeterminate: this.ids.size > 0 && !this.complete,
      disabled: this.busy,
      onclick: () => (this.ids.size ? this.clear() : doing(() => this.all())()),
    });
  }

  // The bar at the foot of the page, there as long as something is chosen.
  bar(mayChange) {
    if (!this.ids.size && !this.busy) return null;
    const button = (label, work, kind) =>
      h("button", { type: "button", class: kind, onclick: doing(work), "data-key": label }, label);
    return h(
      "div",
      { class: "bulk", role: "region", "aria-label": "What is chosen", "data-key": "bulk" },
      h("strong", { "aria-live": "polite" }, this.said || `${count(this.ids.size)} chosen`),
      this.busy
        ? button("Stop", () => (this.busy = false), "quiet small")
        : [
            button("All that match", () => this.all(), "quiet small"),
            mayChange &&
              (this.listing.filters.status === "waiting"
                ? button("Try now…", () => this.act("send-now"), "quiet small")
                : button("Retry…", () => this.act("retry"), "quiet small")),
            mayChange && button("Cancel…", () => this.act("cancel"), "quiet small"),
            button("Clear", () => this.clear(), "quiet small"),
          ],
    );
  }
}
