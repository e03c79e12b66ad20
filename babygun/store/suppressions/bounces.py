"""What the end of a try does to suppressions, as operations of its transaction.

A value begins with its reason, so etcd itself compares it. Nothing need be read before, and a
person's word, or a newer bounce, stays whatever happens meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from babygun.email.addresses import comparable
from babygun.email.suppression import ALL_MAIL, Suppression
from babygun.etcd import (
    Op,
    delete,
    modified_before,
    only_if,
    put,
    unless,
    value_above,
    value_below,
)
from babygun.store import codec
from babygun.store.keys import Keys

# What the values of hard bounces begin with, and where they end.
_FIRST, _LAST = b'{"reason":"hard_bounce"', b'{"reason":"hard_bounce#'


def suppress(
    keys: Keys,
    client_id: str,
    bounced: Sequence[tuple[str, Suppression]],
    lease: int,
    *,
    most_bytes: int,
) -> list[Op]:
    """The writes of addresses that have bounced. What is there for another reason stays.

    ``most_bytes``: of all of them. If they are more, they don't say what the server said, and those
    that don't fit even so are left out: they bounce once more.
    """
    ops = [_suppressed(keys, client_id, address, new, lease) for address, new in bounced]
    if _size(ops) <= most_bytes:
        return ops
    ops = [_suppressed(keys, client_id, address, _bare(new), lease) for address, new in bounced]
    while ops and _size(ops) > most_bytes:
        ops = ops[: len(ops) * 3 // 4]
    return ops


def free(keys: Keys, client_id: str, addresses: Iterable[str], before: int) -> list[Op]:
    """Takes off what was written for a bounce before this revision."""
    ops = []
    for address in addresses:
        key = keys.suppression(client_id, ALL_MAIL, comparable(address))
        bounce = [value_above(key, _FIRST), value_below(key, _LAST), modified_before(key, before)]
        ops.append(only_if(bounce, delete(key)))
    return ops


def _suppressed(keys: Keys, client_id: str, address: str, new: Suppression, lease: int) -> Op:
    key = keys.suppression(client_id, ALL_MAIL, comparable(address))
    op = put(key, codec.encode_state(new), lease)
    return unless(value_above(key, _LAST), unless(value_below(key, _FIRST), op))


def _bare(new: Suppression) -> Suppression:
    """Without what the server said."""
    return Suppression(new.reason, new.since, new.until, new.email_id)


def _size(ops: Sequence[Op]) -> int:
    return sum(len(op.encoded) for op in ops)
