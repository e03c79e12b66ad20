// The filters of the list of e-mails: as a person types them, in the address, and for the API.
import { STATES, stateOf } from "./status.js";

const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;
const BEGINNING = /^[0-9a-f]{8}-[0-9a-f-]*$/i; // of an id
// `seconds` from now back.
export const SPANS = {
  hour: { seconds: 3600, words: "the last hour" },
  day: { seconds: 86_400, words: "the last 24 hours" },
  week: { seconds: 604_800, words: "the last 7 days" },
};

const SEVERAL = ["recipient", "tag", "subject"]; // terms that may be there several times
const ONE = ["sender", "id", "client", "reason"];
const NAMES = ["status", ...SEVERAL, ...ONE, "span", "after", "before", "ended"];

// The filters that an address holds; anything else is left out.
export function filtersOf(query) {
  const filters = {};
  for (const name of NAMES) {
    const given = [query[name] ?? []].flat().filter(Boolean);
    if (given.length) filters[name] = SEVERAL.includes(name) ? given : given[0];
  }
  if (filters.status && !STATES.includes(filters.status)) delete filters.status;
  for (const name of ["span", "ended"])
    if (filters[name] && !(filters[name] in SPANS)) delete filters[name];
  for (const name of ["after", "before"])
    if (filters[name] && Number.isNaN(Date.parse(filters[name]))) delete filters[name];
  return filters;
}

const PREFIXES = { to: "recipient", from: "sender" };
for (const name of ["tag", "id", "client", "reason"]) PREFIXES[name] = name;
const ADDRESS = /^[^@\s]*@[^@\s]+$/;

// What was typed: { open: id } of one e-mail, or filters, all of which count, or { wrong: why }.
export function understand(typed) {
  const found = Object.fromEntries([...SEVERAL, ...ONE].map((name) => [name, []]));
  for (const word of typed.match(/(?:\w+:)?"[^"]*"|\S+/g) ?? []) {
    if (ID.test(word)) return { open: word.toLowerCase() };
    const [, prefix, rest] = /^(\w+):(.+)$/s.exec(word) ?? [];
    const known = PREFIXES[prefix?.toLowerCase()];
    const text = (known ? rest : word).replace(/^"(.*)"$/s, "$1");
    const name =
      known ?? (ADDRESS.test(text) ? "recipient" : BEGINNING.test(text) ? "id" : "subject");
    if (["recipient", "sender"].includes(name) && !ADDRESS.test(text))
      return { wrong: `“${text}” is no address, and no @domain.` };
    if (ONE.includes(name) && found[name].length)
      return { wrong: `“${word}” is one too many: “${found[name][0]}” is there already.` };
    if (text && !found[name].includes(text)) found[name].push(text);
  }
  return found;
}

const quoted = (text) => (/[\s"]/.test(text) ? `"${text.replaceAll('"', "")}"` : text);

// The filters as they stand in the search field.
export const typedOf = ({ recipient = [], sender, tag = [], id, client, reason, subject = [] }) =>
  [
    ...recipient,
    sender && `from:${sender}`,
    ...tag.map((one) => `tag:${quoted(one)}`),
    id && `id:${id}`,
    client && `client:${client}`,
    reason && `reason:${reason}`,
    ...subject.map((one) =>
      /^\w+:|^[\da-f]{8}-|@/i.test(one) && !/[\s"]/.test(one) ? `"${one}"` : quoted(one),
    ),
  ]
    .filter(Boolean)
    .join(" ");

// The parameters of GET /emails. A span counts from now.
export function asked({ span, ended, ...filters }, nowMs) {
  const back = (name) => new Date(nowMs - SPANS[name].seconds * 1000).toISOString();
  return {
    ...filters,
    after: span ? back(span) : filters.after,
    ended_after: ended && back(ended),
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

const NOT_REACHED = new Set(["bounced", "expired", "deferred", "suppressed"]);

// Whether an e-mail that has just changed belongs to what is shown. Nobody knows the recipients of
// a wide one before it is read.
export function fits(email, filters, nowMs) {
  const { status, recipient = [], tag = [], subject = [], ...one } = asked(filters, nowMs);
  const at = Date.parse(email.created_at);
  const found = email.subject.toLowerCase();
  return (
    (!status || stateOf(email) === status) &&
    tag.every((wanted) => email.tags.includes(wanted)) &&
    subject.every((wanted) => found.includes(wanted.toLowerCase())) &&
    (!one.after || at >= Date.parse(one.after)) &&
    (!one.before || at < Date.parse(one.before)) &&
    (!one.ended_after ||
      (email.status !== "incomplete" &&
        Date.parse(email.updated_at) >= Date.parse(one.ended_after))) &&
    (!one.reason ||
      email.many ||
      email.recipients.some(
        ({ status, reply_class }) => NOT_REACHED.has(status) && reply_class === one.reason,
      )) &&
    (!one.sender || belongs(email.sender, one.sender)) &&
    (!one.client || email.client_id === one.client) &&
    (!one.id || email.id.startsWith(one.id.toLowerCase())) &&
    ((email.many && !email.recipients.length) ||
      recipient.every((wanted) => email.recipients.some((each) => belongs(each.email, wanted))))
  );
}

// Whether an address is the one that is wanted, or of the domain.
function belongs(email, wanted) {
  const found = comparable(email);
  const asked = comparable(wanted);
  return asked.startsWith("@") ? found.endsWith(asked) : found === asked;
}

// The filters in words, for a question before something is done to all of it.
export function inWords(filters) {
  const words = [];
  if (filters.status) words.push(`status ${filters.status}`);
  for (const name of [...SEVERAL, ...ONE])
    if (filters[name]) words.push(`${name} ${[filters[name]].flat().join(" and ")}`);
  if (filters.span) words.push(`accepted in ${SPANS[filters.span].words}`);
  if (filters.ended) words.push(`ended in ${SPANS[filters.ended].words}`);
  if (filters.after) words.push(`from ${new Date(filters.after).toLocaleString()}`);
  if (filters.before) words.push(`before ${new Date(filters.before).toLocaleString()}`);
  return words.join(", ");
}
