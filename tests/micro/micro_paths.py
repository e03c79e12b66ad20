"""Micro-benchmarks of the work per e-mail, without I/O: ``make bench-micro``.

Each asserts its result, so that a benchmark of nothing is noticed. The file's name keeps them out
of the tests.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Protocol

import pytest
from aetcd import rpc

from babygun.api.live.event import Event
from babygun.api.live.listener import Listener
from babygun.email import lifecycle
from babygun.email.addresses import parse_address
from babygun.email.compose import new_email
from babygun.email.model import Attachment, Content, Email, Job, Recipient
from babygun.etcd import Txn, TxnResult, absent, put
from babygun.etcd.batch import Batcher, _Waiting
from babygun.etcd.wire import nest
from babygun.intake.ids import new_email_id
from babygun.mime import render
from babygun.mime.dkim import DkimKey, signatures
from babygun.pki.dkim_keys import load_dkim_key, make_ed25519_key, make_rsa_key
from babygun.routing.sites import site_of_relay
from babygun.runtime.settings import Settings
from babygun.smtp.classifier import Classifier
from babygun.smtp.replies import make_reply
from babygun.store import Store, codec
from babygun.store.changes.position import Position
from babygun.store.keys import JobRef, Keys
from babygun.store.webhooks import outbox
from babygun.store.webhooks.known import Known
from babygun.store.webhooks.records import ClientWebhooks, Webhook
from babygun.worker.ready import ReadyJobs
from babygun.worker.slots import Slots

DATE = datetime(2026, 11, 25, 7, 5, 9, tzinfo=UTC)
LINE = "The quick brown fox jumps over the lazy dog, and the dog lets it. \n"
TEXT = Content("Alice <alice@example.org>", "An invoice", ("bob@example.com",), body=LINE * 15)
CONTENTS = {
    "1 KB of text": TEXT,
    "text and HTML": Content(
        **{name: getattr(TEXT, name) for name in ("sender", "subject", "to", "body")},
        html=f"<p>{LINE * 15}</p>",
    ),
    "not ASCII": Content(
        "Zoë <zoe@example.org>",
        "Größe und Maß: déjà vu",
        ("bob@example.com",),
        body="Größe, Maß und Übermaß. \n" * 40,
    ),
    "100 KB attached": Content(
        **{name: getattr(TEXT, name) for name in ("sender", "subject", "to", "body")},
        attachments=(Attachment("a.pdf", "application/pdf", b"\x00\xffPDF" * 20_000),),
    ),
}
KEYS = {"rsa-sha256": make_rsa_key, "ed25519-sha256": make_ed25519_key}
REPLIES = {
    "250": make_reply("message", 250, "2.0.0 Ok: queued as 4F1234"),
    "550 5.1.1": make_reply(
        "rcpt",
        550,
        "5.1.1 <bob@example.com>: Recipient address rejected:"
        " User unknown in virtual mailbox table",
    ),
    "421 without an enhanced code": make_reply(
        "data", 421, "Too many messages from your address, try again later"
    ),
}


class Benchmark(Protocol):
    """pytest-benchmark's fixture."""

    extra_info: dict[str, Any]

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any: ...

    def pedantic(
        self, target: Callable[..., Any], *, setup: Callable[[], Any], rounds: int
    ) -> Any: ...


def email() -> Email:
    return new_email(
        new_email_id(),
        client_id="client",
        sender="alice@example.org",
        subject="An invoice",
        recipients=(Recipient("bob@example.com", "to", "main"),),
        now=DATE,
    )


@pytest.mark.parametrize("name", CONTENTS)
def test_render(benchmark: Benchmark, name: str) -> None:
    raw = benchmark(render, CONTENTS[name], message_id="<x@example.org>", date=DATE)
    assert raw.startswith(b"Date: ")


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("algorithm", KEYS)
def test_sign(benchmark: Benchmark, algorithm: str, name: str) -> None:
    raw = render(CONTENTS[name], message_id="<x@example.org>", date=DATE)
    sign = load_dkim_key(KEYS[algorithm]().private)
    key = DkimKey("example.org", "bg1", algorithm, sign)
    assert b"; bh=" in benchmark(signatures, raw, [key], 1, 2).replace(b";\r\n", b";")


def test_load_dkim_key(benchmark: Benchmark) -> None:
    """Once a process and key."""
    private = make_rsa_key().private
    assert benchmark(load_dkim_key, private)


def test_parse_address(benchmark: Benchmark) -> None:
    assert benchmark(parse_address, "Bob Example <bob@example.com>").name


@pytest.mark.parametrize("name", REPLIES)
def test_classify(benchmark: Benchmark, name: str) -> None:
    classifier = Classifier.load()
    assert benchmark(classifier.classify, REPLIES[name]).action


def test_classifier_load(benchmark: Benchmark) -> None:
    """Once a process."""
    assert benchmark(Classifier.load)


@pytest.mark.parametrize("name", ["1 KB of text", "100 KB attached"])
def test_encode_content(benchmark: Benchmark, name: str) -> None:
    assert benchmark(codec.encode_content, CONTENTS[name])


@pytest.mark.parametrize("name", ["1 KB of text", "100 KB attached"])
def test_decode_content(benchmark: Benchmark, name: str) -> None:
    packed = codec.encode_content(CONTENTS[name])
    assert benchmark(codec.decode_content, packed) == CONTENTS[name]


def test_encode_record(benchmark: Benchmark) -> None:
    record = lifecycle.accept(email()).email
    assert benchmark(codec.encode_state, record)


def test_decode_record(benchmark: Benchmark) -> None:
    record = lifecycle.accept(email()).email
    assert benchmark(codec.decode_email, codec.encode_state(record)) == record


