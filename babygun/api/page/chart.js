// A chart of rates, with the value under the pointer.
import { $, h, s, show } from "./dom.js";
import { clockTime, rate } from "./format.js";

const WIDTH = 720;
const HEIGHT = 160;

// The least round number that all values fit below.
export function roundAbove(most) {
  if (most <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map((step) => step * power).find((round) => round >= most);
}

// `history`: { start, step, <name>: [per second, null where nothing is known] }. The line has a gap
// where nothing is known.
function line(values, top) {
  let path = "";
  let pen = false;
  values.forEach((value, index) => {
    if (value === null || value === undefined) pen = false;
    else {
      const x = (index / (values.length - 1)) * WIDTH;
      const y = HEIGHT - (Math.min(value, top) / top) * HEIGHT;
      path += `${pen ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
      pen = true;
    }
  });
  return path;
}

// `series`: [[name, label, class], …].
export function chart(history, series) {
  const top = roundAbove(
    Math.max(0, ...series.flatMap(([name]) => history[name].filter((value) => value !== null))),
  );
  const start = Date.parse(history.start);
  const points = history[series[0][0]].length;
  const figure = h(
    "div",
    {
      class: "chart",
      role: "img",
      "aria-label":
        `Rates since ${clockTime(start).slice(0, 5)}; the scale ends at ${rate(top)} per ` +
        "second.",
      onpointermove: (event) => point(event, history, series),
      onpointerleave: () => ($(".cross").hidden = true),
    },
    h(
      "div",
      { class: "scale", "aria-hidden": "true" },
      h("span", null, rate(top)),
      h("span", null, rate(top / 2)),
      h("span", null, "0"),
    ),
    h(
      "div",
      { class: "plot" },
      s(
        "svg",
        { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
        [0, 0.5, 1].map((at) => s("path", { class: "grid", d: `M0 ${at * HEIGHT}H${WIDTH}` })),
        series.map(([name, , kind]) =>
          s("path", { class: `series ${kind}`, d: line(history[name], top) }),
        ),
      ),
      h("div", { class: "cross", hidden: true, "data-still": "1" }),
    ),
    h(
      "div",
      { class: "hours", "aria-hidden": "true" },
      [0, 0.25, 0.5, 0.75].map((at) =>
        h(
          "span",
          null,
          clockTime(start + at * points * history.step * 1000).slice(0, points > 200 ? 5 : 8),
        ),
      ),
      h("span", null, "now"),
    ),
  );
  return figure;
}

function point(event, history, series) {
  const plot = event.currentTarget.querySelector(".plot");
  const cross = $(".cross", plot);
  const { left, width } = plot.getBoundingClientRect();
  const values = history[series[0][0]].length;
  const index = Math.round(((event.clientX - left) / width) * (values - 1));
  cross.hidden = index < 0 || index >= values;
  if (cross.hidden) return;
  const at = (index / (values - 1)) * 100;
  cross.style.left = `${at}%`;
  cross.classList.toggle("turned", at > 60);
  show(
    cross,
    h(
      "div",
      null,
      h(
        "strong",
        null,
        clockTime(Date.parse(history.start) + index * history.step * 1000).slice(0, 8),
      ),
      series.map(([name, label, kind]) =>
        h(
          "span",
          { class: kind },
          `${label} ${history[name][index] === null ? "–" : rate(history[name][index])}`,
        ),
      ),
    ),
  );
}
