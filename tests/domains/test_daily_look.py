"""When a domain's records are looked at again, and by which process."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from babygun.domains import daily_look
from babygun.domains.daily_look import DailyLook, next_look
from babygun.email.sending_domains import (
    DnsRecord,
    DomainStatus,
    RecordStatus,
    Selector,
    SelectorState,
    SendingDomain,
    Verified,
)
from babygun.store import codec
from babygun.store.domains.change import checked, delete_domain, read_domain
from tests.support.dns_servers import Zone
from tests.support.domains import dns_of, made_domain
from tests.support.rig import Rig

NOW = datetime(2030, 1, 31, 8, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def looked(
    status: DomainStatus, changed_ago: timedelta, key: SelectorState = "signing", **fields: object
) -> SendingDomain:
    """A domain that was looked at now."""
    selector = Selector("s1", "rsa2048", "MII", key, NOW)
    verified = Verified(NOW, status, **fields)  # type: ignore[arg-type]
    then = NOW - changed_ago
    return SendingDomain("example.com", ("shop:1",), then, then, (selector,), verified)


@pytest.mark.parametrize(
    ("domain", "pause"),
    [
        (looked("verified", 9 * DAY), DAY),
        (looked("verified", MINUTE), DAY),
        (looked("verified", 9 * DAY, "new"), DAY),
        (looked("verified", HOUR, "new"), 15 * MINUTE),
        (looked("pending", HOUR), 15 * MINUTE),
        (looked("failed", HOUR), 15 * MINUTE),
        (looked("pending", 2 * DAY), HOUR),
        (looked("failed", 9 * DAY), DAY),
    ],
)
def test_next_look_comes_sooner_while_the_owner_changes_dns(
    domain: SendingDomain, pause: timedelta
) -> None:
    assert next_look(domain, NOW) == NOW + pause


@pytest.mark.parametrize(("status", "pause"), [("unknown", HOUR), ("optional", DAY)])
def test_next_look_comes_sooner_after_dns_did_not_answer(
    status: RecordStatus, pause: timedelta
) -> None:
    records = (DnsRecord("mta_sts", "TXT", "_mta-sts.example.com", "v=STSv1", status),)
    domain = looked("verified", 9 * DAY, records=records)
    assert next_look(domain, NOW) == NOW + pause


def test_first_look_leaves_time_to_paste_the_records() -> None:
    domain = replace(looked("pending", MINUTE), verified=None)
    assert next_look(domain, NOW) == NOW + 14 * MINUTE


async def test_daily_look_looks_at_what_is_due_and_at_nothing_else(
    with_dns: tuple[Rig, Zone], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, zone = with_dns
    for name in ("a.example", "b.example"):
        zone.records |= dns_of(rig.store, await made_domain(rig.store, name))
    late = datetime.now(UTC) + 20 * MINUTE
    await checked(rig.store, "b.example", (), "pending", (), late)
    monkeypatch.setattr(daily_look, "utc_now", lambda: late)
    await DailyLook(rig.store).once()
    a, b = [await read_domain(rig.store, name) for name in ("a.example", "b.example")]
    assert a and b and (a.status, b.status) == ("verified", "pending")
    assert [one.state for one in a.selectors] == ["signing"]


async def test_look_of_a_process_before_is_made_again_as_settings_may_be_new(
    with_dns: tuple[Rig, Zone],
) -> None:
    rig, _ = with_dns
    await made_domain(rig.store, "a.example")
    await checked(rig.store, "a.example", (), "verified", (), datetime.now(UTC) - MINUTE)
    look = DailyLook(rig.store)
    await look.once()
    after = await read_domain(rig.store, "a.example")
    assert after and after.verified and after.status == "failed"
    await look.once()
    assert await read_domain(rig.store, "a.example") == after


async def test_daily_look_goes_on_after_a_domain_that_is_gone(
    with_dns: tuple[Rig, Zone],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig, zone = with_dns
    gone = await made_domain(rig.store, "a.example")
    zone.records |= dns_of(rig.store, await made_domain(rig.store, "b.example"))
    await delete_domain(rig.store, "a.example")
    monkeypatch.setattr(
        rig.store.domains, "all", lambda: [gone, rig.store.domains.get("b.example")]
    )
    monkeypatch.setattr(daily_look, "utc_now", lambda: datetime.now(UTC) + 20 * MINUTE)
    await DailyLook(rig.store).once()
    assert "domain not looked at" in caplog.messages
    after = await read_domain(rig.store, "b.example")
    assert after and after.status == "verified"


async def test_worker_looks_at_domains_by_itself(
    with_dns: tuple[Rig, Zone], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daily_look, "INTERVAL", 0.05)
    monkeypatch.setattr(daily_look, "_OFTEN", timedelta(0))
    rig, zone = with_dns
    made = await made_domain(rig.store, "a.example")
    zone.records |= dns_of(rig.store, made)

    def verified(value: bytes) -> SendingDomain | None:
        domain = codec.decode_state(value, SendingDomain)
        return domain if domain.status == "verified" else None

    async with rig.worker():
        found = await rig.seen(rig.store.keys.domain("a.example"), verified)
    assert found.selectors[0].state == "signing"
