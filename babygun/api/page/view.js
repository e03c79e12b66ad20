// Turns what the API answers into elements. Text goes in as text only, never as HTML: an e-mail's content is a stranger's.

export function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text ?? "";
  if (className) made.className = className;
  return made;
}

export function time(text) {
  return text ? new Date(text).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" }) : "";
}

function row(...cells) {
  const made = document.createElement("tr");
  made.append(...cells.map((cell) => (cell instanceof Node ? cell : element("td", cell))));
  return made;
}

export function emailRow(email, open) {
  const [first, ...others] = email.recipients;
  const to = first.email + (others.length ? ` and ${others.length} more` : "");
  const made = row(time(email.created_at), to, email.subject || "(no subject)", element("td", email.status, `status ${email.status}`));
  made.classList.toggle("open", open);
  made.tabIndex = 0;
  return made;
}

function reply(entry) {
  return [entry.status_code, entry.enhanced_code, entry.status_reason].filter(Boolean).join(" ");
}

export function recipientRow(recipient) {
  const address = recipient.kind === "to" ? recipient.email : `${recipient.email} (${recipient.kind})`;
  return row(address, element("td", recipient.status, `status ${recipient.status}`), String(recipient.tries), reply(recipient));
}

export function logLine(line) {
  const made = document.createElement("li");
  const details = [
    line.queue && `by ${line.queue}`,
    line.try && `try ${line.try}`,
    line.worker_id,
    line.not_before && `next try ${time(line.not_before)}`,
    line.reason,
  ].filter(Boolean);
  made.append(element("span", line.event, `status ${line.event}`), ` ${details.join(" · ")} `, element("time", time(line.at)));
  for (const one of line.replies) made.append(element("div", `${one.email}: ${reply(one) || one.status}`));
  return made;
}

export function facts(email) {
  const known = {
    Id: email.id,
    From: email.sender,
    Status: email.status,
    Why: email.status_reason,
    Accepted: time(email.created_at),
    "Next try": time(email.not_before),
    Worker: email.worker_id,
    Tags: email.tags.join(", "),
    Attachments: email.attachments?.map((a) => `${a.filename} (${a.size} bytes)`).join(", "),
  };
  return Object.entries(known).flatMap(([name, value]) => (value ? [element("dt", name), element("dd", value)] : []));
}

export function content(email) {
  if (email.content_expired) return "The content is not kept any more.";
  return email.body || email.html || "(empty)";
}
