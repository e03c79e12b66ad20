// Who are you?
import { signIn } from "./api.js";
import { $, h, show } from "./dom.js";

export function open(root, entered) {
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
  show(
    root,
    h(
      "form",
      { class: "signin", onsubmit: submit },
      h("h1", null, "Sign in"),
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
        h("code", null, "babygun client create"),
        ".",
      ),
    ),
  );
  $("[name=client_id]", root).focus();
}
