"""The limits of clients over several API processes, on a real etcd."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from babygun.errors import (
    DailyLimitReached,
    EtcdUnavailable,
    InvalidRequest,
    NotAcknowledged,
    OutcomeUnknown,
    OutOfSpace,
    RateExceeded,
    Violation,
)
from babygun.intake import accept
from babygun.intake import allowances as module
from babygun.intake.accept import Intake
from babygun.intake.allowances import INTERVAL, Allowances, Counted
from babygun.intake.quota_guard import QuotaGuard
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.access.usage import get_usage
from babygun.store.records import Client
from tests.intake.conftest import CLIENT
from tests.intake.requests import email_request
from tests.support.faulty_etcd import FaultyProcess
from tests.support.scraping import scraped

UNREADABLE = InvalidRequest([Violation("subject", "It must be a text.")])
REFUSALS = "babygun_client_refusals_total"
LATER = 1e9  # monotonic: long after everything


pytestmark = pytest.mark.usefixtures("one_day")


@pytest.fixture(autouse=True)
def patient_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process waits at its end for etcd, however slow that is."""
    monkeypatch.setattr(module, "_LAST", 60.0)


@pytest.fixture
async def other(store: Store) -> AsyncIterator[Store]:
    """What another API process has."""
    async with Store(store.settings) as other:
        yield other


def limited(recipients: int) -> Client:
    return replace(CLIENT, recipients_per_day=recipients)


def rated(rate: float) -> Client:
    return replace(CLIENT, rate=rate)


async def counted(store: Store, client: Client = CLIENT) -> int:
    usage = await get_usage(store, client.identity)
    return usage.recipients if usage else 0


async def passed(allowances: list[Allowances], client: Client, wanted: int) -> int:
    """Of so many e-mails at once in each process: how many pass."""

    async def one(of: Allowances) -> bool:
        with suppress(RateExceeded):
            await of.take_emails(client, 1)
            return True
        return False

    return sum(await asyncio.gather(*(one(each) for each in allowances for _ in range(wanted))))


class Clock:
    """The time for all processes: ``seconds`` after a start, as long as the test says so."""

    def __init__(self) -> None:
        self._start, self.seconds = utc_now(), 0.0

    def monotonic(self) -> float:
        return 1000 + self.seconds

    async def now(self) -> datetime:
        return self._start + timedelta(seconds=self.seconds)


