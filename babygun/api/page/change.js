// Changes an e-mail that waits: its time, its tags, its metadata.
import { call } from "./api.js";
import { h } from "./dom.js";
import { instant, local, metadataOf, metadataText, tagsOf } from "./fields.js";
import { field, fillIn, notify } from "./messages.js";

// Asks for what may be changed, and sends what is not as it was. `changed(email)` gets the answer.
export function askForChange(email, changed) {
  const tags = email.tags.join(", ");
  const metadata = metadataText(email.metadata);
  const at = local(email.send_at);
  const untried = !email.sending?.length && !email.tries;
  let found = null;
  fillIn("Change what waits", {
    fields: [
      // Once a try has begun, the time is that of the next try.
      untried &&
        field(
          "Send at",
          { name: "send_at", type: "datetime-local", value: at },
          "in your time zone; a time in the past means now",
        ),
      field("Tags", { name: "tags", value: tags, autocapitalize: "none", spellcheck: "false" }),
      h(
        "label",
        null,
        h("span", null, "Metadata ", h("span", { class: "soft" }, "name=value, a line each")),
        h("textarea", { name: "metadata", rows: 3, class: "code", value: metadata }),
      ),
    ].filter(Boolean),
    action: "Change",
    async submit(form) {
      const typed = Object.fromEntries(form);
      const body = {};
      if (typed.send_at && typed.send_at !== at) body.send_at = instant(typed.send_at);
      if (typed.tags !== tags) body.tags = tagsOf(typed.tags);
      if (typed.metadata !== metadata) body.metadata = metadataOf(typed.metadata);
      if (!Object.keys(body).length) throw new Error("Nothing is changed yet.");
      body.revision = email.revision; // what others have changed meanwhile stays
      found = await call("PATCH", `/emails/${encodeURIComponent(email.id)}`, { body });
    },
    async done() {
      notify("It is changed.");
      await changed(found);
    },
  });
}
