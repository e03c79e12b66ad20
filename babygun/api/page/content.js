// An e-mail's content: text, HTML in a frame that runs and loads nothing, headers, the message as
// it is sent, attachments.
import { text } from "./api.js";
import { h, show } from "./dom.js";
import { bytes, many } from "./format.js";
import { hints } from "./htmlhints.js";
import { copyable } from "./status.js";

const SOURCE = 200 * 1024; // bytes of the message that are shown; all of it can be downloaded

// Kinds of pictures that hold no scripts, and how many bytes of one are shown.
const PICTURE = /^image\/(png|jpeg|gif|webp|bmp)\b/i;
const MOST_PICTURE = 5 * 1024 * 1024;

// The HTML as wide as there is room, as on a phone, or its source.
function preview(email, url) {
  const frame = h("iframe", {
    src: `${url}/html`,
    sandbox: "",
    title: "The e-mail's HTML",
    referrerpolicy: "no-referrer",
    class: "html",
  });
  const text = h("pre", { tabindex: 0, "aria-label": "HTML source", hidden: true }, email.html);
  const ways = ["Wide", "As on a phone", "Its source"].map((word, way) =>
    h(
      "button",
      {
        type: "button",
        "aria-pressed": String(way === 0),
        onclick() {
          ways.forEach((one, at) => one.setAttribute("aria-pressed", String(at === way)));
          frame.classList.toggle("narrow", way === 1);
          frame.hidden = way === 2;
          text.hidden = way !== 2;
        },
      },
      word,
    ),
  );
  return [
    h("div", { class: "states", role: "group", "aria-label": "Shown" }, ways),
    frame,
    text,
    missing(email.html),
    h(
      "p",
      { class: "soft" },
      "Shown as a mail program might: scripts and forms do nothing, links lead nowhere, and " +
        "nothing is loaded from elsewhere.",
    ),
  ];
}

// What mail programs will not show of it.
function missing(html) {
  const found = hints(html);
  return (
    found.length > 0 &&
    h(
      "details",
      { class: "hints" },
      h("summary", null, many(found.length, "hint"), " for mail programs"),
      h(
        "ul",
        null,
        found.map(([what, why]) => h("li", null, h("strong", null, what), `: ${why}.`)),
      ),
    )
  );
}

// The panels of an e-mail that have something to show: [[name, make], …].
function panels(email) {
  const url = `/emails/${encodeURIComponent(email.id)}`;
  return [
    email.body !== null && [
      "Text",
      () => h("pre", { tabindex: 0, "aria-label": "Text" }, email.body || "(empty)"),
    ],
    email.html !== null && ["HTML", () => preview(email, url)],
    [
      "Headers",
      () =>
        email.headers.length
          ? h("pre", { tabindex: 0, "aria-label": "Headers" }, email.headers.join("\n"))
          : h("p", { class: "soft" }, "No headers of its own."),
    ],
    ["Source", () => source(url)],
    email.attachments.length > 0 && [
      `Attachments (${email.attachments.length})`,
      () =>
        h(
          "ul",
          { class: "files" },
          email.attachments.map((file, index) =>
            h(
              "li",
              null,
              h(
                "a",
                { href: `${url}/attachments/${index}`, download: file.filename },
                file.filename,
              ),
              h(
                "span",
                { class: "soft" },
                [
                  file.content_type,
                  bytes(file.size),
                  file.content_id && `cid:${file.content_id}`,
                  file.alternative && "also sent as an invitation",
                ]
                  .filter(Boolean)
                  .join(", "),
              ),
              PICTURE.test(file.content_type) &&
                file.size <= MOST_PICTURE &&
                h("img", {
                  class: "picture",
                  src: `${url}/attachments/${index}`,
                  alt: `The picture ${file.filename}`,
                  loading: "lazy",
                }),
            ),
          ),
        ),
    ],
  ].filter(Boolean);
}

function source(url) {
  const at = h("div", { "aria-busy": "true" }, h("p", { class: "soft" }, "Reading…"));
  text(`${url}/source`, SOURCE).then(
    ({ text: found, cut }) =>
      show(
        at,
        h("pre", { tabindex: 0, "aria-label": "Source" }, found),
        h(
          "p",
          null,
          cut && h("span", { class: "soft" }, `The first ${bytes(SOURCE)}. `),
          h("a", { href: `${url}/source?download`, download: "" }, "Download all of it"),
        ),
      ),
    (error) => show(at, h("p", { class: "wrong" }, error.message)),
  );
  return at;
}

// Tabs over the panels. Built once: updates of the status don't touch what a person reads there.
export function content(email) {
  if (email.content_expired)
    return h(
      "p",
      { class: "soft" },
      "The content is not kept any more. How long it is kept after the end says the setting ",
      h("code", null, "contents_retention"),
      ".",
    );
  const all = panels(email);
  const panel = h("div", { role: "tabpanel", id: "panel", tabindex: -1 });
  const tabs = all.map(([name], index) =>
    h(
      "button",
      {
        type: "button",
        role: "tab",
        id: `tab-${index}`,
        "aria-controls": "panel",
        onclick: () => choose(index),
        onkeydown: (event) => arrow(event, index),
      },
      name,
    ),
  );
  function choose(index) {
    tabs.forEach((tab, at) => {
      tab.setAttribute("aria-selected", String(at === index));
      tab.tabIndex = at === index ? 0 : -1;
    });
    panel.setAttribute("aria-labelledby", `tab-${index}`);
    panel.replaceChildren(...[all[index][1]()].flat().filter(Boolean));
  }
  function arrow(event, index) {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const next = (index + by + all.length) % all.length;
    choose(next);
    tabs[next].focus();
  }
  choose(0);
  return h("div", null, h("div", { role: "tablist", "aria-label": "Content" }, tabs), panel);
}

// The commands that read the same from etcd.
export function inEtcd(id) {
  const prefix = document.querySelector("meta[name=etcd-prefix]").content;
  return copyable(
    `etcdctl get --print-value-only ${prefix}emails/${id}\netcdctl get --prefix ` +
      `--print-value-only ${prefix}log/${id}/\netcdctl get --prefix ${prefix}owners/${id}/`,
    { block: true, label: "Commands for etcd" },
  );
}
