"""GET and POST of a link to unsubscribe, over HTTP."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from babygun.api.unsubscribe.limits import LinkLimits
from babygun.store import Store, codec
from babygun.store.access.clients import create_client, delete_client
from babygun.store.keys import range_end
from babygun.store.records import Client
from babygun.store.suppressions.suppressions import get_one
from babygun.store.unsubscribe.keys import UnsubscribeKeys
from babygun.store.unsubscribe.tokens import make_token
from babygun.store.webhooks.change import create_webhook
from tests.support.api import Answer, RunningApi, StartApi
from tests.support.processes import PATIENCE
from tests.support.proxy import Proxy

# As Gmail, Yahoo and others send it (RFC 8058, 3.2).
ONE_CLICK = {"data": b"List-Unsubscribe=One-Click"}
FORM = "application/x-www-form-urlencoded"


@dataclass
class Shop:
    """A client with a webhook, and a link of its mail."""

    api: RunningApi
    store: Store
    client: Client
    token: str

    @property
    def path(self) -> str:
        return f"/unsubscribe/{self.token}"

    async def click(self, path: str = "", **options: object) -> Answer:
        """A mail program's POST."""
        sent: dict[str, object] = {"content_type": FORM} | ONE_CLICK | options
        return await self.api.call("POST", path or self.path, token="", **sent)  # type: ignore[arg-type]

    async def reason(self) -> str | None:
        found = await get_one(self.store, self.client.identity, "ann@example.org", list_name="news")
        return found.reason if found else None

    async def events(self) -> list[str]:
        prefix = self.store.keys.notices
        found = await self.store.client.range(prefix, range_end(prefix))
        return [json.loads(bytes(codec.decode_notice(kv.value).event))["type"] for kv in found.kvs]


@pytest.fixture
async def shop(
    api: RunningApi, store: Store, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Shop]:
    client, _ = await create_client(store, name="shop", scopes=("emails:send",))
    await create_webhook(store, client.identity, url="https://example.com/hook")
    key = await UnsubscribeKeys(store).current()
    token = make_token(key.kid, key.secret, client.identity, "news", "ann@example.org")
    found = Shop(api, store, client, token)
    with monkeypatch.context() as waiting:
        waiting.setattr(LinkLimits, "wrong", lambda self, address: 0)  # these tries don't count
        # Until this process's watches have brought client and key.
        while (await api.call("GET", found.path, token="")).status != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    yield found


async def test_page_has_a_button_and_changes_nothing_however_often_programs_fetch_it(
    shop: Shop,
) -> None:
    for method in ("GET", "HEAD", "GET"):
        answer = await shop.api.call(method, shop.path, token="")
        assert answer.status == 200
    assert '<button type="submit">Unsubscribe</button>' in answer.text
    assert "a…@example.org" in answer.text and "news" in answer.text
    assert (await shop.api.call("GET", shop.path + "?utm_source=x", token="")).status == 200
    assert await shop.reason() is None and await shop.events() == []


async def test_answer_has_no_cookie_and_a_strict_policy(shop: Shop) -> None:
    for answer in (await shop.api.call("GET", shop.path, token=""), await shop.click()):
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; ")
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
        assert "Set-Cookie" not in answer.headers and "Location" not in answer.headers


async def test_click_of_a_mail_program_unsubscribes_once_with_one_event(shop: Shop) -> None:
    before = await shop.api.metrics()
    for _ in range(2):
        answer = await shop.click(headers={"User-Agent": "GmailImageProxy"})
        assert answer.status == 200 and "You are unsubscribed" in answer.text
    assert await shop.reason() == "unsubscribe"
    assert await shop.events() == ["unsubscribed"]
    after = await shop.api.metrics()
    for outcome in ("unsubscribed", "repeated"):
        calls = "babygun_unsubscribe_calls_total"
        assert after.since(before, calls, outcome=outcome) == 1
    written = "babygun_suppressions_written_total"
    assert after.since(before, written, reason="unsubscribe") == 1


async def test_click_as_multipart_unsubscribes(shop: Shop) -> None:
    part = 'Content-Disposition: form-data; name="List-Unsubscribe"'
    body = f"--x\r\n{part}\r\n\r\nOne-Click\r\n--x--\r\n"
    answer = await shop.click(data=body.encode(), content_type="multipart/form-data; boundary=x")
    assert answer.status == 200 and await shop.reason() == "unsubscribe"


async def test_post_of_something_else_asks_again_and_changes_nothing(shop: Shop) -> None:
    for body in [b"", b"x=1", b"One-Click", b"List-Unsubscribe="]:
        answer = await shop.click(data=body)
        assert answer.status == 400 and "<button" in answer.text
        assert await shop.reason() is None


