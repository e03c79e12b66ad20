"""Senders that a server refuses at MAIL, while other senders' mail may go."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from babygun.errors import EtcdError
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.emails.claims import Claim
from babygun.store.emails.reading import read_senders
from babygun.store.keys import JobRef

log = get_logger("worker")

_AT_ONCE = 100  # records of one read
_REFUSED = 3600.0  # s, for which a sender is remembered that alone is refused


class RefusedSenders:
    """What this worker knows of them, by site. A refusal at MAIL may be about the sender alone."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._at_mail: dict[str, set[str]] = {}  # by site: those that its hold has met
        self._until: dict[tuple[str, str], float] = {}  # by site and sender

    @property
    def any(self) -> bool:
        """Whether some sender alone is refused."""
        return bool(self._until)

    def met(self, site: str, sender: str) -> None:
        """A refusal of this sender holds the site."""
        self._at_mail.setdefault(site, set()).add(sender)

    def is_refused(self, site: str, claimed: Claim) -> bool:
        """Whether a refusal at MAIL is about the sender, and no reason to hold the site.

        It is if the e-mail was held, and another one has got through since. Otherwise each new
        e-mail of the sender would hold up all others.
        """
        sender = claimed.email.sender
        if claimed.email.queues[claimed.ref.queue].held:
            self._remember(site, [sender])
        return self._until.get((site, sender), 0.0) > time.monotonic()

    def got_through(self, site: str, sender: str, *, probe: bool) -> None:
        """An e-mail of the sender went. If it was refused before, the site has changed."""
        self._until.pop((site, sender), None)
        if probe and sender in self._at_mail.get(site, ()):
            del self._at_mail[site]

    def hold_ended(self, site: str) -> None:
        """What its hold has met holds it no more for a while, unless it gets through."""
        self._remember(site, self._at_mail.pop(site, ()))

    def _remember(self, site: str, senders: Iterable[str]) -> None:
        now = time.monotonic()
        self._until = {each: until for each, until in self._until.items() if until > now}
        self._until |= {(site, sender): now + _REFUSED for sender in senders}

    async def best_probe(self, site: str, jobs: Sequence[JobRef]) -> JobRef | None:
        """The first of these jobs whose sender was not refused yet. None: any will do.

        If one sender alone is refused, only the mail of another can end the hold.
        """
        refused = self._at_mail.get(site)
        for at in range(0, len(jobs) if refused else 0, _AT_ONCE):
            some = jobs[at : at + _AT_ONCE]
            try:
                senders = await read_senders(self._store, [ref.email_id for ref in some])
            except EtcdError as error:
                log.warning("site not probed", site=site, error=str(error))
                return None
            for ref, sender in zip(some, senders, strict=True):
                if sender is not None and sender not in (refused or ()):
                    return ref
        return None
