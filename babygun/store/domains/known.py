"""The sending domains of all clients, kept in memory: they are few and change rarely."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NoReturn

from babygun.email.addresses import to_ascii_domain
from babygun.email.sending_domains import SendingDomain, name_and_parents
from babygun.etcd import EtcdClient, KeyValue, WatchBatch, follow
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.keys import Keys, range_end


class KnownDomains:
    """Run :meth:`run` as a task. Without that, it knows what :meth:`learn` was given.

    ``ready``: all domains were read, and are followed. ``on_change``: called with the name of each
    domain that has changed or is gone. ``making_key``: keys are made one by one, each by a thread:
    they take a core.
    """

    def __init__(self, client: EtcdClient, keys: Keys) -> None:
        self._client, self._keys = client, keys
        self._domains: dict[str, tuple[SendingDomain, int]] = {}  # each with its mod revision
        self._of_client: dict[str, dict[str, SendingDomain]] = {}
        self._followed = 0  # the revision up to which changes were followed
        self.ready, self.making_key = asyncio.Event(), asyncio.Lock()
        self.on_change: list[Callable[[str], None]] = []

    def get(self, name: str) -> SendingDomain | None:
        found = self._domains.get(name)
        return found[0] if found else None

    def all(self) -> list[SendingDomain]:
        """All domains, by name."""
        return [self._domains[name][0] for name in sorted(self._domains)]

    def of(self, client_id: str) -> list[SendingDomain]:
        """Those that a client holds, by name. ``client_id``: its identity."""
        own = self._of_client.get(client_id, {})
        return [own[name] for name in sorted(own)]

    def covering(self, client_id: str, domain: str) -> SendingDomain | None:
        """The client's domain that covers an address's domain: itself, else its nearest parent.

        ``client_id``: an identity. ``domain``: in ASCII and lower case.
        """
        own = self._of_client.get(client_id)
        if own is None:  # the usual case: it costs one look-up
            return None
        return next((own[name] for name in name_and_parents(domain) if name in own), None)

    def of_sender(self, client_id: str, sender: str) -> SendingDomain | None:
        """The client's domain that covers a sender's address."""
        if client_id not in self._of_client:
            return None
        return self.covering(client_id, to_ascii_domain(sender).rpartition("@")[2].lower())

    def learn(self, domain: SendingDomain, revision: int) -> None:
        """``revision``: at which a domain was written. What is known and newer is kept."""
        known = self._domains.get(domain.name)
        if revision <= max(self._followed, known[1] if known else 0):
            return
        if known:
            self._remove(known[0])
        self._domains[domain.name] = domain, revision
        for client_id in domain.clients:
            self._of_client.setdefault(client_id, {})[domain.name] = domain
        self._changed(domain.name)

    async def read(self, names: Sequence[str]) -> None:
        """Learns some domains now, as etcd has them, where there are such. Raises EtcdError."""
        found = await self._client.get_many([self._keys.domain(name) for name in names])
        for kv in found.values():
            self.take(kv)

    def forget(self, name: str, revision: int) -> None:
        """``revision``: at which a domain was deleted. A domain made later is kept."""
        known = self._domains.get(name)
        if known is not None and known[1] <= revision:
            self._drop(name)

    def take(self, kv: KeyValue) -> None:
        """Learns a domain as it was read."""
        name = self._keys.last_part(kv.key)
        try:
            domain = codec.decode_state(kv.value, SendingDomain)
            if domain.name != name:
                raise ValueError(f"it names {domain.name}")
        except ValueError as error:  # somebody wrote it by hand: nobody holds it
            log_unreadable(kv.key, error)
            self._drop(name)
        else:
            self.learn(domain, kv.mod_revision)

    def _drop(self, name: str) -> None:
        known = self._domains.pop(name, None)
        if known is not None:
            self._remove(known[0])
            self._changed(name)

    def _remove(self, domain: SendingDomain) -> None:
        for client_id in domain.clients:
            own = self._of_client[client_id]
            own.pop(domain.name, None)
            if not own:
                del self._of_client[client_id]

    def _changed(self, name: str) -> None:
        for callback in self.on_change:
            callback(name)

    async def run(self) -> NoReturn:
        """Follows all domains until cancelled."""
        prefix = self._keys.domains

        async def read() -> int:
            before = dict(self._domains)
            found = await self._client.range(prefix, range_end(prefix))
            there = {self._keys.last_part(kv.key): kv.mod_revision for kv in found.kvs}
            deleted = before.keys() - self._domains.keys()  # meanwhile: the watch brings the rest
            for name, known in before.items():
                if known[1] > there.get(name, found.revision) and self._domains.get(name) is known:
                    self._drop(name)  # of data that etcd has no more: it was restored
            self._followed = 0
            for name in self._domains.keys() - there.keys():
                self.forget(name, found.revision)
            for kv in found.kvs:
                if self._keys.last_part(kv.key) not in deleted:
                    self.take(kv)
            self._followed = found.revision
            self.ready.set()
            return found.revision

        async def changed(batch: WatchBatch) -> None:
            for event in batch.events:
                if event.type == "put":
                    self.take(event.kv)
                else:
                    self.forget(self._keys.last_part(event.kv.key), event.kv.mod_revision)
            self._followed = batch.revision  # not before: several can be of one revision

        await follow(
            self._client, prefix, range_end(prefix), what="domains", read=read, changed=changed
        )
