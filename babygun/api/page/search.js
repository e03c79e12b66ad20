// The filters of the list of e-mails: as a person types them, in the address, and for the API.
import { STATES, stateOf } from "./status.js";

const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;
const SPANS = { hour: 3600, day: 86_400, week: 604_800 }; // s

export const NAMES = ["status", "recipient", "tag", "span", "after", "before"];
export const SPAN_WORDS = {
  "": "Any time",
  hour: "Last hour",
  day: "Last 24 hours",
  week: "Last 7 days",
  own: "From … to …",
};

// The filters that an address holds; anything else is left out.
export function filtersOf(query) {
  const filters = {};
  for (const name of NAMES) if (query[name]) filters[name] = query[name];
  if (filters.status && !STATES.includes(filters.status)) delete filters.status;
  if (filters.span && !(filters.span in SPANS)) delete filters.span;
  return filters;
}

// What was typed: { id }, or filters for recipient and tag, or { wrong: why not }.
export function understand(typed) {
  const words = typed.trim().split(/\s+/).filter(Boolean);
  const found = { recipient: "", tag: "" };
  for (const word of words) {
    if (ID.test(word)) return { id: word.toLowerCase() };
    if (/^tag:./i.test(word)) found.tag = word.slice(4);
    else if (/^(to:)?[^@\s]*@[^@\s]+$/i.test(word)) found.recipient = word.replace(/^to:/i, "");
    else
      return {
        wrong: `“${word}” is no address, @domain, tag:name or id. Subjects and texts can't be searched.`,
      };
  }
  return found;
}

// The filters as they stand in the search field.
export const typedOf = (filters) =>
  [filters.recipient, filters.tag && `tag:${filters.tag}`].filter(Boolean).join(" ");

// The parameters of GET /emails. A span counts from now.
export function asked(filters, nowMs) {
  const { status, recipient, tag, span, after, before } = filters;
  return {
    status,
    recipient,
    tag,
    after: span ? new Date(nowMs - SPANS[span] * 1000).toISOString() : after,
    before,
  };
}

// The form in which addresses are compared, as babygun/email/addresses.py has it: a domain in
// ASCII,
// all in lower case, a local part without quotation marks.
export function comparable(email) {
  const at = email.lastIndexOf("@");
  const local = email.slice(0, at).normalize("NFC").toLowerCase();
  let domain = email.slice(at + 1).toLowerCase();
  if (/[^\x00-\x7f]/.test(domain) && URL.canParse(`http://${domain}`))
    domain = new URL(`http://${domain}`).hostname;
  return `${local.replace(/^"(.*)"$/, "$1")}@${domain.replace(/\.$/, "")}`;
}

// Whether an e-mail that has just changed belongs to what is shown.
export function fits(email, filters, nowMs) {
  const { status, recipient, tag, after, before } = asked(filters, nowMs);
  const at = Date.parse(email.created_at);
  const wanted = recipient && comparable(recipient);
  return (
    (!status || stateOf(email) === status) &&
    (!tag || email.tags.includes(tag)) &&
    (!after || at >= Date.parse(after)) &&
    (!before || at < Date.parse(before)) &&
    (!wanted ||
      (email.many && !email.recipients.length) || // nobody knows before it is read
      email.recipients.some((one) =>
        wanted.startsWith("@")
          ? comparable(one.email).endsWith(wanted)
          : comparable(one.email) === wanted,
      ))
  );
}

// The filters in words, for a question before something is done to all of it.
export function inWords(filters) {
  const words = [];
  if (filters.status) words.push(`status ${filters.status}`);
  if (filters.recipient) words.push(`recipient ${filters.recipient}`);
  if (filters.tag) words.push(`tag ${filters.tag}`);
  if (filters.span) words.push(SPAN_WORDS[filters.span].toLowerCase());
  if (filters.after) words.push(`from ${new Date(filters.after).toLocaleString()}`);
  if (filters.before) words.push(`before ${new Date(filters.before).toLocaleString()}`);
  return words.join(", ");
}
