"""``babygun webhooks``, against a real API."""

from __future__ import annotations

import json

from tests.support.commands import Command

URL = "https://shop.example.com/mail"


async def created(with_api: Command, *words: str) -> str:
    """The id of a new webhook."""
    made = await with_api("webhooks", "create", URL, *words)
    assert made.status == 0, made.error
    rows = dict(line.split() for line in made.out.splitlines())
    assert rows["secret"].startswith("whsec_")
    return rows["id"]


async def test_webhook_is_created_shown_changed_and_deleted(with_api: Command) -> None:
    assert "no webhooks yet" in (await with_api("webhooks", "list")).out
    words = ("--event", "bounced", "--event", "expired", "--tag", "order", "--description", "x y")
    id = await created(with_api, *words)
    [head, row] = (await with_api("webhooks", "list")).out.splitlines()
    assert head.split() == ["ID", "STATUS", "WAITING", "EVENTS", "TAGS", "URL"]
    assert row.split() == [id, "new", "0", "bounced,expired", "order", URL]
    changed = await with_api(
        "webhooks", "change", id, "--event", "*", "--tag", "", "--disable", "--url", f"{URL}/2"
    )
    assert changed.status == 0, changed.error
    shown = (await with_api("webhooks", "show", id)).out
    assert shown == changed.out
    for name, value in (
        ("WEBHOOK", id),
        ("url", f"{URL}/2"),
        ("events", "*"),
        ("tags", "any"),
        ("description", "x y"),
        ("status", "disabled"),
    ):
        assert any(line.split(maxsplit=1) == [name, value] for line in shown.splitlines()), name
    on = await with_api("webhooks", "change", id, "--enable", "--json")
    assert json.loads(on.out)["enabled"] is True
    secret = await with_api("webhooks", "secret", id)
    assert (
        secret.out.startswith("secret  whsec_") and "the old secret also signs until" in secret.out
    )
    assert (await with_api("webhooks", "delete", id)).status == 0
    gone = await with_api("webhooks", "show", id)
    assert gone.status == 1 and "no webhook with this id" in gone.error
    assert json.loads((await with_api("webhooks", "list", "--json")).out) == {"webhooks": []}


async def test_webhooks_of_one_client_are_listed(with_api: Command) -> None:
    id = await created(with_api)
    client = json.loads((await with_api("webhooks", "show", id, "--json")).out)["client_id"]
    mine = await with_api("webhooks", "list", "--client", client, "--json")
    assert [one["id"] for one in json.loads(mine.out)["webhooks"]] == [id]
    assert "no webhooks yet" in (await with_api("webhooks", "list", "--client", "nobody")).out


async def test_webhooks_say_what_is_wrong_in_one_sentence(with_api: Command) -> None:
    id = await created(with_api)
    for words, said in (
        (("create", "http://shop.example.com/"), "begin with https://"),
        (("create", URL, "--event", "bounce"), "did you mean bounced?"),
        (("create", URL, "--secret", "x"), "24 to 64 random bytes"),
        (("change", id, "--url", "https://127.0.0.1/"), "webhook_allow_networks"),
        (("show", "wh_x"), "no webhook with this id"),
        (("replay", id), "event_ids"),
        (("deliveries", id, "--cursor", "x"), "cursor"),
    ):
        refused = await with_api("webhooks", *words)
        assert refused.status == 1 and len(refused.error.splitlines()) == 1, refused
        assert said in refused.error
    assert (await with_api("webhooks", "change", id, "--enable", "--disable")).status == 2
    assert (await with_api("webhooks")).status == 2


async def test_event_that_is_not_kept_is_named(with_api: Command) -> None:
    id = await created(with_api)
    assert (await with_api("webhooks", "deliveries", id)).out == "none\n"
    event_id = "019ab8c2-7f41-7d3a-9c55-2b7e4f1a90c8-0001-delivered"
    missing = await with_api("webhooks", "replay", id, "--event", event_id)
    assert missing.status == 1
    assert missing.out.splitlines() == ["0 to be sent again", f"{event_id} is not kept"]
    nothing = await with_api("webhooks", "replay", id, "--since", "2030-01-31T08:00:00Z")
    assert nothing.status == 1 and "in the past" in nothing.error
