"""A look into DNS is written to the store: statuses, and keys that begin to sign."""

from __future__ import annotations

import asyncio

import dns.message
import pytest

from babygun.dns import resolver
from babygun.domains.verifier import Verifier
from babygun.errors import NotFound
from babygun.store.domains.change import read_domain, rotate_keys
from tests.support.dns_servers import Zone, scripted
from tests.support.domains import dns_of, made_domain
from tests.support.rig import Rig, changed, rig_for
from tests.support.scraping import scraped

NAME = "shop.example"


async def test_domain_goes_from_pending_to_verified_and_fails_when_a_record_is_gone(
    with_dns: tuple[Rig, Zone], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    rig, zone = with_dns
    made = await made_domain(rig.store, NAME)
    verifier, before = Verifier(rig.store), scraped("worker")
    assert {each.status for each in verifier.wanted(made)} == {"unchecked"}

    pending = await verifier.verify(NAME)
    assert pending.status == "pending" and pending.selectors[0].state == "new"

    zone.records |= dns_of(rig.store, made)
    verified = await verifier.verify(NAME)
    assert verified.status == "verified" and verified.selectors[0].state == "signing"
    assert await read_domain(rig.store, NAME) == verified == rig.store.domains.get(NAME)
    assert [each.status for each in verifier.wanted(verified)].count("verified") == 4

    del zone.records[f"_dmarc.{NAME}", "TXT"]
    gone = await verifier.verify(NAME)
    assert gone.status == "failed" and gone.selectors[0].state == "signing"
    assert scraped("worker").since(before, "babygun_domain_looks_total", status="failed") == 1
    assert caplog.messages == ["key signs", "domain verified", "domain not verified"]
    error = caplog.records[-1].fields["error"]  # type: ignore[attr-defined]
    assert error.startswith(f"_dmarc.{NAME} TXT: DNS has no such record")


async def test_new_key_signs_once_dns_has_it_and_the_old_one_stays(
    with_dns: tuple[Rig, Zone],
) -> None:
    rig, zone = with_dns
    zone.records |= dns_of(rig.store, await made_domain(rig.store, NAME))
    verifier = Verifier(rig.store)
    await verifier.verify(NAME)
    rotated = await rotate_keys(rig.store, NAME)

    unseen = await verifier.verify(NAME)
    assert [one.state for one in unseen.selectors] == ["signing", "new"]
    assert unseen.status == "verified"
    zone.records |= dns_of(rig.store, rotated)
    seen = await verifier.verify(NAME)
    assert [one.state for one in seen.selectors] == ["old", "signing"]


async def test_looks_at_one_domain_at_the_same_time_are_one(
    with_dns: tuple[Rig, Zone], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver, "_SERVER_TIMEOUT", 20.0)  # an answer that is late is none twice
    rig, zone = with_dns
    zone.records |= dns_of(rig.store, await made_domain(rig.store, NAME))
    asked = []

    def counted(query: dns.message.QueryMessage, by_tcp: bool) -> dns.message.Message:
        asked.append(query.question[0].to_text())
        return zone(query, by_tcp)

    async with (
        scripted(counted) as server,
        rig_for(changed(rig.settings, resolvers=(server,))) as counting,
    ):
        verifier = Verifier(counting.store)
        found = await asyncio.gather(*(verifier.verify(NAME) for _ in range(5)))
        assert len({id(one) for one in found}) == 1
        once = len(asked)
        assert once == len(set(asked))  # one resolver asks nothing twice
        await verifier.verify(NAME)
    assert len(asked) == 2 * once  # a later look asks DNS again


async def test_domain_that_is_not_there_is_not_found(with_dns: tuple[Rig, Zone]) -> None:
    rig, _ = with_dns
    with pytest.raises(NotFound, match="no sending domain"):
        await Verifier(rig.store).verify("nobody.example")