async def test_body_beyond_4_kib_is_refused_and_changes_nothing(shop: Shop) -> None:
    answer = await shop.click(data=ONE_CLICK["data"] + b"&x=" + b"x" * 5000)
    assert answer.status == 413 and "Please try again later" in answer.text
    assert await shop.reason() is None


async def test_link_that_is_not_ours_gets_the_same_plain_page(shop: Shop) -> None:
    for wrong in [
        lambda token: token[:-1],
        lambda token: token[:20],
        lambda token: token + "A",
        lambda token: token + "/x",
        lambda token: token + "/",
        lambda token: "A" * len(token),
        lambda token: "A" * 7000,
        lambda token: "%2e%2e%2f" + token,
        lambda token: "%ff",
        lambda token: "",
    ]:
        path = "/unsubscribe/" + wrong(shop.token)  # type: ignore[operator]
        for answer in (await shop.api.call("GET", path, token=""), await shop.click(path)):
            assert answer.status == 404 and "This link does not work" in answer.text
            assert "Retry-After" not in answer.headers
        assert await shop.reason() is None


async def test_link_of_a_client_that_is_deleted_or_made_again_gets_the_plain_page(
    shop: Shop,
) -> None:
    await delete_client(shop.store, shop.client.id)
    while (await shop.api.call("GET", shop.path, token="")).status == 200:  # noqa: ASYNC110
        await asyncio.sleep(0.02)  # far below the rate of good links
    assert (await shop.click()).status == 404
    await create_client(shop.store, name="shop", scopes=(), client_id=shop.client.id)
    assert (await shop.click()).status == 404
    assert await shop.reason() is None


async def test_too_many_wrong_links_get_429_while_right_ones_work(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LinkLimits, "wrong", lambda self, address: 7)
    answer = await shop.api.call("GET", "/unsubscribe/x", token="")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
    assert (await shop.click()).status == 200
    monkeypatch.setattr(LinkLimits, "right", lambda self, address: 3)
    answer = await shop.click()
    assert (answer.status, answer.headers["Retry-After"]) == (429, "3")


async def test_no_line_of_the_log_has_a_token(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "babygun"):
        await shop.api.call("GET", shop.path, token="")
        await shop.click()
        await shop.click(shop.path + "x")
        await shop.api.call("DELETE", shop.path, token="")
        await shop.api.call("GET", "/elsewhere" + shop.path, token="")
    lines = [(record.message, record.fields) for record in caplog.records]  # type: ignore[attr-defined]
    paths = [fields["path"] for event, fields in lines if event == "request"]
    assert paths.count("/unsubscribe/…") == 4 and "/elsewhere/unsubscribe/…" in paths
    assert not any(shop.token in repr(line) for line in lines)
    [unsubscribed] = [fields for event, fields in lines if event == "unsubscribed"]
    assert unsubscribed["client"] == shop.client.id and unsubscribed["list"] == "news"


async def test_link_asks_to_try_again_while_etcd_is_away(
    far: RunningApi, proxy: Proxy, store: Store
) -> None:
    client, _ = await create_client(store, name="shop", scopes=())
    key = await UnsubscribeKeys(store).current()
    token = make_token(key.kid, key.secret, client.identity, "news", "ann@example.org")
    shop = Shop(far, store, client, token)
    while (await far.call("GET", shop.path, token="")).status != 200:
        pass
    proxy.cut()
    before = await far.metrics()
    assert (await far.call("GET", shop.path, token="")).status == 200
    answer = await shop.click()
    assert answer.status == 503 and "Please try again later" in answer.text
    assert int(answer.headers["Retry-After"]) > 0
    calls, after = "babygun_unsubscribe_calls_total", await far.metrics()
    assert [after.since(before, calls, outcome=each) for each in ("shown", "failed")] == [1, 1]
    assert await shop.reason() is None


async def test_first_email_with_a_link_makes_the_key_and_its_token_works(
    start_api: StartApi, store: Store
) -> None:
    api = await start_api(public_url="https://mail.example.com/x")
    email_id = await api.accepted(unsubscribe={"list": "news"})
    content = await store.client.get(store.keys.chunk(email_id, 0))
    record = await store.client.get(store.keys.email(email_id))
    assert content is not None and record is not None
    link = codec.decode_content(content.value).unsubscribe
    email = codec.decode_email(record.value)
    assert link is not None and link.url == "https://mail.example.com/x/unsubscribe"
    assert email.list == "news"
    key = await UnsubscribeKeys(store).find(link.kid)
    token = make_token(link.kid, key.secret, email.client_id, "news", "ann@example.org")
    async with asyncio.timeout(PATIENCE):  # the watch brings the key and the client a moment later
        while (await api.call("GET", f"/unsubscribe/{token}", token="")).status != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
