"""Changes whose answers leave a doubt: each is made once, or not at all, and the caller knows it.

Each request of each change goes wrong in its turn, on a real etcd.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from babygun.api.app import ROUTES
from babygun.email.suppression import Suppression
from babygun.errors import Conflict, EtcdError, EtcdUnavailable, NotFound, OutcomeUnknown
from babygun.pki.sealing import new_key
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store import Store, codec
from babygun.store.access import clients
from babygun.store.access.client_secrets import verify_secret
from babygun.store.domains import change as domains
from babygun.store.domains.dkim_keys import read_private_key, reseal
from babygun.store.keys import range_end
from babygun.store.records import SealedKey, SomeLimits
from babygun.store.sites import holds, limits
from babygun.store.suppressions import suppressions
from babygun.store.suppressions.suppressions import NewSuppression
from babygun.store.unsubscribe.tokens import Subscription
from babygun.store.unsubscribe.unsubscribe import unsubscribe
from babygun.store.warm_ups import sources
from babygun.store.webhooks import change as webhooks
from babygun.store.webhooks.trial import write_test_event
from tests.store.domains.steps import client_of, new_domain, sealing
from tests.store.webhooks.steps import URL, owned
from tests.support.faulty_etcd import Fault, faulty
from tests.support.rig import changed

ANN = "ann@example.org"


class Place(NamedTuple):
    """Where one change is tried: what it is about, and the identity of a client of its own."""

    store: Store
    name: str
    client: str


class Change(NamedTuple):
    """``prepare``: what must be there; returns what ``make`` gets, beside the faulty store.

    ``check``: what holds after the change, by what it gave.
    """

    prepare: Callable[[Place], Awaitable[Any]]
    make: Callable[[Store, Place, Any], Awaitable[Any]]
    check: Callable[[Place, Any, Any], Awaitable[bool]]


async def nothing(place: Place) -> None:
    """Nothing but the client."""


async def truth(place: Place, before: Any, made: Any) -> bool:
    return bool(made)


async def a_webhook(place: Place) -> Any:
    return (await webhooks.create_webhook(place.store, place.client, url=URL))[0]


async def an_owned_webhook(place: Place) -> Any:
    webhook = await a_webhook(place)
    return webhook, await owned(place.store, webhook)


async def a_domain(place: Place) -> Any:
    return await new_domain(place.store, place.client, place.name)


async def a_domain_of_an_old_key(place: Place) -> Any:
    old = changed(place.store.settings, secrets_keys=place.store.settings.secrets_keys[1:])
    async with Store(old) as store:
        return await new_domain(store, place.client, place.name)


async def a_suppression(place: Place) -> Any:
    return await suppressions.add(place.store, place.client, ANN, SUPPRESSION)


async def a_hold(place: Place) -> Any:
    return await hold(place.store, place, None)


async def a_limit(place: Place) -> Any:
    return await limit(place.store, place, None)


async def a_warm_up(place: Place) -> Any:
    await sources.begin(place.store, place.name, utc_now() - timedelta(days=9))


async def hold(store: Store, place: Place, _: Any) -> Any:
    until = utc_now() + timedelta(hours=1)
    return await holds.begin_by_operator(store, place.name, "slow", until=until, by="root")


async def limit(store: Store, place: Place, _: Any) -> Any:
    until, few = utc_now() + timedelta(hours=1), SomeLimits(connections=2)
    return await limits.write_by_operator(
        store, place.name, few, reason="slow", until=until, by="root"
    )


async def is_as_returned(place: Place, before: Any, made: Any) -> bool:
    """Whether a client, a webhook, a domain, a hold, a limit or a source is as the call said."""
    store = place.store
    client_id = place.client.partition(":")[0]
    return made in [
        await clients.get_client(store, client_id),
        *await webhooks.list_webhooks(store, place.client),
        await domains.read_domain(store, place.name),
        *await holds.list_holds(store),
        *await limits.list_limits(store),
        await sources.read_source(store, place.name),
    ]


async def is_a_clients_secret(place: Place, before: Any, made: Any) -> bool:
    client, secret = made
    there = await clients.get_client(place.store, client.id)
    return there == client and verify_secret(client, secret, utc_now())


async def is_the_next_clients_secret(place: Place, before: Any, made: Any) -> bool:
    """The one in use still works."""
    return await is_a_clients_secret(place, before, made) and verify_secret(
        made[0], SECRET, utc_now()
    )


async def is_a_webhooks_secret(place: Place, before: Any, made: Any) -> bool:
    webhook, secret = made
    there = await webhooks.read_secret(place.store, webhook.id)
    return there is not None and there.secret == secret


async def is_the_next_webhooks_secret(place: Place, before: Any, made: Any) -> bool:
    there = await webhooks.read_secret(place.store, before.id)
    return there == made and made.previous is not None


async def has_one_new_key(place: Place, before: Any, made: Any) -> bool:
    store, name = place.store, place.name
    assert await domains.read_domain(store, name) == made
    for selector in made.selectors:
        await read_private_key(store, name, selector.name)
    prefix = store.keys.domain_ranges(name)[0]
    found = await store.client.range(prefix, range_end(prefix), keys_only=True)
    return len(made.selectors) == len(found.kvs) == 1


async def is_resealed(place: Place, before: Any, made: Any) -> bool:
    """And is counted."""
    store = place.store
    key = store.keys.dkim_key(place.name, before.selectors[0].name)
    found = await store.client.get(key)
    assert found and store.sealer
    return (
        made.resealed == 1
        and codec.decode_state(found.value, SealedKey).key_id == store.sealer.key_id
    )


async def is_gone(place: Place, before: Any, made: Any) -> bool:
    client_id = place.client.partition(":")[0]
    return bool(made) and await clients.get_client(place.store, client_id) is None


async def is_counted(place: Place, before: Any, made: Any) -> bool:
    there = await suppressions.get_one(place.store, place.client, ANN)
    return there == SUPPRESSION and made in ((SUPPRESSION, True), suppressions.Imported(1, 0))


SECRET = "the secret in use"
SUPPRESSION = Suppression("manual", utc_now())
# By the name that the API or a command has for it.
CHANGES: dict[str, Change] = {
    "createClient": Change(
        nothing,
        lambda store, place, _: clients.create_client(
            store, name="app", scopes=(), client_id=f"new-{place.name}"
        ),
        is_a_clients_secret,
    ),
    "changeClient": Change(
        nothing,
        lambda store, place, _: clients.change_client(
            store, place.client.partition(":")[0], lambda one: replace(one, weight=7)
        ),
        is_as_returned,
    ),
    "rotateClientSecret": Change(
        nothing,
        lambda store, place, _: clients.rotate_secret(store, place.client.partition(":")[0]),
        is_the_next_clients_secret,
    ),
    "deleteClient": Change(
        nothing,
        lambda store, place, _: clients.delete_client(store, place.client.partition(":")[0]),
        is_gone,
    ),
    "makeWebhook": Change(
        nothing,
        lambda store, place, _: webhooks.create_webhook(store, place.client, url=URL),
        is_a_webhooks_secret,
    ),
    "changeWebhook": Change(
        a_webhook,
        lambda store, place, webhook: webhooks.change_webhook(
            store, place.client, webhook.id, lambda one: replace(one, description="x")
        ),
        is_as_returned,
    ),
    "disableWebhook": Change(
        an_owned_webhook,
        lambda store, place, known: webhooks.disable_webhook(store, place.client, *known, "410"),
        is_as_returned,
    ),
    "deleteWebhook": Change(
        a_webhook,
        lambda store, place, webhook: webhooks.delete_webhook(store, place.client, webhook.id),
        truth,
    ),
    "rotateSecret": Change(
        a_webhook,
        lambda store, place, webhook: webhooks.rotate_secret(store, place.client, webhook.id),
        is_the_next_webhooks_secret,
    ),
    "sendTest": Change(
        a_webhook,
        lambda store, place, webhook: write_test_event(store, place.client, webhook.id),
        truth,
    ),
    "makeDomain": Change(
        nothing,
        lambda store, place, _: new_domain(store, place.client, place.name),
        has_one_new_key,
    ),
    "shareDomain": Change(
        a_domain,
        lambda store, place, _: domains.share_domain(store, place.name, [OTHER, place.client]),
        is_as_returned,
    ),
    "rotateKeys": Change(
        a_domain,
        lambda store, place, _: domains.rotate_keys(store, place.name),
        has_one_new_key,
    ),
    "verifyDomain": Change(
        a_domain,
        lambda store, place, domain: domains.checked(
            store, place.name, (), "verified", {domain.selectors[0].name}, utc_now()
        ),
        is_as_returned,
    ),
    "deleteDomain": Change(
        a_domain,
        lambda store, place, _: domains.delete_domain(store, place.name, holder=place.client),
        truth,
    ),
    "resealDomains": Change(
        a_domain_of_an_old_key, lambda store, place, _: reseal(store), is_resealed
    ),
    "unsubscribe": Change(
        nothing,
        lambda store, place, _: unsubscribe(store, Subscription(place.client, "news", ANN)),
        truth,
    ),
    "addSuppression": Change(
        nothing,
        lambda store, place, _: suppressions.add(store, place.client, ANN, SUPPRESSION),
        is_counted,
    ),
    "importSuppressions": Change(
        nothing,
        lambda store, place, _: suppressions.add_page(
            store, place.client, [NewSuppression(ANN, SUPPRESSION)]
        ),
        is_counted,
    ),
    "removeSuppression": Change(
        a_suppression,
        lambda store, place, _: suppressions.remove(store, place.client, ANN),
        truth,
    ),
    "holdSite": Change(nothing, hold, is_as_returned),
    "resumeSite": Change(
        a_hold, lambda store, place, _: holds.end_by_operator(store, place.name), truth
    ),
    "limitSite": Change(nothing, limit, is_as_returned),
    "unlimitSite": Change(a_limit, lambda store, place, _: limits.end(store, place.name), truth),
    "skipWarmUp": Change(
        a_warm_up,
        lambda store, place, _: sources.skip(store, place.name, by="root"),
        is_as_returned,
    ),
    "restartWarmUp": Change(
        a_warm_up,
        lambda store, place, _: sources.begin_again(store, place.name, by="root"),
        is_as_returned,
    ),
}
# Audited calls that change nothing, or in many steps. Such a step is a write of its own.
OTHERS = {"exportRecipientData", "eraseRecipientData", "replayEvents"}
OTHER = ""  # the identity of a client that is there
# What happens to one request, and to those after it.
COURSES: list[tuple[Fault, ...]] = [
    ("full",),
    ("full", "full"),
    ("full", "refused"),
    ("unanswered",),
    ("unanswered", "refused"),
    ("lost",),
    ("overtaken",),
]
LAST = 5  # request of a change that goes wrong: all changes have written by then


@pytest.fixture
async def store(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    async with Store(sealing(settings, new_key(), new_key())) as store:
        monkeypatch.setitem(globals(), "OTHER", await client_of(store, "other"))
        yield store


async def versions(store: Store) -> dict[bytes, tuple[bytes, int]]:
    """What all keys say, and how often each was written. Leases of all e-mails do not count."""
    prefix = store.keys.prefix
    found = await store.client.range(prefix, range_end(prefix))
    return {
        kv.key: (kv.value, kv.version)
        for kv in found.kvs
        if not kv.key.startswith(prefix + b"retention/")
    }


@pytest.mark.parametrize("name", CHANGES)
async def test_change_is_made_once_or_not_at_all_and_the_caller_knows(
    store: Store, name: str
) -> None:
    change, number = CHANGES[name], 0
    for course in COURSES:
        for first in range(1, LAST + 1):
            number += 1
            subject = f"s{number}.example"
            client, _ = await clients.create_client(
                store, name="app", scopes=(), client_id=f"c{number}", secret=SECRET
            )
            place = Place(store, subject, client.identity)
            known = await change.prepare(place)
            before = await versions(store)
            faults = {first + n: fault for n, fault in enumerate(course)}
            made, error = await _made(store, change, place, known, faults)
            after = await versions(store)
            said = f"{name}: request {first} {course}: {error!r}"
            if isinstance(error, OutcomeUnknown):
                assert course[-1] == "refused", said
            elif error is not None:
                assert isinstance(error, EtcdError), f"{said}: it met itself"
                assert after == before, f"{said}, and it is written"
            else:
                assert await change.check(place, known, made), said
                assert after != before, said
                assert all(
                    version - before.get(key, (b"", 0))[1] <= 1
                    for key, (_, version) in after.items()
                ), f"{said}: written twice"


async def _made(
    store: Store, change: Change, place: Place, known: Any, faults: dict[int, Fault]
) -> tuple[Any, Exception | None]:
    async with faulty(store.settings) as process:
        for pool in (process.store.suppression_leases, process.store.usage_leases):
            await pool.lease(1)

        async def make(own: Store) -> Any:
            return await change.make(own, place, known)

        try:
            return await process.do(make, faults=faults), None
        except (EtcdError, Conflict, NotFound) as error:
            return None, error


def test_each_audited_call_is_looked_at() -> None:
    """The audit says `failed` where etcd is full: so it has to be certain."""
    assert {route.operation_id for route in ROUTES if route.audited} <= {*CHANGES, *OTHERS}


async def test_change_that_etcd_has_refused_for_certain_is_no_doubt(store: Store) -> None:
    async with faulty(store.settings) as process:
        with pytest.raises(EtcdUnavailable):
            await process.do(
                lambda own: clients.create_client(own, name="app", scopes=(), client_id="app"),
                faults={2: "refused"},
            )
