// Short messages at the foot of the page, and questions before something is done.
import { $, h, rescueFocus, show } from "./dom.js";

let gone;

// Shows a message, which goes by itself. `wrong`: it stays until it is closed.
export function notify(text, { wrong = false } = {}) {
  clearTimeout(gone);
  const close = () => show($("#messages"));
  show(
    $("#messages"),
    h(
      "div",
      { class: wrong ? "note wrong" : "note" },
      h("span", null, text),
      h("button", { type: "button", class: "quiet small", onclick: close }, "Close"),
    ),
  );
  if (!wrong) gone = setTimeout(close, 6000);
}

// Runs what a person asked for; says so if it fails.
export const doing = (work) => async (event) => {
  event?.preventDefault?.();
  const button =
    event?.submitter ??
    (event?.currentTarget instanceof HTMLButtonElement ? event.currentTarget : null);
  if (button) button.setAttribute("aria-busy", "true");
  try {
    await work(event);
  } catch (error) {
    if (error.slug !== "signed-out") notify(error.message, { wrong: true });
  } finally {
    button?.removeAttribute("aria-busy");
  }
};

// Asks; resolves to whether `action` was chosen. The focus goes to the safe answer, and afterwards
// back to where it was.
export function ask(title, text, action, { danger = false, keep = "Leave it" } = {}) {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog",
      {
        "aria-labelledby": "asked",
        onclose() {
          dialog.remove();
          rescueFocus();
          resolve(dialog.returnValue === "yes");
        },
      },
      h("h2", { id: "asked" }, title),
      h("p", null, text),
      h(
        "div",
        { class: "row end" },
        h(
          "button",
          { type: "button", class: "quiet", autofocus: true, onclick: () => dialog.close("no") },
          keep,
        ),
        h(
          "button",
          { type: "button", class: danger ? "danger" : null, onclick: () => dialog.close("yes") },
          action,
        ),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}

// A field of a form: `hint` stands beside its label.
export const field = (label, given, hint) =>
  h(
    "label",
    null,
    h("span", null, label, hint && h("span", { class: "soft" }, ` ${hint}`)),
    h("input", given),
  );

// Asks for more than yes or no, by a form in a dialog. `submit` gets the FormData; what it throws
// stands in the dialog, which stays open. `done` runs once the dialog is closed.
export function fillIn(title, { text, fields, action, submit, done }) {
  const wrong = h("p", { class: "wrong", role: "alert" });
  const send = async () => {
    try {
      await submit(new FormData(form));
    } catch (error) {
      return show(wrong, error.message);
    }
    dialog.close();
    await done();
  };
  const form = h(
    "form",
    { onsubmit: doing(send) },
    h("h2", { id: "asked" }, title),
    text && h("p", null, text),
    fields,
    wrong,
    h(
      "div",
      { class: "row end" },
      h("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Close"),
      h("button", null, action),
    ),
  );
  const onclose = () => {
    dialog.remove();
    rescueFocus();
  };
  const dialog = h("dialog", { "aria-labelledby": "asked", onclose }, form);
  document.body.append(dialog);
  dialog.showModal();
}
