"""What happened in a run: typed events, appended to a file and read back e-mail by e-mail.

The file is a row of frames. A frame is 4 bytes of length, big-endian, and one event in msgpack.
Only offsets stay in memory: a run of ten minutes has some 300,000 revisions.

``at`` is in seconds since the start of the run, by the harness's monotonic clock.
"""

from __future__ import annotations

import mmap
import re
import time
from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import msgspec

from babygun.store import codec
from babygun.store.keys import Keys

KEYS = Keys()
MOST_VALUE = 64 * 1024  # of a content's key no more is kept: rules need its size only
_MARK = re.compile(r"\[chaos ([^\]\s]+)\]")
_LENGTH = 4


class Event(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """Something that happened. ``at``: when, in seconds since the start of the run."""

    at: float


class Mail(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One e-mail of a request. ``mark``: unique in the run; :func:`subject` puts it in the subject.

    ``digest``: of what its message has to say, as receivers digest what they decode. A message may
    show no address of ``bcc``. ``recipients``: all addresses, those of ``bcc`` too.
    """

    mark: str
    recipients: tuple[str, ...]
    digest: str
    bcc: tuple[str, ...] = ()
    send_at: float | None = None  # in seconds of the run


Call = Literal[
    "send",
    "batch",
    "cancel",
    "retry",
    "send-now",
    "change",
    "read",
    "erase",
    "make-client",
    "change-client",
    "rotate-secret",
]


class Asked(Event, frozen=True):
    """A client sends a request. Its number joins the answer to it.

    ``api``: number of the API process asked. ``key``: the Idempotency-Key. ``mails``: of a send or
    a batch, in its order. ``email_id``: of the other calls.
    """

    number: int
    client: str
    api: int
    call: Call
    key: str | None = None
    mails: tuple[Mail, ...] = ()
    email_id: str | None = None


class Answered(Event, frozen=True):
    """What the client got. ``status``: 0 for no answer: it timed out or the connection broke.

    ``ids``: of the accepted e-mails, one for each of the request's; None for one that is refused.
    ``problem``: the type or text of a refusal, or what broke. ``repeated``: the key was known.
    """

    number: int
    status: int
    ids: tuple[str | None, ...] = ()
    problem: str = ""
    repeated: bool = False


class Received(Event, frozen=True):
    """A receiver has got the whole content of a message, up to its dot.

    ``recipients``: of the envelope, those that the receiver took. ``shown``: every address in the
    message's header. ``mark``: of the subject. ``reply``: the receiver's to the dot.
    ``committed``: True: the receiver took it and sent its 250. False: it refused. None: it took the
    message, but cut or held back its reply, so the sender can't know.
    """

    relay: str
    mark: str
    message_id: str
    email_id: str
    recipients: tuple[str, ...]
    digest: str
    reply: str
    committed: bool | None
    shown: tuple[str, ...] = ()
    sender: str = ""  # of the envelope
    signatures: int = 0  # DKIM signatures that the message has
    signed: tuple[str, ...] = ()  # the domain of each that is valid
    tls: bool = False
    source: str = ""  # the caller's address


class Returned(Event, frozen=True):
    """A mail server has brought back a bounce message or a complaint, or has tried to.

    It began at ``asked``, and ``at`` is when the last reply came. ``address``: where it was brought
    to. ``email_id``, ``recipient``: what it is about. ``path``: the return path of the message that
    it is about. ``forged``: the address has a wrong mac. ``reply``: empty if none came.
    """

    asked: float
    kind: Literal["bounce", "complaint"]
    address: str
    email_id: str
    recipient: str
    path: str
    forged: bool
    reply: str


class Reported(Event, frozen=True):
    """A TLS report was posted. ``day``: its beginning. ``sessions``: successful ones in it.

    ``status``: of the answer.
    """

    report_id: str
    domain: str
    day: str
    sessions: int
    status: int


class Erased(Event, frozen=True):
    """An erasure of an address was answered as done: with no cursor, and nothing under way."""

    address: str


class SecretTried(Event, frozen=True):
    """A client has asked for a token with one of its secrets, at ``asked``.

    ``place``: 0 for the newest secret, 1 for the one before, and so on. ``rotated``: when the next
    one was asked for, and given; of the newest one, itself. ``grace``: seconds that it is taken
    from then on. ``status``: of the answer.
    """

    asked: float
    place: int
    rotated: tuple[float, float]
    grace: float
    status: int


class Linked(Event, frozen=True):
    """A connection to a watched receiver was opened or closed, or MAIL came over it.

    ``number``: of the connection. ``pid``: of the worker that opened it; 0 if it is gone.
    """

    relay: str
    number: int
    what: Literal["open", "mail", "close"]
    pid: int


class Greylisted(Event, frozen=True):
    """A receiver heard RCPT with a recipient that it greylists. ``source``: of the caller."""

    relay: str
    recipient: str
    source: str


class Notified(Event, frozen=True):
    """The webhook has got an event.

    ``what``: its type. ``sequence``: the number of the log entry. ``email_id``: empty if it is
    about none. ``recipients``: addresses that it names. ``status``: of the answer; 0 for none.
    """

    event_id: str
    what: str
    email_id: str
    sequence: int
    recipients: tuple[str, ...]
    status: int


class Revision(Event, frozen=True):
    """One key as one revision of etcd left it. ``gone``: deleted; then only key and revision count.

    ``value``: of contents at most MOST_VALUE bytes; ``size``: of the whole value. ``version``: 1
    where the revision made the key.
    """

    revision: int
    key: bytes
    value: bytes
    lease: int
    create_revision: int
    version: int
    gone: bool
    size: int = 0


class Gap(Event, frozen=True):
    """The watch lost revisions after ``after`` up to ``until``: etcd had compacted them.

    The keys that changed in between follow as revisions, each as it was at ``until``.
    """

    after: int
    until: int


class Reached(Event, frozen=True):
    """etcd said that it has this revision: asked at ``asked``, answered at ``at``.

    So each revision has a time, however late the watch brings it.
    """

    asked: float
    revision: int


class Injected(Event, frozen=True):
    """A fault begins. ``turn``: its number in the plan."""

    turn: int
    fault: str
    params: dict[str, str] = {}


class Healed(Event, frozen=True):
    """A fault ends."""

    turn: int
    fault: str


Role = Literal["api", "worker", "bounced", "etcd", "relay", "proxy"]


class ProcessStarted(Event, frozen=True):
    """A process began. ``number``: its place in the stage, which a restart keeps."""

    role: Role
    number: int
    pid: int


class ProcessEnded(Event, frozen=True):
    """A process is gone. ``how``: a signal's name, or ``exit N``."""

    role: Role
    number: int
    pid: int
    how: str


class ProcessPaused(Event, frozen=True):
    """A process was stopped by SIGSTOP."""

    role: Role
    number: int
    pid: int


class ProcessWoken(Event, frozen=True):
    """A paused process goes on."""

    role: Role
    number: int
    pid: int


class Footprint(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one process holds. ``memory``: resident, in bytes; ``own``: without pages of files."""

    role: Role
    number: int
    pid: int
    connections: int
    descriptors: int
    memory: int
    own: int = 0


class Leftovers(Event, frozen=True):
    """What is there while nothing happens: before the load, and when all is quiet again.

    ``keys``: all under the prefix. ``leases``: of etcd, with how many keys hang on each.
    """

    moment: Literal["before", "after"]
    keys: tuple[bytes, ...]
    leases: dict[int, int]
    footprints: tuple[Footprint, ...]


class Sampled(Event, frozen=True):
    """What is there while mail flows.

    ``file``, ``in_use``: of the largest etcd member, in bytes. ``keys``: under the prefix.
    ``unfinished``: jobs and not-before keys. Each is 0 if etcd did not answer.
    """

    footprints: tuple[Footprint, ...]
    file: int
    in_use: int
    keys: int
    unfinished: int


AnyEvent = (
    Asked
    | Answered
    | Received
    | Returned
    | Reported
    | Erased
    | SecretTried
    | Linked
    | Greylisted
    | Notified
    | Revision
    | Gap
    | Reached
    | Injected
    | Healed
    | ProcessStarted
    | ProcessEnded
    | ProcessPaused
    | ProcessWoken
    | Leftovers
    | Sampled
)
E = TypeVar("E", bound=Event)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(AnyEvent).decode


def subject(text: str, mark: str) -> str:
    """A subject that carries the mark."""
    return f"{text} [chaos {mark}]"


def mark_of(text: str) -> str:
    """The mark that a subject carries; empty if none."""
    found = _MARK.search(text)
    return found[1] if found else ""


class Recorder:
    """Appends events to the file of a run. Its clock begins when it is made."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=1 << 20)
        self._start = time.monotonic()
        self._number = 0

    def now(self) -> float:
        """Seconds since the start of the run."""
        return time.monotonic() - self._start

    def next_number(self) -> int:
        """A number for a request."""
        self._number += 1
        return self._number

    def add(self, event: Event) -> None:
        data = _encode(event)
        self._file.write(len(data).to_bytes(_LENGTH, "big") + data)

    def close(self) -> None:
        self._file.close()


class History:
    """A run, read from its file. Events are decoded as they are asked for."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            size = path.stat().st_size
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        self._by_type: dict[type, array[int]] = defaultdict(lambda: array("Q"))
        self._by_email: dict[str, array[int]] = defaultdict(lambda: array("Q"))
        # Of the marks in stored subjects and in messages: their e-mails' ids.
        self.ids_of_mark: dict[str, set[str]] = defaultdict(set)
        self._index()

    def events(self, *kinds: type[E]) -> Iterator[E]:
        """All events of these kinds, in order."""
        offsets = [self._by_type[kind] for kind in kinds]
        for offset in offsets[0] if len(offsets) == 1 else sorted(o for of in offsets for o in of):
            yield cast(E, self._at(offset))

    def email_ids(self) -> Iterator[str]:
        """Every e-mail that was stored, acknowledged or received, in order of appearance."""
        yield from self._by_email

    def of_email(self, email_id: str) -> list[Any]:
        """All events about one e-mail, in order: requests, messages, revisions, notices.

        A request without an answer counts if its mark was stored or received.
        """
        return [self._at(offset) for offset in sorted(set(self._by_email.get(email_id, ())))]

    @cached_property
    def gaps(self) -> list[Gap]:
        return list(self.events(Gap))

    def made(self, event: Revision) -> tuple[float, float]:
        """Between which times etcd made a revision."""
        index = bisect_left(self._reached, event.revision, key=lambda each: each.revision)
        latest = self._reached[index].at if index < len(self._reached) else event.at
        earliest = self._reached[index - 1].asked if index else 0.0
        latest = min(latest, event.at)
        return min(earliest, latest), latest

    @cached_property
    def _reached(self) -> list[Reached]:
        return list(self.events(Reached))

    @cached_property
    def end(self) -> float:
        """When the last event happened."""
        return max(
            (self._at(offsets[-1]).at for offsets in self._by_type.values() if offsets), default=0.0
        )

    def _at(self, offset: int) -> Any:
        length = int.from_bytes(self._data[offset : offset + _LENGTH], "big")
        return _decode(self._data[offset + _LENGTH : offset + _LENGTH + length])

    def _index(self) -> None:
        offset = 0
        asked: dict[str, list[int]] = defaultdict(list)  # offsets of requests, by mark
        about: dict[int, list[str]] = {}  # a request's e-mails by id, or its marks
        while offset < len(self._data):
            length = int.from_bytes(self._data[offset : offset + _LENGTH], "big")
            if offset + _LENGTH + length > len(self._data):
                break  # its writer died within a frame
            event = self._at(offset)
            self._by_type[type(event)].append(offset)
            if isinstance(event, Asked):
                for mail in event.mails:
                    asked[mail.mark].append(offset)
                if event.email_id:
                    about[event.number] = [event.email_id]
                    self._by_email[event.email_id].append(offset)
                elif event.mails:
                    about[event.number] = [mail.mark for mail in event.mails]
            elif isinstance(event, Answered):
                for mark in about.get(event.number, ()):
                    asked[mark].append(offset)
                for email_id in event.ids:
                    if email_id:
                        self._by_email[email_id].append(offset)
            else:
                for email_id in self._emails_of(event):
                    self._by_email[email_id].append(offset)
            offset += _LENGTH + length
        self._join_requests(asked)

    def _emails_of(self, event: Event) -> list[str]:
        """The e-mails that something is about: a message, an event, a revision. Notes its mark."""
        if isinstance(event, Received):
            self.ids_of_mark[event.mark].add(event.email_id)
            return [event.email_id]
        if isinstance(event, Notified | Returned):
            return [event.email_id] if event.email_id else []
        if isinstance(event, Revision):
            email_id = email_of(event)
            if email_id and event.key.startswith(KEYS.emails) and event.version == 1:
                mark = mark_of(codec.decode_email(event.value).subject)
                self.ids_of_mark[mark].add(email_id)
            return [email_id] if email_id else []
        return []

    def _join_requests(self, asked: dict[str, list[int]]) -> None:
        """Gives each e-mail the requests and answers that its mark, or its id, was in."""
        for mark, offsets in asked.items():
            for email_id in (mark, *self.ids_of_mark.get(mark, ())):
                if email_id in self._by_email:
                    self._by_email[email_id].extend(offsets)


def email_of(event: Revision) -> str:
    """The e-mail that a key is about; empty for keys of no e-mail."""
    key = event.key
    try:
        if key.startswith((KEYS.emails, KEYS.failures)):
            return KEYS.email_id(key)
        if key.startswith(KEYS.jobs):
            return KEYS.parse_job(key).email_id
        if key.startswith(KEYS.waiting):
            return KEYS.parse_not_before(key)[1].email_id
        if key.startswith(KEYS.owners):
            return KEYS.parse_owner(key).email_id
        if key.startswith((KEYS.contents, KEYS.logs, KEYS.parts)):
            return key.split(b"/")[-2].decode()
        if key.startswith((KEYS.retention_kind("delivered"), KEYS.retention_kind("undelivered"))):
            return KEYS.parse_end_mark(key)[1]
        if key.startswith(KEYS.idempotencies) and not event.gone:
            return codec.decode_idempotency(event.value).email_id
    except ValueError:
        pass
    return ""
