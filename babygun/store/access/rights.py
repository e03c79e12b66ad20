"""What each role of process needs in etcd: one table.

etcd's roles are made from it, and a process's user is checked against it. ``RIGHTS[role]`` holds
``{kind of keys: "read" | "readwrite"}``; a kind is the name that :class:`babygun.store.keys.Keys`
gives to it. :func:`grants` turns that into the ranges of one installation::

    grants(Keys("/babygun/"), "worker") -> [Grant(b"/babygun/emails/", b"/babygun/emails0", ...), …]

``etcdctl role grant-permission ROLE readwrite START END`` grants one of them. An empty ``end``
means one key. "read" covers gets, ranges, watches and the compares of a transaction. "readwrite"
covers that, puts, deletes, and the end of a lease that such keys hang on. Leases, the status and
the alarms need no right.

The role ``bounced`` is for the process that anybody on the Internet may connect to. It neither sees
jobs nor secrets, and can't accept e-mails.

An inspector reads what happens to mail. It reads no content, and nothing that gives access to the
API. Idempotency records hold a hash of each request: who knows the rest of an e-mail could try
which code of six digits stands in it. So it does not read those either, nor a webhook's secret, nor
a sealed DKIM key.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from babygun.store.keys import Keys, range_end

Role = Literal["api", "worker", "bounced", "inspector"]
Right = Literal["read", "readwrite"]


class Grant(NamedTuple):
    """A right to the keys in [start, end); ``end`` empty: to the key ``start`` alone."""

    start: bytes
    end: bytes
    right: Right


RIGHTS: dict[Role, dict[str, Right]] = {
    "api": {
        "emails": "readwrite",
        "jobs": "readwrite",
        "waiting": "readwrite",
        "owners": "read",  # what is being sent can't be cancelled
        "contents": "readwrite",
        "logs": "readwrite",
        "parts": "readwrite",
        "failures": "readwrite",
        "workers": "read",
        "apis": "readwrite",
        "clients": "readwrite",  # a client with the scope admin makes and deletes them
        "client_usages": "readwrite",
        "signing_keys": "readwrite",  # API processes make them, and delete old ones
        "unsubscribe_keys": "readwrite",  # … and the first e-mail that needs one
        "revocations": "readwrite",
        "idempotencies": "readwrite",
        "retentions": "readwrite",  # a cancelled e-mail ends here
        "holds": "readwrite",  # an operator holds and resumes a site by the API
        "slots": "read",
        "limits": "readwrite",  # … and limits it
        "reports": "read",
        "webhooks": "readwrite",
        "webhook_secrets": "readwrite",
        "webhook_healths": "readwrite",
        "notices": "readwrite",  # written with what an application asks for
        "due_notices": "readwrite",
        "sent_notices": "readwrite",
        "notice_owners": "readwrite",  # deleting a webhook ends its ownership
        "removals": "readwrite",
        "suppressions": "readwrite",
        "domains": "readwrite",
        "dkim_keys": "readwrite",
        "domain_alarms": "readwrite",  # they go with their domain
        "tls_policies": "read",
        "tls_reports": "read",
        "warm_ups": "readwrite",  # an operator skips one, or begins it again
        "audit": "readwrite",
        "audit_runs": "readwrite",
        "bounced_runs": "readwrite",
        "cluster": "readwrite",
    },
    "worker": {
        "emails": "readwrite",
        "jobs": "readwrite",
        "waiting": "readwrite",
        "owners": "readwrite",
        "contents": "readwrite",
        "logs": "readwrite",
        "parts": "readwrite",
        "failures": "readwrite",
        "workers": "readwrite",
        "retentions": "readwrite",
        "holds": "readwrite",
        "slots": "readwrite",
        "limits": "readwrite",
        "reports": "readwrite",
        "webhooks": "readwrite",
        "webhook_secrets": "readwrite",
        "webhook_healths": "readwrite",
        "notices": "readwrite",
        "due_notices": "readwrite",
        "sent_notices": "readwrite",
        "notice_owners": "readwrite",
        "removals": "readwrite",
        "suppressions": "readwrite",  # a hard bounce writes one
        "unsubscribe_keys": "readwrite",  # a key that is gone when a link is made
        "domains": "readwrite",  # the daily look into DNS, and what is left of a deleted client
        "dkim_keys": "readwrite",  # … which delete keys; all workers sign with them
        "domain_alarms": "readwrite",
        "tls_policies": "readwrite",
        "tls_reports": "readwrite",
        "warm_ups": "readwrite",
        "return_path_keys": "readwrite",  # the first worker that needs one makes it
        "late_events": "readwrite",
        "audit_runs": "readwrite",  # its settings; who changed what it can neither see nor change
        "cluster": "readwrite",
    },
    "bounced": {
        "emails": "readwrite",  # a recipient that bounced after its delivery
        "contents": "readwrite",
        "logs": "readwrite",
        "parts": "readwrite",
        "failures": "readwrite",
        "retentions": "readwrite",
        "notices": "readwrite",
        "suppressions": "readwrite",
        "owners": "read",
        "webhooks": "read",
        "clients": "read",  # whose e-mail it was, if its record is gone
        "return_path_keys": "read",
        "late_events": "readwrite",
        "bounced_runs": "readwrite",
        "cluster": "readwrite",
    },
    "inspector": {
        "emails": "read",
        "jobs": "read",
        "waiting": "read",
        "owners": "read",
        "logs": "read",
        "parts": "read",
        "failures": "read",
        "workers": "read",
        "apis": "read",
        "client_usages": "read",
        "revocations": "read",
        "retentions": "read",
        "holds": "read",
        "slots": "read",
        "limits": "read",
        "reports": "read",
        "webhooks": "read",
        "webhook_healths": "read",
        "notices": "read",
        "due_notices": "read",
        "sent_notices": "read",
        "notice_owners": "read",
        "late_events": "read",
        "removals": "read",
        "suppressions": "read",
        "domains": "read",
        "domain_alarms": "read",
        "tls_policies": "read",
        "tls_reports": "read",
        "warm_ups": "read",
        "audit": "read",
        "audit_runs": "read",
        "bounced_runs": "read",
        "cluster": "read",
    },
}


def grants(keys: Keys, role: Role) -> list[Grant]:
    """The ranges that a role needs, by key."""
    found = []
    for kind, right in RIGHTS[role].items():
        start: bytes = getattr(keys, kind)
        found.append(Grant(start, range_end(start) if start.endswith(b"/") else b"", right))
    return sorted(found)
