// A list of any length: only the rows in sight and near it are in the document. All rows have one
// height, so the scroll bar is right.
import { show } from "./dom.js";

const BEYOND = 12; // rows above and below the window that are there as well

export class Rows {
  // `list`: the <ol>. `row(index)`: the <li> of a row, with a data-key. `nearEnd()`: called when
  // the last rows come into sight.
  constructor(list, { row, nearEnd }) {
    this.list = list;
    this.row = row;
    this.nearEnd = nearEnd;
    this.count = 0;
    this.drawn = 0;
    this.draw = this.draw.bind(this);
    this.soon = () => {
      this.drawn ||= requestAnimationFrame(this.draw);
    };
    addEventListener("scroll", this.soon, { passive: true });
    addEventListener("resize", this.soon);
  }

  close() {
    removeEventListener("scroll", this.soon);
    removeEventListener("resize", this.soon);
    cancelAnimationFrame(this.drawn);
  }

  get height() {
    return parseFloat(getComputedStyle(this.list).getPropertyValue("--row")) || 48;
  }

  get top() {
    return this.list.getBoundingClientRect().top;
  }

  set(count) {
    this.count = count;
    this.soon();
  }

  draw() {
    this.drawn = 0;
    const { height, top, count } = this;
    const first = Math.max(0, Math.min(count, Math.floor(-top / height)) - BEYOND);
    const end = Math.min(count, Math.ceil((innerHeight - top) / height) + BEYOND);
    this.list.style.height = `${count * height}px`;
    this.list.style.paddingTop = `${first * height}px`;
    const made = [];
    for (let index = first; index < end; index += 1) made.push(this.row(index));
    show(this.list, made);
    if (end > count - BEYOND) this.nearEnd?.();
  }

  // How many rows lie above the window's upper edge.
  above() {
    return Math.max(0, Math.floor(-this.top / this.height));
  }

  // Brings a row into sight and draws at once.
  reveal(index) {
    const { height } = this;
    const top = this.top + index * height;
    const margin = 96;
    if (top < margin) scrollBy(0, top - margin);
    else if (top + height > innerHeight - margin) scrollBy(0, top + height - innerHeight + margin);
    this.draw();
  }
}
