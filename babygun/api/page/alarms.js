// Alarms of sending domains: mail servers say that their mail fails SPF, DKIM or DMARC.
// The servers' words are hostile input, shown as text only.
import { h } from "./dom.js";
import { quoted } from "./held.js";
import { alerts, spelled, when } from "./status.js";

// Records for DNS by which an alarm may end, by its cause.
const RECORDS = {
  spf: ["spf", "return_path", "return_path_spf"],
  dkim: ["dkim"],
  dmarc: ["dmarc"],
  alignment: ["dkim", "return_path"],
  unauthenticated: ["spf", "dkim", "return_path", "return_path_spf"],
};

// Whether an alarm is about a record with this purpose.
export const concerns = (alarms, purpose) =>
  alarms.some(({ cause }) => RECORDS[cause]?.includes(purpose.split(":")[0]));

// `name(domain)`: what stands before each; without it they are all of one domain.
export const alarmList = (alarms, name) =>
  alerts(
    "alarms",
    alarms.map((one) =>
      h(
        "li",
        { class: "wrong", "data-key": `${one.domain} ${one.cause} ${one.site}` },
        name && [name(one.domain), ": "],
        spelled(one.sentence),
        " ",
        quoted(one),
        h("span", { class: "soft" }, " (", one.site, ", since ", when(one.since)),
        one.at !== one.since && h("span", { class: "soft" }, ", last ", when(one.at)),
        h("span", { class: "soft" }, ")"),
      ),
    ),
  );
