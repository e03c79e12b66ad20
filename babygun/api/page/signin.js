// Who are you?
import { session, signIn } from "./api.js";
import { $, h, show } from "./dom.js";

// The form. `entered(person)` is called once somebody has signed in.
function form(entered, ...first) {
  const wrong = h("p", { class: "wrong", role: "alert" });
  const submit = async (event) => {
    event.preventDefault();
    const form = event.currentTarget;
    const button = $("button", form);
    button.setAttribute("aria-busy", "true");
    show(wrong);
    try {
      entered(await signIn(form.client_id.value.trim(), form.client_secret.value));
    } catch (error) {
      show(wrong, error.status ? error.message : `${error.title}. ${error.message}`);
      form.client_secret.select();
    } finally {
      button.removeAttribute("aria-busy");
    }
  };
  return h(
    "form",
    { class: "signin", onsubmit: submit },
    h("h1", { id: "sign-in" }, "Sign in"),
    first,
    h(
      "label",
      null,
      "Client id",
      h("input", {
        name: "client_id",
        autocomplete: "username",
        autocapitalize: "none",
        spellcheck: "false",
        required: true,
      }),
    ),
    h(
      "label",
      null,
      "Secret",
      h("input", {
        name: "client_secret",
        type: "password",
        autocomplete: "current-password",
        required: true,
      }),
    ),
    wrong,
    h("button", null, "Sign in"),
    h(
      "p",
      { class: "soft" },
      h("code", null, "babygun dev"),
      " prints both when it starts. Elsewhere an operator makes a client with ",
      h("code", null, "babygun clients create"),
      ".",
    ),
  );
}

export function open(root, entered) {
  show(root, form(entered));
  $("[name=client_id]", root).focus();
}

// Asks over what is shown, which nobody sees meanwhile: `why` says what for.
export function ask(why, entered) {
  let person = null;
  const enter = (found) => {
    person = found;
    dialog.close();
  };
  // Somebody may sign in by another tab.
  const look = () => !document.hidden && session().then(enter, () => {});
  const dialog = h(
    "dialog",
    {
      class: "gate",
      "aria-labelledby": "sign-in",
      oncancel: (event) => event.preventDefault(),
      onclose() {
        if (!person) return dialog.showModal();
        document.removeEventListener("visibilitychange", look);
        dialog.remove();
        entered(person);
      },
    },
    form(enter, h("p", { role: "status" }, why)),
  );
  document.addEventListener("visibilitychange", look);
  document.body.append(dialog);
  dialog.showModal();
}
