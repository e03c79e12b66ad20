"""The vocabulary of the process log: each event with its level, its fields, and what it means.

docs/logs.md shows the tables. A test compares them with all calls in the source.
"""

from __future__ import annotations

from typing import NamedTuple


class Event(NamedTuple):
    """``levels``: one, or two separated by a comma. ``fields``: names separated by spaces.

    ``meaning``: what it means to an operator, and what to do.
    """

    name: str
    levels: str
    fields: str
    meaning: str


# Fields that an event has beside its own, if they are known where it is logged.
CONTEXT = {
    "request_id": "the call of the API, as its answer has it in X-Request-Id",
    "client_id": "the API client who called",
    "email_id": "the e-mail",
    "queue": "the queue of the job",
    "worker_id": "the worker that logs",
    "trace_id": "the trace, if traces are on",
    "emails": "e-mails that a batch had accepted",
    "refused": "e-mails that a batch had refused",
}

EVENTS = [
    # API and worker processes
    Event("listening", "info", "url", "The process answers HTTP there."),
    Event(
        "listening on own port",
        "info",
        "url",
        "The API answers there too; other processes do not share this port.",
    ),
    Event(
        "listening without TLS",
        "warning",
        "url hint",
        "Tokens and e-mails cross the network unencrypted. Set `api_cert` and `api_key`, or put a "
        "proxy with TLS on this host.",
    ),
    Event("stopping", "info", "", "The API got a signal. It answers what it has, and ends."),
    Event("stopped", "info", "", "The process ends in order."),
    Event(
        "process hangs",
        "error",
        "part",
        "This part has stood still for longer than `watchdog`. The process ends, and is started "
        "again. Standard error says where it stood: report that.",
    ),
    Event("certificate reloaded", "info", "", "The file has changed; the API uses the new one."),
    Event(
        "certificate not reloaded",
        "warning",
        "error",
        "The file has changed and can't be used. The API goes on with the old certificate. Replace "
        "the file.",
    ),
    Event(
        "checked in",
        "info",
        "process_id",
        "The process is visible in the cluster, with an id. After `lease lost` that is a new one.",
    ),
    Event(
        "not checked in",
        "warning",
        "kind error",
        "etcd refuses or does not answer. It is tried again until it succeeds.",
    ),
    Event(
        "check-in failed",
        "warning",
        "process_id error",
        "etcd did not answer in time. It is tried again; the lease may be lost meanwhile.",
    ),
    Event(
        "lease lost",
        "warning",
        "process_id",
        "etcd was away for longer than `lease_ttl`, or the process stood still. It checks in again "
        "under a new id. Other workers take over the jobs of a worker.",
    ),
    Event(
        "problem found",
        "error, warning",
        "what",
        "A check found something that needs an operator; `what` says it. As an error it makes the "
        "process not ready.",
    ),
    Event("problem solved", "info", "what", "The problem `what` was found earlier, and is gone."),
    Event("health check failed", "error", "", "A fault of Babygun. The check is repeated."),
    Event(
        "worker record unreadable",
        "warning",
        "error",
        "The key of a worker in etcd was written by hand or by another version.",
    ),
    Event(
        "etcd away",
        "warning",
        "seconds",
        "etcd has answered nothing for so long. Until it answers, the API refuses at once what "
        "needs etcd.",
    ),
    Event("etcd answers again", "info", "seconds", "It was away for so long. Calls are served."),
    Event(
        "range not followed",
        "warning",
        "what error",
        "etcd is away. Changes there are not known until it is back; `what` is read again.",
    ),
    Event(
        "range read again",
        "info",
        "what",
        "etcd has compacted the changes that were not read yet. Nothing is missed.",
    ),
    Event(
        "removal goes on later",
        "info",
        "name error",
        "A client or a webhook is deleted, but etcd did not answer while its notices and "
        "suppressions were deleted. A worker deletes the rest.",
    ),
    Event(
        "tracing problem",
        "warning",
        "error left_out",
        "OpenTelemetry can't send traces. E-mails are not affected. `left_out`: further problems "
        "since the last line.",
    ),
    # API
    Event(
        "request",
        "info, debug",
        "method path status ms address",
        "A call of the API. Probes and successful reads are at level debug.",
    ),
    Event("request failed", "error", "method path", "A fault of Babygun; the answer was 500."),
    Event(
        "connections refused",
        "warning",
        "refused setting address",
        "So many since the last such line, the last one from this address. If they are wanted, "
        "raise the setting or run more processes.",
    ),
    Event(
        "few open files",
        "warning",
        "connections wanted",
        "The system lets the process open too few files for the setting `api_connections`; this "
        "many connections are taken. Raise its limit (`ulimit -n`, LimitNOFILE).",
    ),
    Event(
        "proxy header missing",
        "warning",
        "address",
        "A connection from a network of `proxy_protocol` began without a PROXY header, version 2, "
        "and was closed. Have the balancer send it, or take its network out of the setting.",
    ),
    Event("request malformed", "info", "status reason request_id", "It was no HTTP request."),
    Event(
        "connection failed", "error", "status request_id", "A fault in the HTTP library or Babygun."
    ),
    Event("aiohttp failed", "error", "error", "A fault in the HTTP library, after an answer."),
    Event("bulk change", "info", "path ids changed", "A call changed several e-mails."),
    Event("client changed", "info", "client fields", "These fields of an API client are changed."),
    Event("client created", "info", "client scopes", "There is a new API client."),
    Event("client deleted", "info", "client", "An API client was deleted; its tokens are void."),
    Event(
        "client secret changed",
        "info",
        "client tokens_ended",
        "An API client has a new secret. tokens_ended: its tokens are void, too.",
    ),
    Event("domain created", "info", "client domain", "There is a new sending domain."),
    Event(
        "domain keys rotated",
        "info",
        "client domain",
        "A sending domain has new DKIM keys. They sign once DNS has them.",
    ),
    Event(
        "domain shared",
        "info",
        "client clients domain",
        "An operator has said which clients hold a sending domain.",
    ),
    Event("domain deleted", "info", "client domain", "A call deleted a sending domain."),
    Event("webhook created", "info", "client webhook_id", "A client has a new webhook."),
    Event("webhook changed", "info", "client webhook_id", "A call changed a webhook."),
    Event("webhook secret changed", "info", "client webhook_id", "A webhook has a new secret."),
    Event("webhook deleted", "info", "client webhook_id", "A call deleted a webhook."),
    Event(
        "notices replayed",
        "info",
        "client webhook_id count",
        "A call made events ready to be sent again: `count` of them.",
    ),
    Event("unsubscribed", "info", "client list", "A recipient has unsubscribed by its link."),
    Event(
        "not unsubscribed",
        "warning",
        "error",
        "A recipient could not unsubscribe, and was asked to try again. etcd is away, mostly.",
    ),
    Event("signing key created", "info", "", "There is a new key; it signs tokens in a minute."),
    Event("signing key deleted", "info", "kid", "No token of this key can be valid any more."),
    Event(
        "signing key not created",
        "warning",
        "error",
        "etcd is away. There are no tokens until it is back.",
    ),
    Event(
        "emails refused",
        "error",
        "full file reserve",
        "etcd is nearly full: new e-mails get 503. Free space in etcd, or raise its quota. `full`, "
        "`file`, `reserve`: parts of the quota.",
    ),
    Event("emails accepted again", "info", "full file reserve", "etcd has space again."),
    Event(
        "upload lease not revoked",
        "warning",
        "error",
        "Parts of an e-mail that was not accepted stay in etcd until the lease expires.",
    ),
    Event(
        "queue depths not read",
        "warning",
        "error",
        "The numbers of jobs are missing in the metrics and on the page until etcd answers.",
    ),
    Event("overview failed", "error", "", "A fault of Babygun. The page's overview stands still."),
    Event(
        "live stream restarted",
        "warning",
        "reason",
        "Changes were missed, so listeners have to read again.",
    ),
    Event("live stream failed", "error", "", "A fault of Babygun. Listeners have to read again."),
    Event("stream failed", "error", "", "A fault of Babygun. One listener was cut off."),
    Event(
        "export broken off",
        "error",
        "",
        "An export, of suppressions or of a recipient's data, was cut off in the middle, for the "
        "reason in `error`. Repeat it.",
    ),
    Event(
        "suppression added",
        "info",
        "client list added",
        "A client, or one with the scope `admin` for it, put an address on a list. `added` is"
        " false if it was there already.",
    ),
    Event(
        "suppression removed",
        "info",
        "client lists",
        "An address was taken off so many lists of the client.",
    ),
    Event(
        "suppressions imported",
        "info",
        "client rows added refused",
        "A file of suppressions was read, whole or until the call broke off.",
    ),
    Event("listener dropped", "info", "seconds", "A listener did not read for so long."),
    Event("service failed", "error", "service", "A fault of Babygun. The service is restarted."),
    # bounced
    Event("bounces awaited", "info", "port tls", "Bounce messages and complaints are taken there."),
    Event(
        "returned message taken",
        "info",
        "address kind shape email_id reporter outcomes",
        "A message came back and was read. `address`: who brought it. `kind`: bounce, delayed, "
        "relayed, complaint, auto_reply or unknown. `shape`: the form in which it was written. "
        "`outcomes`: one for each recipient that it names (docs/bounces.md).",
    ),
    Event(
        "returned message deferred",
        "warning",
        "address error",
        "etcd is away. The mail server that brought the message was asked to come again.",
    ),
    Event(
        "returned message failed",
        "error",
        "address",
        "A fault of Babygun. The mail server that brought the message was asked to come again.",
    ),
    Event("session failed", "error", "", "A fault of Babygun. The mail server may come again."),
    Event(
        "sessions cut off",
        "warning",
        "sessions",
        "They did not end within `drain_timeout`. Nothing of them was acknowledged; they come "
        "again.",
    ),
    # worker
    Event(
        "slice changed",
        "info",
        "worker_id first end workers",
        "The worker works on these shards, of 256, now.",
    ),
    Event(
        "worker left",
        "info",
        "worker held",
        "Another worker's lease ended. This worker takes over its share of the jobs.",
    ),
    Event(
        "owned jobs not read",
        "warning",
        "worker error",
        "etcd is away. The jobs of a worker that left are found a little later.",
    ),
    Event(
        "draining",
        "info",
        "in_flight at_most_seconds",
        "The worker got a signal. It finishes the jobs in flight, and takes no new ones.",
    ),
    Event(
        "try finished",
        "info",
        "email_id queue worker_id server tls status results ms",
        "One try at a job. `results`: recipients by class of reply. `status`: of the e-mail."
        " `server`: the mail host that took a connection; a relay is the queue. `tls`: the version"
        " of its TLS, or plain.",
    ),
    Event(
        "try crashed",
        "error",
        "email_id queue worker_id",
        "A fault of Babygun. The job stays owned until the lease ends.",
    ),
    Event(
        "delivery crashed",
        "error",
        "email_id queue",
        "A fault of Babygun. It counts as a failed try.",
    ),
    Event("task failed", "error", "task", "A fault of Babygun. The worker ends."),
    Event("duty failed", "warning", "duty error", "etcd is away. The duty is repeated."),
    Event("jobs not read", "warning", "error", "etcd is away. It is tried again at once."),
    Event("jobs due", "debug", "jobs", "Waiting jobs became ready."),
    Event(
        "claim unanswered",
        "warning",
        "error pause_seconds",
        "etcd did not answer a claim. The worker claims nothing for the pause.",
    ),
    Event(
        "job reclaimed",
        "info",
        "email_id queue worker_id previous_worker_id",
        "A job of a worker that died is tried again.",
    ),
    Event(
        "reclaimed too often",
        "error",
        "email_id queue workers",
        "So many workers in a row died with this e-mail. It counts as a failed try. Look at the "
        "e-mail.",
    ),
    Event("job released", "info", "email_id queue worker_id", "The job was given back, unsent."),
    Event(
        "job not released",
        "warning",
        "email_id queue worker_id error",
        "etcd is away. The job is free when the lease ends.",
    ),
    Event(
        "lease not trusted",
        "warning",
        "email_id queue worker_id",
        "The lease was about to end, so the message was not sent.",
    ),
    Event(
        "result dropped",
        "warning",
        "email_id queue worker_id",
        "Another worker had taken the job. The message may have been sent twice.",
    ),
    Event(
        "write waits for etcd",
        "warning",
        "what email_id error",
        "A write is repeated until etcd takes it. Logged once a minute.",
    ),
    Event(
        "return-path key not read",
        "warning",
        "error",
        "etcd is away. E-mails with return paths wait for it.",
    ),
    Event(
        "unsubscribe key not read",
        "warning",
        "error",
        "etcd is away. E-mails with links to unsubscribe wait for it.",
    ),
    Event(
        "DKIM key not read",
        "warning",
        "domain error",
        "etcd is away. E-mails of this sending domain wait for it.",
    ),
    Event(
        "DKIM key unusable",
        "error",
        "domain error",
        "A worker can't sign the e-mails of this sending domain, so it does not send them: they "
        "are tried again later. Give all workers the keys of `secrets_key_file` or `secrets_keys` "
        "that the API processes have.",
    ),
    Event(
        "content missing",
        "error",
        "email_id queue",
        "The content is gone from etcd, so the e-mail fails. Somebody deleted keys.",
    ),
    Event(
        "content unreadable",
        "error",
        "email_id error",
        "The content in etcd was changed, so the e-mail fails.",
    ),
    Event(
        "destination unknown",
        "error",
        "queue email_id",
        "The settings no longer have this queue's destination, so its site is held.",
    ),
    Event(
        "reply needs operator",
        "warning",
        "queue relay user email_id reply_class code text",
        "The mail server refuses for a reason that repeats for each e-mail, such as a wrong login.",
    ),
    Event(
        "site held",
        "error",
        "site sender relay user reply_class code enhanced_code text",
        "The mail server refuses the session, the login or our standing. The site's mail waits and "
        "uses up no try; with `sender`, only that of this sender's domain. Repair what the server "
        "names. A probe ends the hold, or, of a sender, its time.",
    ),
    Event(
        "no mail server answers",
        "error",
        "site text",
        "Connections to many sites failed, and none worked meanwhile: the fault is most likely this"
        " worker's own network. It holds no further site for that, until a server answers.",
    ),
    Event(
        "site held by operator",
        "warning",
        "site until text",
        "An operator holds a site's mail, for the reason in `text`. It goes again at `until`.",
    ),
    Event("site resumed by operator", "info", "site sender", "An operator ended a hold."),
    Event(
        "site limited by operator",
        "info",
        "site until",
        "An operator set limits of a site, which hold until then.",
    ),
    Event("site unlimited by operator", "info", "site", "The site has its own limits again."),
    Event(
        "warm-up begun",
        "info",
        "source began",
        "A source is used for the first time: an address of ours, or a sending domain. Its mail "
        "has a ceiling for each site and day, which grows.",
    ),
    Event(
        "warm-up ceiling reached",
        "info",
        "source site ceiling",
        "This source has sent to so many recipients of the site today. Further mail goes from an "
        "older address, or waits for the next day (UTC).",
    ),
    Event(
        "warm-up not counted",
        "warning",
        "source site error",
        "etcd did not answer. Recipients that this worker had taken of a ceiling and not used are "
        "lost for today.",
    ),
    Event(
        "warm-up skipped by operator",
        "info",
        "source",
        "An operator ended a source's warm-up: it has no ceiling any more.",
    ),
    Event(
        "warm-up restarted by operator",
        "info",
        "source",
        "An operator began a source's warm-up again: today is its first day.",
    ),
    Event(
        "site reports not read",
        "warning",
        "error",
        "etcd did not answer about what waits for each site; the last reports are used.",
    ),
    Event(
        "held sites not read",
        "warning",
        "error",
        "etcd did not answer at the start. Nothing is sent before the holds are known.",
    ),
    Event(
        "site slowed",
        "warning",
        "site connections messages_per_connection rate seconds reply_class code text",
        "A site asked for less. So much is sent to it at most, for this time at the longest.",
    ),
    Event(
        "limits not written",
        "warning",
        "error",
        "etcd did not take a site's lower or higher limits. The next reply does it again.",
    ),
    Event(
        "slot not taken",
        "warning",
        "site error",
        "etcd did not answer, so no further connection to the site is opened for now.",
    ),
    Event(
        "report not written",
        "warning",
        "error",
        "etcd did not take what this worker says of its sites. The next report says it.",
    ),
    Event(
        "slot not given back",
        "warning",
        "site error",
        "etcd did not answer. It is done again a second later.",
    ),
    Event(
        "site probed",
        "info",
        "site reply_class code text",
        "One e-mail probed a held site without success. The site stays held.",
    ),
    Event(
        "hold ended",
        "info",
        "site probes seconds",
        "A probe got through. The site's mail goes out again.",
    ),
    Event(
        "site not held",
        "warning",
        "site error",
        "etcd did not take a hold, or the server's new words. The next try does it again.",
    ),
    Event(
        "site not probed",
        "warning",
        "site error",
        "etcd did not answer, so no probe was made. It is tried again.",
    ),
    Event(
        "hold not ended",
        "warning",
        "site error",
        "A probe got through, but etcd did not answer. The next probe ends the hold.",
    ),
    Event(
        "held e-mails expired",
        "warning",
        "site jobs worker_id",
        "Their own end came while their site was held. They are failed; a retry sends them.",
    ),
    Event(
        "e-mail expired",
        "info",
        "email_id queue worker_id",
        "The e-mail's own end came before it could be sent.",
    ),
    Event(
        "feature switched off",
        "warning",
        "queue server feature reason",
        "The mail server offers TLS, pipelining or CHUNKING and does not manage it. It is not used"
        " for an hour. TLS only where it is opportunistic; that of a mail host for three days, if"
        " it was not only cut off. `queue` is the site.",
    ),
    Event(
        "tls policy violated",
        "warning",
        "queue server policy failure reason",
        "A mail host does not show what its domain's policy demands. `policy`: sts, dane, or"
        " sts_testing: then the mail goes all the same. Otherwise it goes to another host, or"
        " waits. `failure`: by RFC 8460. The domain's owner can repair it. If many domains are"
        " concerned, an attacker may sit between Babygun and the mail host.",
    ),
    Event(
        "TLS results not counted",
        "warning",
        "domain error",
        "A worker's counts of TLS at a domain's mail hosts are not in etcd yet. It tries again.",
    ),
    Event(
        "TLS report sent",
        "info",
        "domain day uri",
        "A domain's TLS report went to a place that its DNS record names: it was taken there, or is"
        " an e-mail of ours by now. `uri` leaves out the mailbox.",
    ),
    Event(
        "TLS report not sent",
        "warning",
        "domain day uri again error",
        "One try failed. `again`: whether there is another one; they go on for a day.",
    ),
    Event(
        "TLS report refused",
        "warning",
        "uri error",
        "So many domains want their reports to go there that it gets no more of them this day."
        " Maybe its owner has not asked for them.",
    ),
    Event(
        "TLS report crashed",
        "error",
        "domain day",
        "A fault of Babygun. The report is tried again, and the others go on.",
    ),
    Event(
        "TLS report waits",
        "debug",
        "domain day error",
        "DNS does not say now whether the domain wants a report. It is asked again.",
    ),
    Event(
        "domain not authenticated",
        "error",
        "domain cause site code enhanced_code text remedy",
        "A mail server says that mail of this sender's domain fails SPF, DKIM or DMARC, so others"
        " will refuse it too. It is logged once an hour for each domain and `cause`. `remedy` names"
        " the record to repair.",
    ),
    Event(
        "domain alarm not written",
        "warning",
        "domain cause error",
        "etcd did not answer. The next such refusal raises the alarm.",
    ),
    Event(
        "sending address refused",
        "error",
        "site server source code text",
        "The mail server takes no mail from our address of IPv6. For a day, mail to this site goes"
        " by IPv4. Give the address a PTR record, and name it in SPF.",
    ),
    Event(
        "too many connections",
        "warning",
        "queue seconds code text",
        "The mail server takes no more connections. Jobs go back, no try is used up, and the queue"
        " pauses in this worker for so many seconds.",
    ),
    Event(
        "out of resources",
        "warning",
        "queue seconds text",
        "This machine can't open a connection: it lacks file descriptors, memory or ports, as"
        " `text` says. Jobs go back, no try is used up, and the queue pauses in this worker for so"
        " many seconds.",
    ),
    # etcd's content
    Event(
        "recipient erased",
        "info",
        "dry_run deleted erased under_way done",
        "A client with the scope `admin` has erased what names a recipient, or counted it. `done`:"
        " all was read. The audit says who.",
    ),
    Event(
        "audit entry not written",
        "error",
        "action by address target details outcome reason",
        "A call deleted something while etcd was full. So it has no audit entry: this is what the "
        "entry would have said.",
    ),
    Event(
        "audit outcome not written",
        "warning",
        "entry error",
        "A change was tried, and etcd did not take how it ended. Its audit entry stays `begun`.",
    ),
    Event("key unreadable", "error", "key error", "A key was written by hand. It is ignored."),
    Event(
        "record unreadable",
        "error",
        "email_id error",
        "An e-mail's record was changed by hand or by another version. It is not shown nor sent.",
    ),
    Event(
        "orphan job removed",
        "error",
        "email_id queue",
        "A job had no e-mail any more. Somebody deleted keys.",
    ),
    Event(
        "record part lost",
        "error",
        "email_id queue",
        "Somebody deleted a part of a wide e-mail. Its recipients count as expired, unnamed.",
    ),
    Event(
        "shed early",
        "warning",
        "kind count of mib until full",
        "Old final e-mails were deleted early, as etcd fills up. `full`: part of the quota.",
    ),
    Event(
        "clock stepped",
        "warning",
        "seconds",
        "This machine's clock made a step, and no member of etcd says its time by HTTP. After some "
        "minutes the step counts.",
    ),
    Event(
        "notices given up",
        "error",
        "webhook_id count of full",
        "etcd was short of room, and more events waited for webhooks than a tenth of its quota "
        "holds. The oldest ones of this webhook have failed: `count` of `of`.",
    ),
    Event("notices kept", "info", "error", "The same, but a full etcd takes no writes."),
    Event(
        "nothing left to shed",
        "error",
        "full",
        "etcd fills up, and only e-mails that wait to be sent are left. Add space, or send less.",
    ),
    Event(
        "making room",
        "warning",
        "file full",
        "etcd takes no more writes, or its file is too near the quota. The worker compacts and "
        "defragments etcd, and lifts the alarm. `file`, `full`: parts of the quota.",
    ),
    Event("room made", "info", "what", "A step of that."),
    Event(
        "room not made",
        "error",
        "error",
        "The worker may not do it, or it did not help. Run `babygun doctor --make-room` as root.",
    ),
    Event("history compacted", "debug", "revision seconds", "etcd dropped old revisions."),
    Event(
        "compaction not permitted",
        "info",
        "",
        "etcd's user has no right to compact. Space is freed when etcd compacts by itself.",
    ),
    # sending domains
    Event(
        "domain verified",
        "info",
        "domain before",
        "DNS has all records that the sending domain needs. `before` is the status that it had.",
    ),
    Event(
        "domain not verified",
        "warning",
        "domain status before error",
        "A record of a sending domain is wrong or missing in DNS; `error` says which one. Mail "
        "goes on, but recipients may refuse it. `babygun domains show` lists all records.",
    ),
    Event(
        "key signs",
        "info",
        "domain selector",
        "A new DKIM key was seen in DNS, and signs the domain's mail from now on.",
    ),
    Event(
        "domain not looked at",
        "warning",
        "domain error",
        "etcd did not answer, or the domain is gone by now. The next look comes within minutes.",
    ),
    # webhooks
    Event(
        "webhook only fails",
        "warning",
        "webhook_id error",
        "Its last requests all failed. It gets one at a time, with pauses. Its events wait.",
    ),
    Event("webhook answers again", "info", "webhook_id", "It gets its events at full speed again."),
    Event(
        "webhook disabled",
        "warning",
        "webhook_id client_id reason",
        "It gets no more events. Its waiting events have failed. They are kept for "
        "`webhook_retention` and can be sent again.",
    ),
    Event(
        "webhook not disabled",
        "warning",
        "webhook_id error",
        "etcd did not answer. The next failure tries again.",
    ),
    Event(
        "webhook not reached",
        "error",
        "webhook_id",
        "A bug: connecting to it crashed. Its events are tried again; please report it.",
    ),
    Event("webhooks not taken", "warning", "error", "etcd did not answer. It is tried again."),
    Event("notices not read", "warning", "webhook_id error", "The same."),
    Event(
        "notices not written",
        "warning",
        "webhook_id error",
        "etcd did not take the results of requests to a webhook. It is tried again.",
    ),
    # TLS policies of recipients' domains
    Event(
        "TLS policy fetched",
        "info",
        "domain mode mx",
        "A recipient's domain has another MTA-STS policy than before, or a first one. `mx` shows "
        "its first five hosts.",
    ),
    Event(
        "TLS policy not fetched",
        "warning",
        "domain error",
        "The domain announces an MTA-STS policy that can't be had. Its mail goes by the policy "
        "before, or without one. It is tried again after 5 minutes.",
    ),
    Event(
        "TLS policy not stored",
        "warning",
        "domain error",
        "etcd did not answer. The policy is fetched or written again when mail goes.",
    ),
    Event(
        "TLS policies not refreshed",
        "warning",
        "error",
        "etcd did not answer. It is tried again within a minute.",
    ),
    # several processes (`--processes`)
    Event("processes up", "info", "processes pids", "All processes work."),
    Event("process ended", "warning", "process pid status pause_seconds", "It is started again."),
    Event("process up again", "info", "process pid", "It works again."),
    Event(
        "process not started", "error", "process error", "The system refuses. It is tried again."
    ),
    Event("process not up", "error", "process seconds", "It did not start in time, and is ended."),
    Event(
        "process failed at start",
        "error",
        "process status",
        "A process ended before all were up, so the others are ended.",
    ),
    Event(
        "last process failed",
        "error",
        "process",
        "It found wrong settings, and no other process runs. Correct the settings.",
    ),
    Event("stopping processes", "info", "signal", "A signal came; all processes are ended."),
    Event("process killed", "error", "process pid seconds", "It did not stop in so many seconds."),
    Event("supervisor gone", "warning", "", "The supervisor was killed, so the process stops."),
    # babygun dev
    Event("mailbox listening", "info", "smtp url", "The mailbox takes mail, and shows it."),
    Event("message caught", "debug", "number recipients size", "The mailbox took a message."),
    Event(
        "message returned",
        "info",
        "kind recipient",
        "The mailbox has sent a bounce message or a complaint for a test address.",
    ),
    Event(
        "message not returned",
        "warning",
        "kind recipient error",
        "The mailbox could not send one: it needs etcd, `babygun bounced`, and our Message-ID.",
    ),
]
