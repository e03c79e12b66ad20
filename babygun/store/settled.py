"""A change of etcd that is known to be made, or not to be made, though an answer leaves a doubt.

A write whose answer is lost may be applied, now or later. A full etcd may say so after it has
written. Then what is there is read again, and the change is decided again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, TypeVar

from babygun.errors import Conflict, EtcdError, OutcomeUnknown, OutOfSpace
from babygun.etcd import KeyValue, Txn, delete, modified_at
from babygun.store.store import Store

T = TypeVar("T")


class Write(NamedTuple, Generic[T]):
    """The write of a change. ``made``: what the change gives.

    ``send``: False: what it was decided by has changed, so nothing is written.
    """

    made: T
    send: Callable[[], Awaitable[bool]]


def write(store: Store, txn: Txn, made: T) -> Write[T]:
    """A write that is one transaction."""

    async def send() -> bool:
        return (await store.client.txn(txn)).succeeded

    return Write(made, send)


async def settled(
    decide: Callable[[bool], Awaitable[T | Write[T]]], *, tries: int | None = None
) -> T:
    """Makes a change, and returns what it gives.

    ``decide`` reads what is there, and returns the write; or what the change gives, if there is
    nothing to write. It is called again after a doubt, and where others were faster. Its argument:
    a write of before may have been applied. So it has to see what is its own. Each write compares
    what was read. ``tries``: so many writes at most.

    Raises what ``decide`` raises, Conflict after all ``tries``, and EtcdError. After OutcomeUnknown
    the change may be made. After another EtcdError it is not.
    """
    unknown: OutcomeUnknown | None = None
    full: OutOfSpace | None = None
    while True:
        try:
            decided = await decide(bool(unknown or full))
        except EtcdError as error:
            if full is not None:
                unknown = unknown or OutcomeUnknown(str(error))
            raise (unknown or error) from None
        if not isinstance(decided, Write):
            return decided
        if full is not None:  # it has not written the change before it said so
            raise unknown or full
        if tries is not None and (tries := tries - 1) < 0:
            raise unknown or Conflict("this is changing all the time; try again")
        try:
            if await decided.send():
                made: T = decided.made
                return made
        except OutOfSpace as error:
            full = error
        except OutcomeUnknown as error:
            if unknown is not None:
                raise
            unknown = error
        except EtcdError as error:
            raise (unknown or error) from None


async def delete_key(store: Store, key: bytes, *, tries: int | None = None) -> KeyValue | None:
    """Deletes a key, whatever it says. Returns what was there; None: nothing was.

    ``tries`` and what it raises: see :func:`settled`.
    """
    gone: KeyValue | None = None

    async def decide(doubt: bool) -> KeyValue | Write[KeyValue | None] | None:
        nonlocal gone
        found = await store.client.get(key)
        if doubt and gone and (found is None or found.create_revision != gone.create_revision):
            return gone  # what is there now was made later
        gone = found
        if found is None:
            return None
        return write(store, Txn([modified_at(key, found.mod_revision)], [delete(key)]), found)

    return await settled(decide, tries=tries)
