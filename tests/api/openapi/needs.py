"""What is there before each documented call is made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from msgspec.structs import replace

from babygun.api.emails.fields import OTHER_ID
from babygun.api.webhooks.documents import WEBHOOK_ID
from babygun.email.suppression import ALL_MAIL, Suppression
from babygun.runtime.clock import utc_now
from babygun.store.access.clients import change_client, create_client
from babygun.store.access.usage import change_usage
from babygun.store.codec import decode_notice
from babygun.store.domains.change import read_domain
from babygun.store.suppressions.suppressions import add
from babygun.store.webhooks.notices import Outcome, finish, read_ready, take
from babygun.store.webhooks.records import NoticeResult
from tests.api.openapi import operators_needs
from tests.api.openapi.world import ADDRESS, BOUNCED, LATER, Before, Needs, World
from tests.store.domains.steps import seen_in_dns
from tests.support.tries import WORKER


async def limited_client(world: World) -> None:
    """The shop has limits, and has used up a part."""
    await change_client(
        world.store,
        world.shop.id,
        lambda client: replace(client, rate=50.0, recipients_per_day=10000),
    )
    await change_usage(
        world.store, world.shop.identity, lambda usage, _: replace(usage, recipients=1280)
    )


async def scheduled(world: World) -> None:
    await world.email(send_at=(utc_now() + timedelta(days=2)).isoformat())


async def cancelled(world: World) -> None:
    id = await world.email()
    await world.api.call("POST", f"/emails/{id}/cancel", token=world.shops_token)


def and_a_delivered_one(before: Before) -> Before:
    """What the calls on many e-mails need."""

    async def both(world: World) -> None:
        await before(world)
        await world.delivered(OTHER_ID)

    return both


async def deferred(world: World) -> None:
    await world.email()
    await world.tried(LATER)


async def with_html(world: World) -> None:
    await world.email(html="<p>Thank you!</p>")


async def some_of_each(world: World) -> None:
    await world.delivered()
    await deferred(world)
    await bounced(world)


async def bounced(world: World) -> None:
    await world.email(to=ADDRESS)
    await world.tried(BOUNCED)


async def webhook(world: World) -> None:
    made = await world.called(
        "POST", "/webhooks", {"url": "https://shop.example.com/webhooks/mail"}
    )
    world.names[WEBHOOK_ID] = made["id"]


async def webhook_with_sent_event(world: World) -> None:
    """Its endpoint has got what came of an e-mail."""
    await webhook(world)
    id = world.names[WEBHOOK_ID]
    await world.called("PATCH", f"/webhooks/{id}", {"events": ["delivered"]})
    await world.delivered()
    store = world.store
    taken = await take(store, id, worker_id=WORKER, lease_id=await store.client.grant(600))
    assert taken is not None
    [stored] = (await read_ready(store, id, 9)).notices
    notice = decode_notice(stored.value)
    last = NoticeResult(utc_now(), status_code=204, answer="")
    sent = replace(notice, tries=1, state="sent", last=last)
    assert await finish(store, id, taken.token, [Outcome(stored, sent)])


async def domain(world: World) -> None:
    await world.called("POST", "/domains", {"name": "example.com"})


async def signing_domain(world: World) -> None:
    """Its key is in DNS, and signs."""
    await domain(world)
    found = await read_domain(world.store, "example.com")
    assert found is not None
    await seen_in_dns(world.store, found)


async def shared_domain(world: World) -> None:
    for name in ("shop", "newsletter"):
        await create_client(world.store, name=name, scopes=("domains",), client_id=name)
    await domain(world)


async def suppressed(world: World) -> None:
    await add(
        world.store,
        world.shop.identity,
        ADDRESS,
        Suppression("unsubscribe", utc_now()),
        list_name=ALL_MAIL,
    )


async def suppressed_by_call(world: World) -> None:
    await world.called("POST", "/suppressions", {"email": ADDRESS})


async def known_recipient(world: World) -> None:
    """An e-mail for nobody else, one for another recipient, too, and a suppression."""
    await world.delivered()
    await world.email(to=[ADDRESS, "bob@example.org"])
    await suppressed(world)


async def plain_text(world: World) -> None:
    await world.email(to=ADDRESS, headers=None, attachments=None)


_ONE_BAD_ROW = """\
POST /suppressions/import HTTP/1.1
Authorization: Bearer <token>
Content-Type: text/csv

email
ann@example.org
bob
carl@example.org"""
WAITS = Needs(World.email, free=("revision",))
SHOWN = Needs(World.delivered, free=("revision",))
NEEDS: Mapping[str, Needs] = {
    "show_token": Needs(free=("expires_in",)),
    "show_client": Needs(limited_client),
    "change_client": Needs(limited_client),
    "send_emails-207": Needs(number=1),
    "list_emails": SHOWN,
    "count_emails": Needs(some_of_each, free=("seconds",)),
    "show_email": SHOWN,
    "show_log": SHOWN,
    "show_html": Needs(with_html),
    "cancel_email": WAITS,
    "retry_email": Needs(cancelled, free=("revision",)),
    "send_email_now": Needs(scheduled, free=("revision",)),
    "edit_email": Needs(scheduled, free=("revision",)),
    "cancel_emails": Needs(and_a_delivered_one(World.email)),
    "retry_emails": Needs(and_a_delivered_one(cancelled)),
    "send_emails_now": Needs(and_a_delivered_one(scheduled)),
    "show_source": Needs(plain_text),
    "show_attachment": WAITS,
    "show_schedule": Needs(deferred),
    "list_domains": Needs(domain),
    "show_domain": Needs(domain),
    "verify_domain": Needs(domain),
    "rotate_keys": Needs(signing_domain),
    "share_domain": Needs(shared_domain),
    "delete_domain": Needs(domain),
    "list_webhooks": Needs(webhook),
    "show_webhook": Needs(webhook),
    "change_webhook": Needs(webhook),
    "delete_webhook": Needs(webhook),
    "rotate_secret": Needs(webhook),
    "list_deliveries": Needs(webhook_with_sent_event),
    "send_test": Needs(webhook),
    "replay_events": Needs(webhook_with_sent_event),
    "export_suppressions": Needs(suppressed),
    "list_all": Needs(bounced),
    "show_suppression": Needs(bounced),
    "remove_suppression": Needs(bounced),
    "import_suppressions-207": Needs(request=_ONE_BAD_ROW),
    "add_suppression-200": Needs(suppressed_by_call),
    "erase_recipient_data": Needs(known_recipient, free=("read",)),
    "export_recipient_data": Needs(suppressed),
    **operators_needs.NEEDS,
}
