"""A site that asks for less gets less: all workers keep to the limits that hold for a while."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from babygun.store import codec
from babygun.store.records import Lowered
from scripts.chaos.history import KEYS, Linked, Revision
from scripts.chaos.mail_hosts import PROVIDER
from scripts.chaos.rules import LAG, Rule, Run, Violation

SITE = f"mx:{PROVIDER}"
KNOWN = 1.5  # s, until all workers know of them, and have sent what they had begun
_SPARE = 3  # messages: one of each slot, and one whose record comes late


@dataclass
class _Span:
    """``messages`` in ``seconds`` at most, since ``begin``. ``mails``: when each came."""

    begin: float
    messages: int
    seconds: float
    mails: list[float] = field(default_factory=list)


def _check(run: Run) -> Iterator[Violation]:
    for span in _spans(run):
        for first, begin in enumerate(span.mails):
            for last, end in enumerate(span.mails[first:], 1):
                most = (end - begin) * span.messages / span.seconds + _SPARE
                if last > most and not _late(run, span.begin, end):
                    yield Violation(
                        "",
                        end,
                        f"{last} messages within {end - begin:.1f} s, though {SITE} asked for less",
                        f"at most {span.messages} in {span.seconds:g} s since {span.begin:.1f} s",
                    )
                    return


def _spans(run: Run) -> list[_Span]:
    """While the site had other limits than its own, without the time until all know of them."""
    found: list[_Span] = []
    now: _Span | None = None
    for event in run.history.events(Revision, Linked):
        if isinstance(event, Linked):
            is_mail = event.relay == PROVIDER and event.what == "mail"
            if is_mail and now is not None and event.at > now.begin + KNOWN:
                now.mails.append(event.at)
        elif isinstance(event, Revision) and event.key == KEYS.limit(SITE):
            now = None
            if not event.gone:
                rate = codec.decode_state(event.value, Lowered).limits.rate
                if rate is not None:
                    now = _Span(run.history.made(event)[1], rate.messages, rate.seconds)
                    found.append(now)
    return found


def _late(run: Run, begin: float, end: float) -> bool:
    """Whether a worker may not have known of them, or could not keep to them."""
    faults = run.faults_in(begin - LAG, end, touching=frozenset({"etcd", "worker"}))
    return bool(faults) or run.was_busy(begin, end)


RULE = Rule(
    "lowered-limits-hold",
    "While a site has lower limits for a while, no more messages go there than these allow.",
    of_run=_check,
)
