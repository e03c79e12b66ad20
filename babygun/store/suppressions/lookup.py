"""Which recipients of an e-mail are suppressed: compares, and reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from babygun.email.addresses import comparable, hash_of
from babygun.email.model import Email, Recipient, queue_recipients
from babygun.email.suppression import ALL_MAIL, Suppression
from babygun.etcd import Compare, absent, unchanged
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.keys import Keys
from babygun.store.store import Store

# An e-mail with more keys to look up is looked up by reads.
_MOST_COMPARES = 32


class Found(NamedTuple):
    """``suppressed``: of an e-mail's recipients, by address. ``compares``: that it is so still.

    There are none if they would be too many.
    """

    suppressed: dict[str, Suppression]
    compares: list[Compare]


def nobody_suppressed(keys: Keys, email: Email) -> list[Compare] | None:
    """The compares that hold if none of the recipients is suppressed. None: they are too many."""
    if email.ignore_suppressions:
        return []
    if 2 * len(email.recipients) > _MOST_COMPARES:
        return None
    wanted = keys_of(keys, email, email.recipients)
    return [absent(key) for key in wanted] if len(wanted) <= _MOST_COMPARES else None


def keys_of(keys: Keys, email: Email, recipients: Sequence[Recipient]) -> list[bytes]:
    """Under which keys these recipients are suppressed, if they are.

    An address that was erased stands there as its hash.
    """
    prefix = keys.client_suppressions(email.client_id)
    lists = [prefix + b"%b/" % name.encode() for name in _lists(email)]
    mailboxes = [comparable(r.email) for r in recipients]
    return [
        of + name.encode()
        for mailbox in mailboxes
        for of in lists
        for name in (mailbox, hash_of(mailbox))
    ]


async def find(store: Store, emails: Sequence[Email]) -> list[Found]:
    """The suppressed recipients of each of these e-mails. Raises EtcdError."""
    wanted = [email.recipients if not email.ignore_suppressions else () for email in emails]
    return await _find(store, list(zip(emails, wanted, strict=True)))


async def find_in_queue(store: Store, email: Email, queue: str) -> dict[str, Suppression]:
    """The suppressed ones among those recipients of a queue that are not final, by address.

    Raises EtcdError.
    """
    (found,) = await _find(store, [(email, queue_recipients(email, queue))])
    return found.suppressed


async def _find(store: Store, wanted: Sequence[tuple[Email, Sequence[Recipient]]]) -> list[Found]:
    lists = [keys_of(store.keys, email, recipients) for email, recipients in wanted]
    read = await store.client.get_many(list(dict.fromkeys(key for keys in lists for key in keys)))
    now = await store.clock.now()
    counting: dict[bytes, Suppression] = {}
    for kv in read.values():
        try:
            suppression = codec.decode_suppression(kv.value)
        except ValueError as error:
            log_unreadable(kv.key, error)
            continue
        if suppression.counts(now):
            counting[kv.key] = suppression
    found = []
    for (email, recipients), keys in zip(wanted, lists, strict=True):
        each = 2 * len(_lists(email))
        suppressed = {
            recipient.email: counting[key]
            for index, recipient in enumerate(recipients)
            for key in keys[index * each : (index + 1) * each]
            if key in counting
        }
        few = keys if len(keys) <= _MOST_COMPARES else ()
        compares = [unchanged(key, read.get(key)) for key in few]
        found.append(Found(suppressed, compares))
    return found


def _lists(email: Email) -> tuple[str, ...]:
    """The lists that count for an e-mail. The last one that has an address says why."""
    return (email.list, ALL_MAIL) if email.list not in ("", ALL_MAIL) else (ALL_MAIL,)
