"""Raises domain alarms: for each sending domain once an hour, by one of all workers."""

from __future__ import annotations

import asyncio
import time

from babygun.email.addresses import to_ascii_domain
from babygun.email.domain_alarms import REPEATED, Cause, cause_of, remedy
from babygun.email.reasons import quoted_to_others
from babygun.errors import EtcdError
from babygun.routing.sites import Site
from babygun.runtime import metrics
from babygun.runtime.logs import get_logger
from babygun.runtime.tasks import cancel_all
from babygun.smtp.classifier import Classification
from babygun.smtp.replies import Reply
from babygun.store import Store
from babygun.store.domains.alarms import raise_alarm
from babygun.store.emails.claims import Claim

log = get_logger("worker")

# Alarms that a worker remembers. A client may send from very many domains that it does not hold:
# further ones are counted only. They keep back no alarm of a sending domain.
_MOST = 1000


def is_unauthenticated(found: Classification) -> bool:
    """Whether a reply says that the sender's mail is not authenticated."""
    return found.reply_class == "authentication" and found.about == "sender" and found.alarm


class DomainAlarms:
    """Only a sending domain's alarm is kept in etcd: that of another domain is just logged."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._until: dict[tuple[str, Cause], float] = {}  # time.monotonic(): no alarm before
        self._tasks: set[asyncio.Task[None]] = set()

    def refused(self, claim: Claim, site: Site, reply: Reply) -> None:
        """A reply says that the sender's mail is not authenticated."""
        cause, email = cause_of(reply.enhanced, reply.text), claim.email
        metrics.UNAUTHENTICATED[cause].inc()
        held = self._store.domains.of_sender(email.client_id, email.sender)
        domain = held.name if held else to_ascii_domain(email.sender).rpartition("@")[2].lower()
        now, key = time.monotonic(), (domain, cause)
        if self._until.get(key, 0.0) > now:
            return
        self._until = {each: until for each, until in self._until.items() if until > now}
        if held is None and len(self._until) >= _MOST:
            return
        self._until[key] = now + REPEATED.total_seconds()
        if held is None:
            _log(domain, cause, site, reply)
            return
        task = asyncio.create_task(
            self._raise(domain, cause, site, reply), name=f"alarm of {domain}"
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _raise(self, domain: str, cause: Cause, site: Site, reply: Reply) -> None:
        try:
            alarm = await raise_alarm(
                self._store,
                domain,
                cause,
                site=site.name,
                code=reply.code,
                enhanced_code=reply.enhanced,
                text=reply.text,
            )
        except EtcdError as error:  # the next refusal does it
            self._until.pop((domain, cause), None)
            log.warning("domain alarm not written", domain=domain, cause=cause, error=str(error))
        else:
            if alarm is not None:
                _log(domain, cause, site, reply)

    async def close(self) -> None:
        await cancel_all(*self._tasks)


def _log(domain: str, cause: Cause, site: Site, reply: Reply) -> None:
    log.error(
        "domain not authenticated",
        domain=domain,
        cause=cause,
        site=site.name,
        code=reply.code,
        enhanced_code=reply.enhanced,
        text=quoted_to_others(reply.text, 200),
        remedy=remedy(cause, domain),
    )
