"""The outbox: the notices of what happens are written in the transaction that makes it happen.

Each such transaction compares the revision of the client's webhooks, by which its notices were
made. So what happens after a webhook was made has its notices. What happened before has none. A
client without a webhook costs that compare only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Raw

from babygun.email.email_events import EmailEvent, bare, events_of, shortened
from babygun.email.model import as_json
from babygun.email.transition import Transition
from babygun.errors import EtcdUnavailable, OutcomeUnknown
from babygun.etcd import Compare, Op, Txn, TxnResult, nesting, put
from babygun.store import codec
from babygun.store.keys import NoticeRef
from babygun.store.store import Store
from babygun.store.webhooks.records import Notice, Webhook

# Of all writes of a transaction; etcd takes 1.5 MiB a request.
_MOST_BYTES = 1_480_000
# What a notice takes beside its event: key and frames.
_FRAME_BYTES = 120


async def submit(
    store: Store,
    transitions: Sequence[Transition],
    compares: Sequence[Compare],
    ops: Sequence[Op],
    otherwise: Sequence[Op] = (),
    *,
    least_nested: int = 0,
    deadline: float | None = None,
) -> TxnResult:
    """Does the transaction of these transitions, all of one client, with their notices.

    See :func:`submit_events`.
    """
    return await submit_events(
        store,
        transitions[0].email.client_id,
        lambda: [event for transition in transitions for event in events_of(transition)],
        compares,
        ops,
        otherwise,
        least_nested=least_nested,
        deadline=deadline,
    )


async def submit_events(
    store: Store,
    client_id: str,
    events: Callable[[], Sequence[EmailEvent]],
    compares: Sequence[Compare],
    ops: Sequence[Op],
    otherwise: Sequence[Op] = (),
    *,
    least_nested: int = 0,
    deadline: float | None = None,
) -> TxnResult:
    """Does a transaction with the notices of the events that it makes happen.

    It is made again if the client's webhooks were others than known. So a refusal that is returned
    has other reasons. ``events``: called if the client has a webhook. ``least_nested``: as of a
    transaction, if there are fewer operations than need it. Raises what :meth:`Batcher.submit`
    raises.
    """
    while True:
        known = store.webhooks.of(client_id)
        success = ops
        if known.webhooks is not None:
            room = _MOST_BYTES - sum(len(op.encoded) for op in ops)
            success = [*ops, *notices_of(store, known.webhooks.webhooks, events(), room)]
        txn = Txn(
            [*compares, store.webhooks.compare(client_id, known)],
            success,
            otherwise,
            nested=nesting(success) or least_nested,
        )
        result = await store.batcher.submit(txn, deadline=deadline)
        if result.succeeded:
            return result
        try:
            if not await store.webhooks.read_again(client_id, known):
                return result
        except EtcdUnavailable as error:  # an earlier write of the caller may be why it is refused
            raise OutcomeUnknown(str(error)) from None


def notices_of(
    store: Store, webhooks: Sequence[Webhook], events: Sequence[EmailEvent], most_bytes: int
) -> list[Op]:
    """The writes of a notice for each event and each webhook that wants it.

    ``most_bytes``: of all of them together. Where they don't fit, the longest events lose
    recipients, and in the end all that a client wrote.
    """
    wanted = [(event, refs) for event in events if (refs := _refs(webhooks, event))]
    values = [_value(event) for event, _ in wanted]
    if _size(wanted, values) > most_bytes:
        share = most_bytes // sum(len(refs) for _, refs in wanted) - _FRAME_BYTES
        values = [
            value if len(value) <= share else _fitting(event, share)
            for value, (event, _) in zip(values, wanted, strict=True)
        ]
    return [
        put(store.keys.notice(ref), value)
        for value, (_, refs) in zip(values, wanted, strict=True)
        for ref in refs
    ]


def _refs(webhooks: Sequence[Webhook], event: EmailEvent) -> list[NoticeRef]:
    """Of the notices of an event: one for each webhook that wants it."""
    return [
        NoticeRef(webhook.id, event.data.event_id)
        for webhook in webhooks
        if webhook.enabled
        and (not webhook.events or event.type in webhook.events)
        and (not webhook.tags or not set(webhook.tags).isdisjoint(event.data.tags))
    ]


def _value(event: EmailEvent) -> bytes:
    return codec.encode_notice(Notice(Raw(as_json(event)), event.timestamp))


def _size(wanted: Sequence[tuple[EmailEvent, list[NoticeRef]]], values: Sequence[bytes]) -> int:
    return sum(
        len(refs) * (len(value) + _FRAME_BYTES)
        for value, (_, refs) in zip(values, wanted, strict=True)
    )


def _fitting(event: EmailEvent, most_bytes: int) -> bytes:
    """The value of an event with as many recipients as fit, none if it must be."""
    low, high = 0, len(event.data.recipients)
    fitting: bytes | None = None
    while low < high:
        middle = (low + high) // 2
        value = _value(shortened(event, middle))
        if len(value) <= most_bytes:
            fitting, low = value, middle + 1
        else:
            high = middle
    return fitting or _value(bare(event))
