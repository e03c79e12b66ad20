"""The outbox: the notices of what happens are written in the transaction that makes it happen."""

from __future__ import annotations

from collections.abc import Sequence

from babygun.email.email_events import EmailEvent
from babygun.etcd import Op
from babygun.store.store import Store


def notices(
    store: Store, client_id: str, events: Sequence[EmailEvent], most_bytes: int
) -> list[Op]:
    """The writes of a notice for each event and each webhook of the client that wants it.

    They belong into a transaction with ``store.webhooks.compare(client_id)``. If that is refused,
    the client's key is read, given to ``store.webhooks.learn``, and the notices are made again.
    ``most_bytes``: of all writes together; recipients beyond that are left out.
    """
    raise NotImplementedError
