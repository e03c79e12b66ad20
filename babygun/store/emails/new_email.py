"""New e-mails on their way into the store: their writes, and who of them is suppressed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from babygun.email import lifecycle, wide
from babygun.email.model import Content, Email
from babygun.email.suppression import Suppression
from babygun.email.transition import Transition
from babygun.errors import InvalidEmail, Violation
from babygun.etcd import Compare, Op
from babygun.store import codec
from babygun.store.emails import writes
from babygun.store.store import Store
from babygun.store.suppressions.lookup import find, nobody_suppressed

# The change that makes an e-mail final has operations per queue, log entry and chunk. With this
# limit, and that of queues (babygun.email.wide), it stays below etcd's 128 operations.
MAX_CHUNKS = 48
_MOST_BYTES = 1_200_000  # of the writes of one e-mail; etcd takes 1.5 MiB a request


class NewEmail(Struct, frozen=True, gc=False):
    """An e-mail that is ready to be stored.

    ``email``: as it was submitted. ``content_bytes``: of the packed content. ``record`` and
    ``content``: the writes that store it. ``later``: keys and values of the content's chunks beyond
    the first; they have to be there before. ``seen``: compares that hold as long as the same
    recipients are suppressed; None: who is has to be read before.
    """

    email: Email
    transition: Transition
    content_bytes: int
    record: list[Op]
    content: list[Op]
    later: list[tuple[bytes, bytes]]
    seen: list[Compare] | None

    @property
    def id(self) -> str:
        return self.email.id

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its recipients', in the order of the request."""
        return tuple(recipient.email for recipient in self.email.recipients)

    @property
    def suppressed(self) -> tuple[int, ...]:
        """Which of its recipients are suppressed."""
        return tuple(n for n, r in enumerate(self.transition.email.recipients) if r.final)

    @property
    def suppressed_for(self) -> tuple[str, ...]:
        """Why each of those is suppressed."""
        recipients = self.transition.email.recipients
        return tuple(recipients[n].reply_class or "" for n in self.suppressed)

    @property
    def ops(self) -> list[Op]:
        return self.record + self.content

    @property
    def size(self) -> int:
        """Bytes of the writes, on the wire."""
        return writes.size(self.record) + writes.size(self.content)


def prepare(store: Store, email: Email, content: Content) -> NewEmail:
    """The writes that store a new e-mail. Raises InvalidEmail if it is too large to be stored."""
    packed = codec.encode_content(content)
    chunks = codec.chunked(packed)
    if len(chunks) > MAX_CHUNKS:
        most = MAX_CHUNKS * codec.CHUNK_BYTES
        detail = f"The e-mail takes {len(packed)} bytes; at most {most} can be stored."
        raise InvalidEmail([Violation("attachments", detail)], too_large=True)
    email = replace(email, size=len(packed), chunks=len(chunks))
    if len(email.queues) > wide.MOST_QUEUES:
        email = wide.begun(email)
    transition = lifecycle.accept(email)
    record = writes.acceptance(store.keys, transition)
    at_once = 1
    if email.wide and writes.size(record) + len(chunks[0]) > _MOST_BYTES:
        at_once = 0
    content_ops = writes.content(store.keys, email, chunks[0] if at_once else None)
    later = [(store.keys.chunk(email.id, n), chunks[n]) for n in range(at_once, len(chunks))]
    # Its chunks would be uploaded again if a compare refused it.
    seen = None if later else nobody_suppressed(store.keys, email)
    return NewEmail(email, transition, len(packed), record, content_ops, later, seen)


async def looked_up(
    store: Store, emails: Sequence[NewEmail], *, compared: bool = False
) -> list[NewEmail]:
    """The e-mails without those recipients that are suppressed now. Raises EtcdUnavailable.

    ``compared``: their ``seen`` says so, where few recipients let it.
    """
    found = await find(store, [new.email for new in emails])
    return [
        _without(store, new, suppressed, compares if compared else [])
        for new, (suppressed, compares) in zip(emails, found, strict=True)
    ]


def _without(
    store: Store, new: NewEmail, suppressed: Mapping[str, Suppression], seen: list[Compare]
) -> NewEmail:
    if not suppressed and not new.suppressed:
        return replace(new, seen=seen)
    transition = lifecycle.accept(new.email, suppressed)
    record = writes.acceptance(store.keys, transition)
    return replace(new, transition=transition, record=record, seen=seen)