@pytest.fixture
def clock(store: Store, other: Store, monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    for each in (store, other):
        monkeypatch.setattr(each.clock, "now", clock.now)
    return clock


@pytest.mark.usefixtures("clock")
async def test_rate_counts_over_all_processes(store: Store, other: Store) -> None:
    processes = [Allowances(store), Allowances(other)]
    assert await passed(processes, rated(0.01), 5) == 1
    client = replace(rated(40), id="fast")
    assert await passed(processes, client, 60) == 40


@pytest.mark.usefixtures("clock")
async def test_rate_takes_far_fewer_writes_than_emails(store: Store) -> None:
    allowances, client = Allowances(store), rated(10_000)
    before = store.batcher.txns
    for _ in range(2000):
        await allowances.take_emails(client, 1)
    assert store.batcher.txns - before < 30


async def test_client_at_its_rate_gets_all_of_it_and_takes_few_writes(
    store: Store, other: Store, clock: Clock
) -> None:
    """Ten seconds of 400 tries a second, in two processes, of which 100 may pass."""
    processes = [Allowances(store), Allowances(other)]
    emails = 0
    for tick in range(4000):
        clock.seconds = tick / 400
        emails += await passed([processes[tick % 2]], rated(100), 1)
    assert 1050 <= emails <= 1100
    assert store.batcher.txns + other.batcher.txns < 120


async def test_client_without_limits_writes_nothing_for_an_email(store: Store) -> None:
    allowances = Allowances(store)
    await allowances.take_emails(CLIENT, 1)
    assert await allowances.count(CLIENT, 5) == Counted()
    assert store.batcher.txns == 0


async def test_no_email_takes_nothing_and_is_refused_where_one_would_be(store: Store) -> None:
    allowances, client = Allowances(store), rated(0.01)
    for _ in range(5):
        await allowances.take_emails(client, 0)
    await allowances.take_emails(client, 1)
    with pytest.raises(RateExceeded):
        await allowances.take_emails(client, 0)


async def test_batch_larger_than_the_rate_passes_though_the_call_was_admitted_before(
    store: Store,
) -> None:
    allowances, client = Allowances(store), rated(20)
    await allowances.take_emails(client, 0)
    await allowances.take_emails(client, 2000)
    with pytest.raises(RateExceeded) as raised:
        await allowances.take_emails(client, 1)
    assert raised.value.retry_after > 20


@pytest.mark.usefixtures("clock")
async def test_refusal_is_repeated_without_asking_etcd(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowances, client = Allowances(store), rated(0.01)
    with suppress(RateExceeded):
        for _ in range(2):
            await allowances.take_emails(client, 1)

    async def asked(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(store.client, "get", asked)
    with pytest.raises(RateExceeded):
        await allowances.take_emails(client, 1)


async def test_daily_limit_is_never_exceeded_by_processes_that_count_at_once(
    store: Store, other: Store
) -> None:
    client = limited(100)
    processes = [Allowances(store), Allowances(other), Allowances(store)]

    async def accepted(of: Allowances) -> int:
        total = 0
        with suppress(DailyLimitReached):
            while True:
                total += (await of.count(client, 3)).recipients
        return total

    first = sum(await asyncio.gather(*map(accepted, processes)))
    assert first <= 100 and await counted(store) <= 100
    for each in processes:
        await each.settle(LATER)
    rest = sum([await accepted(each) for each in processes])
    assert 98 <= first + rest <= 100 and await counted(store) == first + rest


@pytest.mark.parametrize("seed", range(3))
async def test_daily_limit_holds_whatever_processes_do(
    store: Store, other: Store, seed: int
) -> None:
    """Processes accept, fail, give back, stop and die, in any order and at once."""
    random, limit = Random(seed), 300
    client, kept = limited(limit), 0
    processes = [Allowances(store), Allowances(other), Allowances(store)]

    async def step() -> int:
        number, wanted = random.randrange(3), random.randrange(1, 9)
        process = processes[number]
        match random.choices(("accept", "fail", "unknown", "settle", "die"), (80, 9, 3, 6, 2))[0]:
            case "settle":
                await process.settle(LATER)
            case "die":
                processes[number] = Allowances(random.choice((store, other)))
            case outcome:
                with suppress(DailyLimitReached):
                    counts = await process.count(client, wanted)
                    await asyncio.sleep(0)
                    if outcome == "fail":
                        process.failed(client, EtcdUnavailable(), counts)
                        return 0
                    if outcome == "unknown":
                        process.failed(client, OutcomeUnknown(), counts)
                    else:
                        process.stored(client, wanted, counts)
                    return wanted
        return 0

    for _ in range(25):
        kept += sum(await asyncio.gather(*(step() for _ in range(8))))
        assert kept <= await counted(store) <= limit
    for process in processes:
        await process.close()
    assert kept <= await counted(store) <= limit


async def test_process_that_dies_leaves_what_it_took_counted(store: Store, other: Store) -> None:
    client, dead = limited(100), Allowances(store)
    for _ in range(5):
        await dead.count(client, 4)
    with pytest.raises(DailyLimitReached) as raised:
        await Allowances(other).count(client, 81)
    assert (raised.value.remaining or 0) <= 80


async def test_block_that_is_not_used_goes_back_and_one_in_use_stays(store: Store) -> None:
    allowances, client = Allowances(store), limited(1000)
    for _ in range(4):
        await allowances.count(client, 10)
    taken = await counted(store)
    assert taken > 40
    account = allowances._accounts[client.identity]
    await allowances.settle(account.recipients.used_at + INTERVAL / 2)
    assert await counted(store) == taken
    await allowances.settle(account.recipients.used_at + INTERVAL)
    assert await counted(store) == 40


async def test_block_stays_where_etcd_does_not_take_it_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowances, client = Allowances(store), limited(1000)
    for _ in range(4):
        await allowances.count(client, 10)

    async def away(*_: Any) -> None:
        raise EtcdUnavailable

    with monkeypatch.context() as broken:
        broken.setattr(store.client, "get", away)
        await allowances.close()
    await allowances.close()
    assert await counted(store) == 40


async def test_recipients_without_a_limit_are_counted_later(store: Store, intake: Intake) -> None:
    for _ in range(3):
        await intake.accept(email_request(cc="bob@example.org"), client=CLIENT)
    assert await counted(store) == 0
    await intake.allowances.close()
    assert await counted(store) == 6


async def test_emails_beyond_the_daily_limit_are_refused_with_what_remains(
    intake: Intake, store: Store
) -> None:
    client, before = limited(3), scraped("api")
    two = email_request(cc="bob@example.org")
    assert await intake.accept(two, client=client)
    with pytest.raises(DailyLimitReached) as raised:
        await intake.accept(two, client=client)
    assert raised.value.remaining == 1 and 0 < raised.value.retry_after <= 86_400
    with pytest.raises(DailyLimitReached):
        await intake.accept_batch([email_request()] * 2, client=client)
    assert await intake.accept(email_request(), client=client)
    assert await counted(store) == 3 and intake.accepted == 2
    assert scraped("api").since(before, REFUSALS, limit="day") == 2


async def test_email_refused_by_the_daily_limit_takes_no_room_and_one_without_room_no_recipient(
    intake: Intake, quota_guard: QuotaGuard
) -> None:
    client = limited(1)
    quota_guard._left = quota_guard._share = 10_000.0
    with pytest.raises(OutOfSpace):
        await intake.accept(email_request(body="x" * 20_000), client=client)
    quota_guard.full = False
    await intake.accept(email_request(), client=client)
    taken = quota_guard._taken
    with pytest.raises(DailyLimitReached):
        await intake.accept(email_request(), client=client)
    assert quota_guard._taken == taken


async def test_calls_refused_by_the_rate_are_counted(intake: Intake) -> None:
    before = scraped("api")
    await intake.admit(rated(0.01))
    for _ in range(2):
        with pytest.raises(RateExceeded):
            await intake.admit(rated(0.01))
    assert scraped("api").since(before, REFUSALS, limit="rate") == 2


async def test_repeated_call_counts_once_and_is_answered_though_nothing_remains(
    intake: Intake, store: Store
) -> None:
    client = limited(1)
    key: dict[str, Any] = {"client": client, "idempotency_key": "k", "fingerprint": "f"}
    first = await intake.accept(email_request(), **key)
    again = await intake.accept(email_request(), **key)
    assert again.repeated and again.email_id == first.email_id
    with pytest.raises(DailyLimitReached):
        await intake.accept(email_request(), **key | {"idempotency_key": "l"})
    await intake.allowances.close()
    assert await counted(store) == 1


async def test_repeated_batch_counts_once(intake: Intake, store: Store) -> None:
    entries = [email_request(), UNREADABLE, email_request(cc="bob@example.org")]
    for _ in range(2):
        batch = await intake.accept_batch(
            entries,
            client=limited(10),
            all_or_none=False,
            idempotency_key="k",
            fingerprint="f",
        )
        assert [item.email_id is None for item in batch.items] == [False, True, False]
    await intake.allowances.close()
    assert await counted(store) == 3


@pytest.mark.parametrize(
    ("error", "counts"), [(EtcdUnavailable("away"), 0), (OutcomeUnknown("no answer"), 1)]
)
async def test_email_that_may_be_stored_counts_and_one_that_is_not_does_not(
    intake: Intake,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    counts: int,
) -> None:
    async def lost(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(accept, "accept", lost)
    with pytest.raises(NotAcknowledged):
        await intake.accept(email_request(), client=limited(10))
    await intake.allowances.close()
    assert await counted(store) == counts


async def test_nothing_is_stored_while_etcd_can_not_count(settings: Settings) -> None:
    nowhere = dataclasses.replace(
        settings, etcd_endpoints=("http://127.0.0.1:1",), etcd_timeout=0.1
    )
    async with Store(nowhere) as away:
        with pytest.raises(EtcdUnavailable):
            await Allowances(away).count(limited(10), 1)
        with pytest.raises(EtcdUnavailable):
            await Allowances(away).take_emails(rated(1), 1)


async def test_deleted_client_of_which_something_is_still_counted_leaves_a_key_that_ends(
    store: Store,
) -> None:
    allowances = Allowances(store)
    allowances.stored(CLIENT, 5, Counted())
    await allowances.close()
    key = await store.client.get(store.keys.client_usage(CLIENT.identity))
    assert key is not None and 86_400 <= await store.client.granted(key.lease) <= 2 * 86_400


async def test_client_that_sends_nothing_takes_no_memory(store: Store) -> None:
    allowances = Allowances(store)
    for number in range(20):
        allowances.stored(replace(CLIENT, id=f"c{number}"), 5, Counted())
    for _ in range(2):
        await allowances.settle(LATER)
    assert not allowances._accounts


async def test_daily_limit_holds_though_a_full_etcd_took_back_what_was_not_used(
    store: Store, other: Store
) -> None:
    client, passed = limited(100), 0

    async def use_all(of: Allowances) -> None:
        nonlocal passed
        with suppress(DailyLimitReached):
            while True:
                await of.count(client, 1)
                passed += 1

    process = FaultyProcess(store.settings)
    await process.store.start()
    allowances = Allowances(process.store)
    for _ in range(2):
        await allowances.count(client, 10)
        passed += 10
    assert allowances._account(client).recipients.left
    await process.do(lambda _: allowances.settle(LATER), faults={2: "full"})
    await use_all(Allowances(other))
    await use_all(allowances)
    await process.close()
    assert 80 < passed <= 100