def test_encode_job(benchmark: Benchmark) -> None:
    assert benchmark(codec.encode_job, Job(1024, 1))


def test_decode_job(benchmark: Benchmark) -> None:
    assert benchmark(codec.decode_job, codec.encode_job(Job(1024, 1))) == Job(1024, 1)


def test_keys_of_an_accept(benchmark: Benchmark) -> None:
    """The three keys that an acceptance writes."""
    keys, ref = Keys(), JobRef(new_email_id(), "main")
    made = benchmark(lambda: (keys.email(ref.email_id), keys.job(ref), keys.chunk(ref.email_id, 0)))
    assert len(set(made)) == 3


def test_parse_job_key(benchmark: Benchmark) -> None:
    keys, ref = Keys(), JobRef(new_email_id(), "main")
    assert benchmark(keys.parse_job, keys.job(ref)) == ref


def test_new_email_id(benchmark: Benchmark) -> None:
    assert benchmark(new_email_id)


def accept_txn(keys: Keys) -> Txn:
    """A transaction of the shape of an acceptance."""
    ref = JobRef(new_email_id(), "main")
    writes = [
        put(keys.email(ref.email_id), bytes(300)),
        put(keys.job(ref), bytes(10)),
        put(keys.chunk(ref.email_id, 0), bytes(1100)),
    ]
    return Txn([absent(keys.email(ref.email_id))], writes)


def test_make_transaction(benchmark: Benchmark) -> None:
    assert benchmark(accept_txn, Keys()).op_count == 3


@pytest.mark.parametrize("webhooks", [None, 0, 1, 10])
def test_write_of_an_acceptance(benchmark: Benchmark, webhooks: int | None) -> None:
    """The transaction with the notices of the client's webhooks; None: as if there were none."""
    store = Store(Settings())
    if webhooks:
        with_webhooks(store, webhooks)
    # etcd's part is not measured: it answers at once.
    store.batcher.submit = accepted_at_once  # type: ignore[method-assign]
    transition, txn = lifecycle.accept(email()), accept_txn(store.keys)

    async def write() -> TxnResult:
        if webhooks is None:
            return await store.batcher.submit(Txn(txn.compares, txn.success))
        return await outbox.submit(store, [transition], txn.compares, txn.success)

    def run() -> bool:
        try:
            write().send(None)
        except StopIteration as done:
            return done.value is ACCEPTED
        return False

    assert benchmark(run)


ACCEPTED = TxnResult(rpc.TxnResponse(succeeded=True), 1)


def with_webhooks(store: Store, count: int) -> None:
    made = tuple(
        Webhook(id=f"wh_{n:024x}", url="https://a.example", created_at=DATE, updated_at=DATE)
        for n in range(count)
    )
    store.webhooks._known["client"] = Known(ClientWebhooks(made), 1)


async def accepted_at_once(txn: Txn, **_: object) -> TxnResult:
    return ACCEPTED


def test_group_100_transactions(benchmark: Benchmark) -> None:
    """The batcher before an RPC: it groups transactions and encodes them as one."""
    keys = Keys()
    txns = [accept_txn(keys) for _ in range(100)]
    benchmark.extra_info["transactions"] = len(txns)

    def fresh() -> tuple[tuple[Batcher], dict[str, Any]]:
        batcher = Batcher(None)  # type: ignore[arg-type]  # nothing is sent
        batcher._queue.extend(_waiting(txns))
        return (batcher,), {}

    encoded = benchmark.pedantic(
        lambda batcher: nest([waiting.txn.encoded for waiting in batcher._next()]),
        setup=fresh,
        rounds=300,
    )
    assert len(encoded) > 100 * 1500


def _waiting(txns: Iterable[Txn]) -> Iterable[_Waiting]:
    class Pending:
        def done(self) -> bool:
            return False

    return [_Waiting(txn, Pending(), 0, None, None) for txn in txns]  # type: ignore[arg-type]


def test_change_for_50_listeners(benchmark: Benchmark) -> None:
    """One event of the live stream, offered to all and taken by each."""
    listeners = [Listener(None) for _ in range(50)]
    revisions = itertools.count(1)

    def change() -> bytes:
        revision = next(revisions)
        event = Event("e", "client", revision, 0, b'{"id":"e"}')
        for listener in listeners:
            listener.offer(event)
        return b"".join(listener.take(Position(revision, revision)) for listener in listeners)

    assert benchmark(change).count(b"event: email") == 50


@pytest.mark.parametrize(("sites", "clients"), [(1, 1), (1, 100), (100_000, 1), (100_000, 100)])
def test_add_and_start_a_job(benchmark: Benchmark, sites: int, clients: int) -> None:
    """What a worker does in its own memory for each job: learn it, pick it, start and end it."""
    known = {f"q{n}": site_of_relay(f"q{n}", None) for n in range(sites)}
    ready = ReadyJobs(5000, known.get)
    slots = Slots(total=500, memory=1 << 30, sites=sites, limit=lambda site: 192)
    ids = (f"{n:032x}" for n in itertools.count())
    jobs = [Job(1000, 1, client=f"c{n}") for n in range(clients)]
    numbers = itertools.count()

    def one() -> bool:
        number = next(numbers)
        ready.add(JobRef(next(ids), f"q{number % sites}"), jobs[number % clients])
        taken = ready.take(slots.obstacle)
        assert taken is not None
        _, job, site = taken
        slots.start(site, job)
        slots.end(site, job)
        ready.go_on(site.name)
        return True

    for number in range(max(sites, 1000)):
        ready.add(JobRef(next(ids), f"q{number % sites}"), jobs[number % clients])
    assert benchmark(one)
