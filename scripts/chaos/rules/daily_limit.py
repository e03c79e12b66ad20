"""A client's daily limit holds over all API processes, whatever they die of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date

from babygun.email import wide
from babygun.store import codec
from babygun.store.records import Client
from scripts.chaos.history import KEYS, Revision
from scripts.chaos.rules import Rule, Run, Violation


def _check(run: Run) -> Iterator[Violation]:
    if any("clock" in span.what for span in run.faults):
        return  # e-mails of one day may have another one's date
    limits: dict[str, int | None] = {}
    accepted = Counter[tuple[str, date]]()
    seen = set[bytes]()
    for event in run.history.events(Revision):
        if event.gone:
            continue
        if event.key.startswith(KEYS.clients):
            client = codec.decode_state(event.value, Client)
            limits[client.identity] = client.recipients_per_day
        elif event.key.startswith(KEYS.emails) and event.key not in seen:
            seen.add(event.key)
            email = codec.decode_email(event.value)
            if (limit := limits.get(email.client_id)) is None:
                continue
            day = email.client_id, email.created_at.date()
            accepted[day] += wide.count(email)
            if accepted[day] > limit:
                yield Violation(
                    email.id,
                    event.at,
                    f"{accepted[day]} recipients of the day are accepted of {email.client_id}",
                    f"at most {limit}",
                    event.revision,
                )


RULE = Rule(
    "daily-limit-holds",
    "The accepted recipients of a day are never more than the client's limit.",
    of_run=_check,
)
