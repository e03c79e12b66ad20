// A list of the API that is read page by page, such as that of the domains.
import { h } from "./dom.js";

const PAGE = 100;

export class Pages {
  // `name`: of the list in an answer. `get(page)`: reads a page; `page`: its limit and cursor.
  // `changed()` is called after each reading.
  constructor(name, get, changed) {
    // `rows`: null until they are read. `trouble`: why the last reading failed.
    Object.assign(this, { name, get, changed, rows: null, cursor: null, trouble: null, turn: 0 });
  }

  // Begins with nothing: another list is wanted.
  begin() {
    Object.assign(this, { rows: null, cursor: null, trouble: null, turn: this.turn + 1 });
  }

  // Reads the first page again, or `further` the next one. What comes of another list, or of a page
  // that is there already, is not shown.
  async read(further = false) {
    const { turn, cursor } = this;
    let page = null;
    let trouble = null;
    try {
      page = await this.get({ limit: PAGE, cursor: further ? cursor : null });
    } catch (error) {
      trouble = error;
    }
    if (turn !== this.turn || (further && cursor !== this.cursor)) return;
    this.trouble = trouble;
    if (page) {
      const found = page[this.name];
      this.rows = further ? [...this.rows, ...found] : found;
      this.cursor = page.cursor;
    }
    this.changed();
  }
}

// Below a list: what was read so far, and a button that reads on if there is more.
export const foot = (pages, said, more) =>
  h(
    "div",
    { class: "listfoot" },
    h("p", { class: "soft" }, said),
    pages.cursor &&
      h("button", { type: "button", class: "quiet", onclick: () => pages.read(true) }, more),
  );
