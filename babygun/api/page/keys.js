// Keys. A view has its own while it is shown. All can be switched off, for people who type by
// accident, or by speech.
import { h } from "./dom.js";
import { go } from "./router.js";

const STORED = "babygun.keys";
const EVERYWHERE = [
  ["?", "show the keys", help],
  ["n", "write a test e-mail", () => go("/page/compose")],
  ["g o", "go to the overview", () => go("/page/overview")],
  ["g e", "go to the e-mails", () => go("/page/emails")],
  ["g s", "go to the retry schedule", () => go("/page/schedule")],
  ["g w", "go to the workers", () => go("/page/workers")],
  ["g i", "go to the sites", () => go("/page/sites")],
  ["g d", "go to the domains", () => go("/page/domains")],
  ["g h", "go to the webhooks", () => go("/page/webhooks")],
  ["g p", "go to the suppressions", () => go("/page/suppressions")],
  ["g u", "go to the warm-ups", () => go("/page/warm-ups")],
  ["g c", "go to the clients", () => go("/page/clients")],
  ["g y", "go to privacy", () => go("/page/privacy")],
  ["g a", "go to the audit", () => go("/page/audit")],
];

let lent = [];
let began = "";
let forget;

// The keys of the view that is shown: [[key, what it does, function], …].
export const lend = (keys) => (lent = keys);

const on = () => {
  try {
    return localStorage.getItem(STORED) !== "off";
  } catch {
    return true;
  }
};

export function listen() {
  addEventListener("keydown", (event) => {
    if (
      event.ctrlKey ||
      event.metaKey ||
      event.altKey ||
      event.defaultPrevented ||
      document.querySelector("dialog[open]")
    )
      return;
    const typing = event.target.closest?.(
      "input:not([type=checkbox]):not([type=radio]), textarea, select",
    );
    if (event.key === "Escape" && typing) return typing.blur();
    if (typing || (!on() && event.key !== "?")) return;
    const typed = began ? `${began} ${event.key}` : event.key;
    began = "";
    clearTimeout(forget);
    const found = [...lent, ...EVERYWHERE].find(([key]) => key === typed);
    if (found) {
      event.preventDefault();
      found[2](event);
    } else if ([...lent, ...EVERYWHERE].some(([key]) => key.startsWith(`${typed} `))) {
      began = typed;
      forget = setTimeout(() => (began = ""), 1500);
    }
  });
}

function help() {
  const list = (keys) =>
    h(
      "dl",
      { class: "keys" },
      keys.map(([key, does]) => [
        h(
          "dt",
          null,
          key.split(" ").map((one) => h("kbd", null, one)),
        ),
        h("dd", null, does),
      ]),
    );
  const dialog = h(
    "dialog",
    { "aria-labelledby": "keys-title", onclose: () => dialog.remove() },
    h("h2", { id: "keys-title" }, "Keys"),
    lent.length > 0 && [h("h3", null, "Here"), list(lent)],
    h("h3", null, "Everywhere"),
    list(EVERYWHERE),
    h(
      "label",
      { class: "check" },
      h("input", {
        type: "checkbox",
        checked: on(),
        onchange: (event) => localStorage.setItem(STORED, event.target.checked ? "on" : "off"),
      }),
      "Keys are on (? always is)",
    ),
    h(
      "div",
      { class: "row end" },
      h("button", { type: "button", autofocus: true, onclick: () => dialog.close() }, "Close"),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
}

export const showKeys = help;
