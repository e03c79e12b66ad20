"""Domain alarms in etcd: each is a key on its own lease, so it ends by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from babygun.email.domain_alarms import KEPT, REPEATED, Cause, DomainAlarm
from babygun.email.reasons import quoted_to_others
from babygun.etcd import KeyValue, Txn, present, put, unchanged
from babygun.store import codec
from babygun.store.followed import Followed, read_states
from babygun.store.store import Store

_TEXT_BYTES = 512


async def raise_alarm(
    store: Store,
    domain: str,
    cause: Cause,
    *,
    site: str,
    code: int | None,
    enhanced_code: str | None,
    text: str,
) -> DomainAlarm | None:
    """Writes a refusal. None: one was written within REPEATED, or there is no such domain.

    Raises EtcdError.
    """
    key, now = store.keys.domain_alarm(domain, cause), await store.clock.now()
    found = await store.client.get(key)
    before = codec.state_of(found, DomainAlarm) if found else None
    if before is not None and now < before.at + REPEATED:
        return None
    alarm = DomainAlarm(
        domain=domain,
        cause=cause,
        site=site,
        code=code,
        enhanced_code=enhanced_code,
        text=quoted_to_others(text, _TEXT_BYTES) or "",
        since=before.since if before else now,
        at=now,
        until=now + KEPT,
    )
    lease = await store.client.grant(round(KEPT.total_seconds()))
    same = unchanged(key, found)
    write = put(key, codec.encode_state(alarm), lease)
    result = await store.client.txn(Txn([same, present(store.keys.domain(domain))], [write]))
    unused = found.lease if found and result.succeeded else 0 if result.succeeded else lease
    if unused:
        await store.client.revoke(unused)
    return alarm if result.succeeded else None


async def list_alarms(store: Store, domain: str) -> list[DomainAlarm]:
    """Those of one domain, by cause. Raises EtcdError."""
    kept = await read_states(store, store.keys.domain_alarms_of(domain), _decoded)
    return [one.alarm for one in kept]


class KeptAlarm(NamedTuple):
    """An alarm as it was read. ``revision``: the key's mod revision."""

    alarm: DomainAlarm
    revision: int

    @property
    def name(self) -> str:
        return self.alarm.name


class KnownAlarms(Followed[KeptAlarm]):
    """The alarms of all domains, followed. Run :meth:`run` as a task."""

    def __init__(self, store: Store) -> None:
        super().__init__(
            store,
            store.keys.domain_alarms,
            what="domain alarms",
            name_of=store.keys.domain_alarm_name,
            decode=_decoded,
        )

    def all(self) -> Sequence[DomainAlarm]:
        """By domain and cause."""
        return [self.by_name[name].alarm for name in sorted(self.by_name)]

    def of(self, domain: str) -> Sequence[DomainAlarm]:
        """Those of one domain, by cause."""
        return [alarm for alarm in self.all() if alarm.domain == domain]


def _decoded(kv: KeyValue) -> KeptAlarm | None:
    alarm = codec.state_of(kv, DomainAlarm)
    return KeptAlarm(alarm, kv.mod_revision) if alarm else None
