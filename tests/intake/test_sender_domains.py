"""With require_domains a client sends from its domains only, by every way in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from babygun.email.sending_domains import SendingDomain
from babygun.errors import InvalidEmail, NotAcknowledged
from babygun.intake import sender_domains
from babygun.intake.accept import Intake
from babygun.intake.quota_guard import QuotaGuard
from babygun.intake.request import EmailRequest
from babygun.routing.routes import load_routes
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.domains.change import delete_domain
from babygun.store.unsubscribe.keys import UnsubscribeKeys
from tests.intake.conftest import caller
from tests.intake.requests import email_request
from tests.store.domains.steps import client_of, new_domain, sealing
from tests.support.invariants import snapshot

REFUSAL = (
    "This client holds no sending domain for {}. Make one with POST /domains, or ask an operator to"
    " give it to this client."
)


def intake_of(store: Store) -> Intake:
    routes = load_routes(store.settings)
    return Intake(store, routes, QuotaGuard(store), UnsubscribeKeys(store))


@pytest.fixture
async def strict(settings: Settings) -> AsyncIterator[Store]:
    wanted = replace(settings, relay_url="smtp://127.0.0.1:2525", require_domains=True)
    async with Store(sealing(wanted)) as store:
        yield store


async def refused(intake: Intake, client_id: str, **changes: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidEmail) as error:
        await intake.accept(email_request(**changes), client=caller(client_id))
    return [(one.field, one.detail) for one in error.value.violations]


async def test_sender_of_a_domain_that_the_client_does_not_hold_is_refused_and_named(
    strict: Store,
) -> None:
    client, other = await client_of(strict, "shop"), await client_of(strict, "other")
    await new_domain(strict, other, "example.com")
    found = await refused(intake_of(strict), client, sender="Shop <shop@news.Example.com>")
    assert found == [("sender", REFUSAL.format("news.example.com"))]
    assert not (await snapshot(strict)).emails


async def test_sender_of_an_own_domain_or_below_it_is_accepted(strict: Store) -> None:
    client = await client_of(strict, "shop")
    await new_domain(strict, client, "xn--bcher-kva.example")
    intake = intake_of(strict)
    for sender in ("a@bücher.example", "a@XN--BCHER-KVA.example", "A <a@x.y.bücher.example>"):
        assert (await intake.accept(email_request(sender=sender), client=caller(client))).email_id
    for sender in ("a@notbücher.example", "a@example", "a@[192.0.2.1]"):
        assert [field for field, _ in await refused(intake, client, sender=sender)] == ["sender"]


async def test_domain_rule_is_one_of_all_that_an_answer_names(strict: Store) -> None:
    client = await client_of(strict, "shop")
    found = await refused(intake_of(strict), client, to="nobody", tags=["a b"])
    assert [field for field, _ in found] == ["sender", "to", "tags[0]"]
    wrong = await refused(intake_of(strict), client, sender="nobody")
    assert [field for field, _ in wrong] == ["sender"] and "domain" not in wrong[0][1]


async def test_email_of_a_batch_is_refused_alone(strict: Store) -> None:
    client = await client_of(strict, "shop")
    await new_domain(strict, client, "example.com")
    entries: list[EmailRequest] = [
        email_request(sender=f"a@{domain}")
        for domain in ("example.com", "other.example", "news.example.com")
    ]
    batch = await intake_of(strict).accept_batch(entries, client=caller(client), all_or_none=False)
    assert [item.email_id is None for item in batch.items] == [False, True, False]
    with pytest.raises(InvalidEmail) as error:
        await intake_of(strict).accept_batch(entries, client=caller(client))
    assert [(one.field, one.detail) for one in error.value.violations] == [
        ("[1].sender", REFUSAL.format("other.example"))
    ]


async def test_domain_that_another_process_made_this_moment_is_found(
    strict: Store, settings: Settings
) -> None:
    client = await client_of(strict, "shop")
    await new_domain(strict, client, "example.com")
    async with Store(strict.settings) as elsewhere:
        accepted = await intake_of(elsewhere).accept(
            email_request(sender="a@a.b.example.com"), client=caller(client)
        )
        assert accepted.email_id


async def test_domain_that_is_deleted_is_not_sent_from(strict: Store) -> None:
    client = await client_of(strict, "shop")
    await new_domain(strict, client, "example.com")
    await delete_domain(strict, "example.com")
    assert await refused(intake_of(strict), client)


async def test_sender_is_not_refused_while_nobody_knows_the_domains(
    strict: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_domains, "_MOST_READ", 3)
    client = await client_of(strict, "shop")
    await new_domain(strict, client, "d.example")
    entries = [email_request(sender=f"a@{name}.example") for name in "abcd"]
    async with Store(strict.settings) as elsewhere:
        intake = intake_of(elsewhere)
        with pytest.raises(NotAcknowledged, match=r"not read yet\. Nothing is stored"):
            await intake.accept_batch(entries, client=caller(client))
    nowhere = replace(strict.settings, etcd_endpoints=("http://127.0.0.1:1",), etcd_timeout=0.5)
    async with Store(nowhere) as away:
        with pytest.raises(NotAcknowledged, match="Nothing is stored"):
            await intake_of(away).accept(email_request(), client=caller(client))


async def test_without_the_setting_any_sender_is_taken_and_no_domain_is_read(
    intake: Intake, store: Store
) -> None:
    domain = SendingDomain("example.com", ("other",), utc_now(), utc_now())
    store.domains.learn(domain, 1)
    assert (await intake.accept(email_request(), client=caller("shop"))).email_id
