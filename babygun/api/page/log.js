// An e-mail's log in words: what happened when, and who did it.
import { h } from "./dom.js";
import { many } from "./format.js";
import { client } from "./names.js";
import { badge, replyWords, spoken, when } from "./status.js";

function who(entry) {
  if (entry.worker_id) return ["worker ", h("code", null, entry.worker_id)];
  if (entry.client_id)
    return [
      "client ",
      client(entry.client_id),
      entry.request_id && [", request ", h("code", null, entry.request_id)],
    ];
  return null;
}

function details(entry) {
  return [
    entry.try && `try ${entry.try}`,
    entry.queue && `by ${entry.queue}`,
    entry.previous_worker_id && [
      "from worker ",
      h("code", null, entry.previous_worker_id),
      ", which died",
    ],
    entry.tls && tls(entry.tls),
    entry.reason && spoken(entry.reason),
    entry.not_before && ["next try ", when(entry.not_before)],
    who(entry),
  ].filter(Boolean);
}

const VERIFIED = {
  pkix: "certificate checked",
  dane_ee: "certificate as DANE says",
  dane_ta: "authority as DANE says",
};
const POLICIES = { sts: "MTA-STS", sts_testing: "MTA-STS, testing", dane: "DANE" };

// What a try got of TLS.
const tls = ({ connected, version, cipher, verified, policy, failure }) =>
  h(
    "span",
    { title: cipher },
    [
      version ? `TLS ${version}` : connected && "plain text",
      VERIFIED[verified],
      POLICIES[policy] && `demanded by ${POLICIES[policy]}`,
      failure && `TLS failed: ${failure.replaceAll("-", " ")}`,
    ]
      .filter(Boolean)
      .join(", "),
  );

const reply = (one) => replyWords(one) || one.status;

export function logList(entries) {
  return h(
    "ol",
    { class: "log" },
    entries.map((entry, index) =>
      h(
        "li",
        { "data-key": `${entry.at} ${entry.event} ${entry.queue} ${index}` },
        when(entry.at, "clock"),
        badge(entry.event, entry.late ? `${entry.event}, late` : entry.event),
        h(
          "div",
          null,
          h(
            "p",
            null,
            details(entry).map((one, at) => [at > 0 && " · ", one]),
          ),
          entry.replies.length > 0 && replies(entry.replies),
        ),
      ),
    ),
  );
}

// Equal replies are shown once, with their recipients.
function replies(all) {
  const bySaid = new Map();
  for (const one of all) bySaid.set(reply(one), [...(bySaid.get(reply(one)) ?? []), one.email]);
  return h(
    "ul",
    { class: "replies" },
    [...bySaid].map(([said, whom]) =>
      h(
        "li",
        null,
        h("code", null, said),
        h(
          "span",
          { class: "soft", title: whom.join("\n") },
          ` ${whom.length > 3 ? many(whom.length, "recipient") : whom.join(", ")}`,
        ),
      ),
    ),
  );
}
