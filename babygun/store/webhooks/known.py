"""The webhooks of all clients, kept in memory.

etcd decides: each transaction compares the revision that it was made by. So what is known here may
be out of date or missing, without harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, NoReturn

from babygun.etcd import Compare, EtcdClient, KeyValue, WatchBatch, absent, follow, modified_at
from babygun.store import codec
from babygun.store.keys import Keys, range_end
from babygun.store.webhooks.records import ClientWebhooks, Webhook


class Known(NamedTuple):
    """The webhooks of one client, and the key's mod revision; 0: the client has none.

    ``webhooks``: None, too, where somebody wrote a value by hand that can't be read.
    """

    webhooks: ClientWebhooks | None
    revision: int


_NONE = Known(None, 0)


class KnownWebhooks:
    """Run :meth:`run` as a task. Without that, it learns of webhooks by the refusals of writes.

    ``on_change``: called with the client, with serial, whose webhooks have changed.
    """

    def __init__(self, client: EtcdClient, keys: Keys) -> None:
        self._client, self._keys = client, keys
        self._known: dict[str, Known] = {}
        self.on_change: list[Callable[[str], None]] = []

    def of(self, client_id: str) -> Known:
        """Of a client, named with its serial."""
        return self._known.get(client_id, _NONE)

    def all(self) -> Iterator[tuple[str, Webhook]]:
        """All webhooks, each with its client."""
        for client_id, known in self._known.items():
            if known.webhooks is not None:
                yield from ((client_id, webhook) for webhook in known.webhooks.webhooks)

    def get(self, webhook_id: str) -> tuple[str, Webhook] | None:
        """A webhook, with its client."""
        return next((found for found in self.all() if found[1].id == webhook_id), None)

    def compare(self, client_id: str, known: Known | None = None) -> Compare:
        """That the client's webhooks are these, by default those that are known."""
        key, revision = (
            self._keys.client_webhooks(client_id),
            (known or self.of(client_id)).revision,
        )
        return modified_at(key, revision) if revision else absent(key)

    async def read_again(self, client_id: str, known: Known) -> bool:
        """After a refusal: whether the client's webhooks are others than ``known``.

        They are read, and known from now on. Raises EtcdError.
        """
        found = await self._client.get(self._keys.client_webhooks(client_id))
        now = known_of(found)
        if self.of(client_id).revision == known.revision:  # the watch has brought nothing newer
            self._learn(client_id, now)
        return now.revision != known.revision

    def _learn(self, client_id: str, known: Known) -> None:
        if known.revision == self.of(client_id).revision:
            return
        if known.revision:
            self._known[client_id] = known
        else:
            del self._known[client_id]
        for callback in self.on_change:
            callback(client_id)

    async def run(self) -> NoReturn:
        """Follows all webhooks until cancelled."""
        prefix = self._keys.webhooks

        async def read() -> int:
            found = await self._client.range(prefix, range_end(prefix))
            now = {self._keys.last_part(kv.key): known_of(kv) for kv in found.kvs}
            for client_id in self._known.keys() | now.keys():
                self._learn(client_id, now.get(client_id, _NONE))
            return found.revision

        async def changed(batch: WatchBatch) -> None:
            for event in batch.events:
                kv, client_id = event.kv, self._keys.last_part(event.kv.key)
                if kv.mod_revision > self.of(client_id).revision:
                    self._learn(client_id, known_of(kv if event.type == "put" else None))

        await follow(
            self._client, prefix, range_end(prefix), what="webhooks", read=read, changed=changed
        )


def known_of(kv: KeyValue | None) -> Known:
    """What was read of a client's key; None: there is none."""
    if kv is None:
        return _NONE
    return Known(codec.state_of(kv, ClientWebhooks), kv.mod_revision)
