"""Domain alarms in etcd: each is a key on its own lease, so it ends by itself."""

from __future__ import annotations

from collections.abc import Sequence

from babygun.email.domain_alarms import KEPT, REPEATED, Cause, DomainAlarm
from babygun.email.reasons import quoted_to_others
from babygun.etcd import KeyValue, Txn, absent, modified_at, present, put
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.followed import Followed
from babygun.store.keys import range_end
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
    before = _decoded(found) if found else None
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
    same = modified_at(key, found.mod_revision) if found else absent(key)
    write = put(key, codec.encode_state(alarm), lease)
    result = await store.client.txn(Txn([same, present(store.keys.domain(domain))], [write]))
    unused = found.lease if found and result.succeeded else 0 if result.succeeded else lease
    if unused:
        await store.client.revoke(unused)
    return alarm if result.succeeded else None


async def list_alarms(store: Store, domain: str) -> list[DomainAlarm]:
    """Those of one domain, by cause. Raises EtcdError."""
    prefix = store.keys.domain_alarms_of(domain)
    found = await store.client.range(prefix, range_end(prefix))
    return [alarm for kv in found.kvs if (alarm := _decoded(kv))]


class KnownAlarm(DomainAlarm, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An alarm as it was read. ``revision``: the key's mod revision."""

    revision: int = 0


class KnownAlarms(Followed[KnownAlarm]):
    """The alarms of all domains, followed. Run :meth:`run` as a task."""

    def __init__(self, store: Store) -> None:
        super().__init__(
            store,
            store.keys.domain_alarms,
            what="domain alarms",
            name_of=store.keys.domain_alarm_name,
            decode=_known,
            changed=lambda name: None,
        )

    def all(self) -> Sequence[DomainAlarm]:
        """By domain and cause."""
        return [self.by_name[name] for name in sorted(self.by_name)]

    def of(self, domain: str) -> Sequence[DomainAlarm]:
        """Those of one domain, by cause."""
        return [alarm for alarm in self.all() if alarm.domain == domain]


def _decoded(kv: KeyValue) -> DomainAlarm | None:
    """None for a key that can't be read: somebody wrote it by hand."""
    try:
        return codec.decode_state(kv.value, DomainAlarm)
    except ValueError as error:
        log_unreadable(kv.key, error)
        return None


def _known(kv: KeyValue) -> KnownAlarm | None:
    alarm = _decoded(kv)
    if alarm is None:
        return None
    fields = {name: getattr(alarm, name) for name in alarm.__struct_fields__}
    return KnownAlarm(**fields, revision=kv.mod_revision)
