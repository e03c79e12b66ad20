"""The resolver's memory: for how long, how often it asks, and what it makes of failures."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections import Counter

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from babygun.dns import LookupFailed, NoSuchName, Resolver, resolver
from babygun.errors import OutOfResources
from tests.support.dns_servers import Reply, failing, scripted, silent
from tests.support.processes import no_more_descriptors


class Zone:
    """Answers every name with an A record, and counts the queries by name."""

    def __init__(self, ttl: int = 60, rcode: dns.rcode.Rcode = dns.rcode.NOERROR) -> None:
        self.ttl, self.rcode = ttl, rcode
        self.asked: Counter[str] = Counter()

    def __call__(self, query: dns.message.QueryMessage, _: bool) -> dns.message.Message:
        name = query.question[0].name
        self.asked[name.to_text()] += 1
        answer = dns.message.make_response(query)
        answer.set_rcode(self.rcode)
        if self.rcode == dns.rcode.NOERROR:
            answer.answer.append(dns.rrset.from_text(name, self.ttl, "IN", "A", "192.0.2.1"))
        return answer


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(resolver, "time", clock)
    return clock


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server is given time: tests count how often it is asked."""
    monkeypatch.setattr(resolver, "_SERVER_TIMEOUT", 20.0)


async def steps(count: int) -> None:
    """Lets the loop take so many steps."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("ttl", "kept"), [(1, 30), (600, 600), (999_999, 3600)])
async def test_answer_is_remembered_for_its_ttl_within_bounds(
    clock: Clock, ttl: int, kept: float
) -> None:
    zone = Zone(ttl)
    async with scripted(zone) as server:
        asked = Resolver([server])
        await asked.lookup("a.example", "A")
        clock.now += kept - 0.1
        await asked.lookup("A.example.", "A")
        assert zone.asked == {"a.example.": 1}
        clock.now += 0.2
        await asked.lookup("a.example", "A")
    assert zone.asked == {"a.example.": 2}


async def test_name_that_is_not_there_is_remembered(clock: Clock) -> None:
    zone = Zone(rcode=dns.rcode.NXDOMAIN)
    async with scripted(zone) as server:
        asked = Resolver([server])
        for _ in range(2):
            with pytest.raises(NoSuchName, match=r"a\.example is not in DNS"):
                await asked.lookup("a.example", "A")
        clock.now += 301
        with pytest.raises(NoSuchName):
            await asked.lookup("a.example", "A")
    assert zone.asked == {"a.example.": 2}


async def test_failure_is_remembered_for_some_seconds_only(clock: Clock) -> None:
    zone = Zone(rcode=dns.rcode.SERVFAIL)
    async with scripted(zone) as server:
        asked = Resolver([server])
        for _ in range(2):
            with pytest.raises(LookupFailed, match="SERVFAIL"):
                await asked.lookup("a.example", "A")
        zone.rcode = dns.rcode.NOERROR
        clock.now += 6
        assert (await asked.lookup("a.example", "A")).records
    assert zone.asked == {"a.example.": 3}  # a failure is asked about twice: all servers may know


async def test_lookup_after_a_silent_server_begins_with_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolver, "_SERVER_TIMEOUT", 0.2)
    unheard, zone = Zone(), Zone()

    def never(query: dns.message.QueryMessage, _: bool) -> None:
        unheard(query, False)

    async with scripted(never) as first, scripted(zone) as second:
        asked = Resolver([first, second], timeout=20)
        assert (await asked.lookup("a.example", "A")).records
        monkeypatch.setattr(resolver, "_SERVER_TIMEOUT", 20.0)
        assert (await asked.lookup("b.example", "A")).records
    assert unheard.asked.keys() == {"a.example."}


async def test_equal_lookups_at_the_same_time_are_one() -> None:
    zone = Zone()
    async with scripted(zone) as server:
        asked = Resolver([server])
        answers = await asyncio.gather(*(asked.lookup("a.example", "A") for _ in range(50)))
    assert len(set(answers)) == 1
    assert zone.asked == {"a.example.": 1}


async def test_lookup_goes_on_for_others_when_the_first_asker_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resolver, "_SERVER_TIMEOUT", 0.1)
    zone = Zone()
    async with scripted(silent) as never, scripted(zone) as server:
        asked = Resolver([never, server], timeout=20)
        first = asyncio.create_task(asked.lookup("a.example", "A"))
        second = asyncio.create_task(asked.lookup("a.example", "A"))
        await steps(20)
        first.cancel()
        assert (await second).records


async def test_lookups_at_once_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "_AT_ONCE", 3)
    monkeypatch.setattr(resolver, "_SERVER_TIMEOUT", 0.1)  # then it is asked again
    zone, answers = Zone(), False

    def at_last(query: dns.message.QueryMessage, by_tcp: bool) -> dns.message.Message | None:
        return zone(query, by_tcp) if answers else None

    async with scripted(at_last) as server:
        asked = Resolver([server], timeout=20)
        lookups = [asyncio.create_task(asked.lookup(f"a{n}.example", "A")) for n in range(9)]
        await steps(20)
        assert asked.asked == 3
        answers = True
        for outcome in await asyncio.gather(*lookups):
            assert outcome.records
    assert asked.asked == 9


async def test_answers_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "_REMEMBERED", 2)
    zone = Zone()
    async with scripted(zone) as server:
        asked = Resolver([server])
        for name in ("a.example", "b.example", "c.example", "b.example", "a.example"):
            await asked.lookup(name, "A")
    assert zone.asked == {"a.example.": 2, "b.example.": 1, "c.example.": 1}


@pytest.mark.parametrize(
    ("reply", "words", "within"), [(failing, "SERVFAIL", 20.0), (silent, "in time", 0.2)]
)
async def test_failure_says_what_was_the_matter(reply: Reply, words: str, within: float) -> None:
    async with scripted(reply) as server:
        with pytest.raises(LookupFailed, match=words):
            await Resolver([server], timeout=within).lookup("a.example", "MX")


@pytest.mark.parametrize("name", ["a..example", f"{'x' * 64}.example", "a." * 128 + "example"])
async def test_name_that_dns_can_not_have_is_not_asked_for(name: str) -> None:
    asked = Resolver(["127.0.0.1@9"])
    with pytest.raises(NoSuchName, match="can't be a name"):
        await asked.lookup(name, "MX")


def test_resolver_says_which_servers_it_asks() -> None:
    assert Resolver(["127.0.0.1@5353", "::1"]).servers == ["127.0.0.1@5353", "::1@53"]
    assert all("@" in server for server in Resolver().servers)


class _Kept:
    """Something that a caller has while it asks."""


async def test_remembered_failure_keeps_nothing_of_who_asked() -> None:
    async with scripted(Zone(rcode=dns.rcode.NXDOMAIN)) as server:
        resolver = Resolver([server])
        seen: list[weakref.ref[_Kept]] = []

        async def ask() -> None:
            kept = _Kept()
            seen.append(weakref.ref(kept))
            with pytest.raises(NoSuchName):
                await resolver.lookup("a.example", "MX")

        await ask()
        await ask()
        gc.collect()
        assert [one() for one in seen] == [None, None]


async def test_answer_with_very_many_records_keeps_those_of_best_preference() -> None:
    def zone(query: dns.message.QueryMessage, _: bool) -> dns.message.Message:
        answer = dns.message.make_response(query)
        records = [f"{n} {n}." for n in range(55, 0, -1)]
        name = query.question[0].name
        answer.answer.append(dns.rrset.from_text(name, 60, "IN", "MX", *records))
        return answer

    async with scripted(zone) as server:
        found = (await Resolver([server]).lookup("a.example", "MX")).records
    assert [each.preference for each in found] == list(range(1, 51))


async def test_lack_of_descriptors_is_no_answer_of_dns_and_is_not_remembered() -> None:
    async with scripted(Zone()) as server:
        asking = Resolver([server])
        with no_more_descriptors(), pytest.raises(OutOfResources, match="Too many open files"):
            await asking.lookup("example.org", "A")
        assert (await asking.lookup("example.org", "A")).records


def signed(query: dns.message.QueryMessage, _: bool) -> dns.message.Message:
    """Says that all is secure: an address of a.example, an alias of it, and nothing else."""
    answer = dns.message.make_response(query)
    answer.flags |= dns.flags.AD
    asked = query.question[0].name
    if asked.to_text() == "alias.example.":
        answer.answer.append(dns.rrset.from_text(asked, 60, "IN", "CNAME", "a.example."))
    if asked.to_text() in ("a.example.", "alias.example."):
        answer.answer.append(dns.rrset.from_text("a.example.", 60, "IN", "A", "192.0.2.1"))
    else:
        soa = "ns.example. host.example. 1 3600 600 86400 60"
        answer.authority.append(dns.rrset.from_text("example.", 60, "IN", "SOA", soa))
    return answer


@pytest.mark.parametrize("name", ["a.example", "alias.example", "nothing.example"])
async def test_answer_is_secure_if_a_trusted_resolver_says_so(name: str) -> None:
    async with scripted(signed) as server:
        assert (await Resolver([server], trusted=True).lookup(name, "A")).secure
        assert not (await Resolver([server]).lookup(name, "A")).secure


async def test_answer_names_the_end_of_the_aliases() -> None:
    async with scripted(signed) as server:
        asked = Resolver([server])
        assert (await asked.lookup("alias.example", "A")).name == "a.example"
        assert (await asked.lookup("a.example", "A")).name == ""


async def test_question_to_a_trusted_resolver_asks_whether_the_answer_is_secure() -> None:
    """RFC 6840, 5.7: without AD in the question, it need not say so."""
    flags: list[int] = []

    def zone(query: dns.message.QueryMessage, by_tcp: bool) -> dns.message.Message | None:
        flags.append(query.flags & dns.flags.AD)
        return failing(query, by_tcp)  # so that dnspython asks, too

    async with scripted(zone) as server:
        for trusted in (True, False):
            flags.clear()
            with pytest.raises(LookupFailed):
                await Resolver([server], trusted=trusted).lookup("a.example", "A")
            assert len(flags) >= 2 and all(bool(each) is trusted for each in flags)
