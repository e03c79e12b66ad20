// Writes a test e-mail with all that the API takes, and shows the curl command that sends the same.
import { blob, call, get } from "./api.js";
import { curl } from "./curl.js";
import { $, h, show } from "./dom.js";
import { addresses, instant, lines, metadataOf, metadataText, tagsOf } from "./fields.js";
import { bytes } from "./format.js";
import { copy, when } from "./status.js";
import { go, rename } from "./router.js";
import { notify } from "./messages.js";

let kept = null; // the form as it was left

export function open(root, { query, may }) {
  if (query.from) {
    kept = null;
    rename("/page/compose");
  }
  kept ??= form(may);
  show(root, h("h1", null, "Compose"));
  root.append(kept.node);
  if (query.from) kept.fill(query.from);
  else $("[name=to]", kept.node).focus();
  return { keys: [], close: () => {} };
}

export const forget = () => (kept = null);

function form(may) {
  const files = []; // { filename, content_type, content (base64), size }
  let idempotency = { of: "", key: "" };
  const out = h("pre", { tabindex: 0, "aria-label": "curl command" });
  const list = h("ul", { class: "files" });
  const wrong = h("p", { class: "wrong", role: "alert" });
  const field = (name, label, control, hint) =>
    h(
      "label",
      { "data-field": name },
      h("span", null, label, hint && h("span", { class: "soft" }, ` ${hint}`)),
      control,
      h("span", { class: "wrong", id: `wrong-${name}` }),
    );
  const input = (name, given) =>
    h("input", { name, autocapitalize: "none", spellcheck: "false", ...given });
  const area = (name, rows, given) => h("textarea", { name, rows, ...given });
  const chooser = h("input", {
    type: "file",
    multiple: true,
    name: "file",
    onchange: (event) => add(event.target.files).then(() => (chooser.value = "")),
  });

  const node = h(
    "form",
    { class: "writing", "data-still": "1", onsubmit: send, oninput: refresh, novalidate: true },
    h(
      "div",
      { class: "fields" },
      field("sender", "From", input("sender", { value: "Babygun <test@example.com>" })),
      field("to", "To", input("to", {}), "several: with commas between"),
      h("div", { class: "two" }, field("cc", "Cc", input("cc")), field("bcc", "Bcc", input("bcc"))),
      field("subject", "Subject", h("input", { name: "subject", value: "Hello from Babygun" })),
      field("body", "Text", area("body", 5, { value: "It works.\n" })),
      h(
        "details",
        null,
        h("summary", null, "HTML, attachments, time, headers, tags"),
        field("html", "HTML", area("html", 5, { spellcheck: "false", class: "code" })),
        field("attachments", "Attachments", chooser),
        list,
        h(
          "div",
          { class: "two" },
          field(
            "send_at",
            "Send at",
            h("input", { type: "datetime-local", name: "send_at" }),
            "now, where empty",
          ),
          field("reply_to", "Reply to", input("reply_to")),
        ),
        field(
          "headers",
          "Headers",
          area("headers", 2, { class: "code", spellcheck: "false", placeholder: "X-Order: 4711" }),
          "a line each",
        ),
        h(
          "div",
          { class: "two" },
          field("tags", "Tags", input("tags", { placeholder: "welcome, order" })),
          field(
            "metadata",
            "Metadata",
            area("metadata", 2, { class: "code", spellcheck: "false", placeholder: "order=4711" }),
            "name=value, a line each",
          ),
        ),
        h(
          "div",
          { class: "two" },
          field(
            "unsubscribe",
            "List",
            input("list"),
            "adds a link that unsubscribes; * is all mail",
          ),
          may("suppressions:ignore") &&
            h(
              "label",
              { class: "check", "data-field": "ignore_suppressions" },
              h("input", { type: "checkbox", name: "ignore" }),
              h("span", null, "Also to suppressed addresses"),
              h("span", { class: "wrong", id: "wrong-ignore_suppressions" }),
            ),
        ),
      ),
      wrong,
      h(
        "div",
        { class: "row" },
        h("button", null, "Send"),
        h("span", { class: "soft", id: "scheduled" }),
      ),
    ),
    h(
      "section",
      { class: "curl", "aria-labelledby": "curl-title" },
      h(
        "div",
        { class: "head" },
        h("h2", { id: "curl-title" }, "The same with curl"),
        h(
          "button",
          { type: "button", class: "quiet small", onclick: () => copy(out.textContent) },
          "Copy",
        ),
      ),
      out,
    ),
  );

  // The body of POST /emails. Fields that are empty are left out.
  function request() {
    const value = (name) => $(`[name=${name}]`, node).value;
    const several = (name) => {
      const found = addresses(value(name));
      return found.length > 1 ? found : found[0];
    };
    const list = value("list").trim();
    const all = {
      sender: value("sender").trim(),
      to: several("to"),
      cc: several("cc"),
      bcc: several("bcc"),
      reply_to: several("reply_to"),
      subject: value("subject"),
      body: value("body"),
      html: value("html"),
      headers: lines(value("headers")),
      attachments: files.map(({ filename, content_type, content }) => ({
        filename,
        content_type,
        content,
      })),
      send_at: instant(value("send_at")),
      tags: tagsOf(value("tags")),
      metadata: metadataOf(value("metadata")),
      unsubscribe: list === "*" || (list && { list }),
      ignore_suppressions: $("[name=ignore]", node)?.checked || undefined,
    };
    return Object.fromEntries(
      Object.entries(all).filter(
        ([, one]) =>
          one !== undefined && one !== "" && !(typeof one === "object" && !Object.keys(one).length),
      ),
    );
  }

  function refresh() {
    out.textContent = curl(request(), files);
    const at = $("[name=send_at]", node).value;
    show(
      $("#scheduled", node) ?? h("span"),
      at ? ["It is sent ", when(new Date(at).toISOString())] : "",
    );
  }

  async function add(chosen) {
    for (const file of chosen) await put(file, file.name, file.type);
    filesChanged();
  }

  async function put(file, filename, type) {
    const data = await new Promise((resolve, reject) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result);
      reader.onerror = () => reject(reader.error);
      reader.readAsDataURL(file);
    });
    files.push({
      filename,
      content_type: type || "application/octet-stream",
      content: data.slice(data.indexOf(",") + 1),
      size: file.size,
    });
  }

  function filesChanged() {
    const remove = (file) => {
      files.splice(files.indexOf(file), 1);
      filesChanged();
    };
    show(
      list,
      files.map((file) =>
        h(
          "li",
          null,
          h("span", null, file.filename),
          h("input", {
            value: file.content_type,
            spellcheck: "false",
            "aria-label": `Type of ${file.filename}`,
            oninput: (event) => (file.content_type = event.target.value),
          }),
          h("span", { class: "soft" }, bytes(file.size)),
          h(
            "button",
            {
              type: "button",
              class: "quiet small",
              "aria-label": `Remove ${file.filename}`,
              onclick: () => remove(file),
            },
            "Remove",
          ),
        ),
      ),
    );
    refresh();
  }

  // Errors stand below the fields that they are about; the first one gets the focus.
  function blame(errors) {
    for (const said of node.querySelectorAll("[data-field] > .wrong")) show(said);
    for (const control of node.querySelectorAll("[aria-invalid]"))
      control.removeAttribute("aria-invalid");
    const rest = [];
    let first = null;
    for (const { field: where, detail } of errors) {
      const name = where.split(/[.[]/)[0];
      const label = $(`[data-field="${name === "recipients" ? "to" : name}"]`, node);
      if (!label) {
        rest.push(`${where}: ${detail}`);
        continue;
      }
      const control = $("input, textarea", label);
      const file = files[where.match(/^attachments\[(\d+)\]/)?.[1]];
      $(":scope > .wrong", label).append(file ? `${file.filename}: ${detail} ` : `${detail} `);
      control.setAttribute("aria-invalid", "true");
      control.setAttribute("aria-describedby", `wrong-${label.dataset.field}`);
      const details = control.closest("details");
      if (details) details.open = true;
      first ??= control;
    }
    show(wrong, rest.join(" "));
    first?.focus();
  }

  async function send(event) {
    event.preventDefault();
    const button = event.submitter ?? $("button:not([type])", node);
    if (button.hasAttribute("aria-busy")) return;
    button.setAttribute("aria-busy", "true");
    const body = request();
    const text = JSON.stringify(body);
    if (idempotency.of !== text)
      idempotency = {
        of: text,
        key: `page-${crypto.getRandomValues(new Uint32Array(3)).join("-")}`,
      };
    blame([]);
    try {
      const accepted = await call("POST", "/emails", {
        body,
        headers: { "Idempotency-Key": idempotency.key },
      }); // a second press, or a lost answer, sends nothing twice
      idempotency = { of: "", key: "" };
      if (may("emails:read")) go(`/page/emails/${accepted.id}`);
      notify(`Accepted${may("emails:read") ? "" : ` as ${accepted.id}`}.`);
    } catch (error) {
      if (error.slug === "signed-out") return;
      if (error.errors?.length) blame(error.errors);
      else show(wrong, `${error.title}. ${error.message}`);
    } finally {
      button.removeAttribute("aria-busy");
    }
  }

  async function fill(id) {
    try {
      const email = await get(`/emails/${encodeURIComponent(id)}`);
      const of = (kind) => (email[kind] ?? []).join(", ");
      const given = {
        sender: email.sender,
        to: of("to"),
        cc: of("cc"),
        bcc: of("bcc"),
        reply_to: (email.reply_to ?? []).join(", "),
        subject: email.subject,
        body: email.body ?? "",
        html: email.html ?? "",
        headers: (email.headers ?? []).join("\n"),
        tags: email.tags.join(", "),
        metadata: metadataText(email.metadata),
      };
      for (const [name, value] of Object.entries(given)) $(`[name=${name}]`, node).value = value;
      const { attachments = [] } = email;
      $("details", node).open = Boolean(
        given.html ||
        given.headers ||
        given.tags ||
        given.metadata ||
        given.reply_to ||
        attachments.length,
      );
      files.length = 0;
      for (const [at, file] of attachments.entries())
        await put(
          await blob(`/emails/${email.id}/attachments/${at}`),
          file.filename,
          file.content_type,
        );
      filesChanged();
    } catch (error) {
      notify(error.message, { wrong: true });
    }
  }

  refresh();
  return { node, fill };
}
