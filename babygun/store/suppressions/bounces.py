"""What a change of an e-mail does to suppressions, as operations of its transaction.

A value begins with its reason, so etcd itself compares it. Nothing need be read before, and a
person's word, or a newer bounce, stays whatever happens meanwhile. A complaint is a person's word:
who writes it has read what is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from babygun.email.addresses import comparable
from babygun.email.suppression import ALL_MAIL, Suppression
from babygun.email.transition import Suppressed
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
    suppressed: Sequence[Suppressed],
    lease: int,
    *,
    most_bytes: int,
) -> list[Op]:
    """The writes of addresses that have bounced. What is there for another reason stays.

    A complaint takes the place of what is there. ``lease``: of those that end.
    ``most_bytes``: of all of them. If they are more, they don't say what the server said, and those
    that don't fit even so are left out: they bounce once more.
    """
    ops = [_suppressed(keys, client_id, each, lease) for each in suppressed]
    if _size(ops) <= most_bytes:
        return ops
    bare = [each._replace(suppression=_bare(each.suppression)) for each in suppressed]
    ops = [_suppressed(keys, client_id, each, lease) for each in bare]
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


def _suppressed(keys: Keys, client_id: str, new: Suppressed, lease: int) -> Op:
    key = keys.suppression(client_id, new.list, comparable(new.address))
    value = codec.encode_state(new.suppression)
    op = put(key, value, lease if new.suppression.until else 0)
    if new.suppression.reason != "hard_bounce":
        return op
    return unless(value_above(key, _LAST), unless(value_below(key, _FIRST), op))


def _bare(new: Suppression) -> Suppression:
    """Without what the server said."""
    return Suppression(new.reason, new.since, new.until, new.email_id)


def _size(ops: Sequence[Op]) -> int:
    return sum(len(op.encoded) for op in ops)
