"""The page's sign-in: the cookie, what it may do, and who may not use it."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, replace
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from babygun.api.access.session import COOKIE
from babygun.pki.issuance import issue
from babygun.pki.layout import https_only
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.access.clients import delete_client
from babygun.store.cluster import health
from tests.support.api import Answer, RunningApi, StartApi, running
from tests.support.processes import PATIENCE

PAGE = {"Sec-Fetch-Site": "same-origin"}


@dataclass
class Browser:
    """Sends the cookie, and what a browser says of where the call comes from."""

    api: RunningApi
    cookie: str = ""
    name: str = COOKIE

    async def call(
        self, method: str, path: str, headers: dict[str, str] | None = None, **arguments: Any
    ) -> Answer:
        sent = {
            **(PAGE if headers is None else headers),
            **({"Cookie": f"theme=dark; {self.name}={self.cookie}"} if self.cookie else {}),
        }
        return await self.api.call(method, path, token="", headers=sent, **arguments)

    async def sign_in(
        self, client_id: str, secret: str, headers: dict[str, str] | None = None
    ) -> Answer:
        answer = await self.call(
            "POST", "/session", headers, json={"client_id": client_id, "client_secret": secret}
        )
        if answer.status == 200:
            cookie = set_cookie(answer)
            self.name, self.cookie = cookie.key, cookie.value
        return answer


def set_cookie(answer: Answer) -> Any:
    [cookie] = SimpleCookie(answer.headers["Set-Cookie"]).values()
    return cookie


@pytest.fixture
async def browser(api: RunningApi) -> Browser:
    """Signed in, and may send and read."""
    browser = Browser(api)
    client, secret = await api.client()
    assert (await browser.sign_in(client.id, secret)).status == 200
    return browser


async def test_sign_in_sets_a_cookie_that_counts_as_the_header(api: RunningApi) -> None:
    client, secret = await api.client("emails:send", "emails:read")
    browser = Browser(api)
    answer = await browser.sign_in(client.id, secret)
    assert answer.json | {"expires_at": ""} == {
        "client_id": client.id,
        "name": "test",
        "scopes": ["emails:send", "emails:read"],
        "expires_at": "",
    }
    cookie = set_cookie(answer)
    assert (
        cookie["path"],
        cookie["max-age"],
        cookie["samesite"],
        cookie["httponly"],
        cookie["secure"],
    ) == ("/", "3600", "Strict", True, "")
    assert (await browser.call("GET", "/session")).json == answer.json
    sent = await browser.call(
        "POST", "/emails", json={"sender": "a@example.com", "to": "b@example.org"}
    )
    assert sent.status == 202, sent.text
    assert [e["id"] for e in (await browser.call("GET", "/emails")).json["emails"]] == [
        sent.json["id"]
    ]
    (await browser.call("GET", "/workers")).problem(403, "insufficient-scope")


async def test_session_is_nobodys_without_a_cookie(api: RunningApi) -> None:
    (await Browser(api).call("GET", "/session")).problem(401, "no-token")
    (await Browser(api, "x").call("GET", "/session")).problem(401, "invalid-token")
    answer = await api.call("GET", "/session", token="", headers={"Cookie": "a=1; ;;=; \x80"})
    answer.problem(401, "no-token")
    assert answer.headers["WWW-Authenticate"].startswith(
        "Bearer"
    )  # at Basic a browser would ask by itself


async def test_sign_in_with_wrong_credentials_is_refused_without_a_cookie(api: RunningApi) -> None:
    for body in [
        {"client_id": "nobody", "client_secret": "x"},
        {"client_id": "", "client_secret": ""},
        {"client_id": "a/b", "client_secret": "☃"},
    ]:
        answer = await Browser(api).call("POST", "/session", json=body)
        answer.problem(401, "invalid-credentials")
        assert "Set-Cookie" not in answer.headers
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_sign_in_with_another_body_names_the_field(api: RunningApi) -> None:
    for body, field in [
        ({}, "client_id"),
        ({"client_id": "x"}, "client_secret"),
        ({"client_id": 1, "client_secret": "x"}, "client_id"),
        ({"client_id": "x", "client_secret": "x", "scopes": []}, "scopes"),
    ]:
        (await Browser(api).call("POST", "/session", json=body)).problem(
            422, "invalid-request", field
        )


async def test_sign_out_ends_the_session_here_and_elsewhere(
    browser: Browser, start_api: StartApi
) -> None:
    other = Browser(await start_api(), browser.cookie)
    assert (await other.call("GET", "/session")).status == 200
    answer = await browser.call("DELETE", "/session")
    assert answer.status == 204
    cookie = set_cookie(answer)
    assert (cookie.value, cookie["max-age"], cookie["path"]) == ("", "0", "/")
    (await browser.call("GET", "/session")).problem(401, "invalid-token")
    async with asyncio.timeout(PATIENCE):
        while (await other.call("GET", "/emails")).status != 401:
            pass


async def test_session_of_a_deleted_client_ends(api: RunningApi, store: Store) -> None:
    client, secret = await api.client()
    browser = Browser(api)
    await browser.sign_in(client.id, secret)
    assert await delete_client(store, client.id)
    async with asyncio.timeout(PATIENCE):
        while (await browser.call("GET", "/emails")).status != 401:
            pass


# --- who may use the cookie ---


def elsewhere(url: str) -> dict[str, dict[str, str]]:
    """What browsers say, by case, of calls that do not come from our page."""
    host = urlsplit(url).netloc
    return {
        "another site": {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"},
        "another site that claims our origin": {"Sec-Fetch-Site": "cross-site", "Origin": url},
        "a sibling": {"Sec-Fetch-Site": "same-site", "Origin": url},
        "both": {"Sec-Fetch-Site": "same-origin, cross-site"},
        "an older browser on another site": {"Origin": "http://evil.example"},
        "another port": {"Origin": "http://127.0.0.1:1"},
        "another scheme": {"Origin": f"https://{host}"},
        "a longer host": {"Origin": f"http://{host}.evil.example"},
        "a user": {"Origin": f"http://{host}@evil.example"},
        "a sandboxed frame": {"Origin": "null"},
        "typed in": {"Sec-Fetch-Site": "none"},
        "no origin": {},
        "an empty origin": {"Origin": ""},
        "a port that is none": {"Origin": "http://127.0.0.1:x"},
    }


async def test_cookie_used_from_elsewhere_changes_nothing(browser: Browser) -> None:
    api = browser.api
    for case, headers in elsewhere(api.url).items():
        for method, path in (("POST", "/emails"), ("DELETE", "/session"), ("DELETE", "/tokens")):
            answer = await browser.call(
                method, path, headers, json={"sender": "a@example.com", "to": "b@example.org"}
            )
            assert answer.status == 403, (case, method, path)
            answer.problem(403, "cross-site")
    assert (await browser.call("GET", "/emails", {"Sec-Fetch-Site": "cross-site"})).json[
        "emails"
    ] == []


async def test_sign_in_from_elsewhere_is_refused(api: RunningApi) -> None:
    client, secret = await api.client()
    for case, headers in elsewhere(api.url).items():
        answer = await Browser(api).sign_in(client.id, secret, headers)
        assert answer.status == 403 and "Set-Cookie" not in answer.headers, case


async def test_older_browser_on_our_page_is_known_by_its_origin(browser: Browser) -> None:
    for site in [{}, {"Sec-Fetch-Site": "none"}]:
        for url in (browser.api.url, browser.api.url.upper().replace("HTTP", "http")):
            assert (
                await browser.call(
                    "POST",
                    "/emails",
                    {**site, "Origin": url},
                    json={"sender": "a@example.com", "to": "b@example.org"},
                )
            ).status == 202


async def test_origin_is_compared_with_the_host_that_the_browser_called(browser: Browser) -> None:
    for host, origin, status in [
        ("mail.example.com", "http://mail.example.com", 202),
        ("mail.example.com:80", "http://mail.example.com", 202),
        ("Mail.Example.com", "http://mail.example.com:80", 202),
        ("[::1]:8080", "http://[::1]:8080", 202),
        ("mail.example.com", "http://mail.example.com:8443", 403),
        ("mail.example.com:x", "http://mail.example.com:x", 403),
    ]:
        answer = await browser.call(
            "POST",
            "/emails",
            {"Host": host, "Origin": origin},
            json={"sender": "a@example.com", "to": "b@example.org"},
        )
        assert answer.status == status, answer.text


async def test_header_goes_before_the_cookie_and_is_not_asked_for_its_origin(
    browser: Browser,
) -> None:
    headers = {"Authorization": f"Bearer {browser.api.token}", "Sec-Fetch-Site": "cross-site"}
    email = {"sender": "a@example.com", "to": "b@example.org"}
    answer = await browser.call("POST", "/emails", headers, json=email)
    assert answer.status == 202
    (await browser.call("GET", "/emails", {"Authorization": "Bearer x"})).problem(
        401, "invalid-token"
    )


async def test_cookie_is_secure_and_the_origin_https_where_the_api_speaks_tls(
    api_settings: Settings, store: Store, tmp_path: Path
) -> None:
    list(issue(tmp_path, https_only(())))
    settings = replace(
        api_settings,
        api_cert=str(tmp_path / "api/https.pem"),
        api_key=str(tmp_path / "api/https-key.pem"),
    )
    trust = {"ssl": ssl.create_default_context(cafile=str(tmp_path / "api/api-ca.pem"))}
    async with running(settings, store) as api:
        while (await api.call("GET", "/readyz", token="", **trust)).status != 200:  # noqa: ASYNC110 (another process's state)
            await asyncio.sleep(0.02)
        client, secret = await api.client()
        browser, body = Browser(api), {"client_id": client.id, "client_secret": secret}
        (
            await browser.call(
                "POST", "/session", {"Origin": api.url.replace("https", "http")}, json=body, **trust
            )
        ).problem(403, "cross-site")
        answer = await browser.call(
            "POST",
            "/session",
            {"Origin": "https://mail.example.com", "Host": "mail.example.com"},
            json=body,
            **trust,
        )
        cookie = set_cookie(answer)
        assert (cookie.key, cookie["secure"], cookie["path"], cookie["domain"]) == (
            "__Host-babygun_session",
            True,
            "/",
            "",
        )
        browser.name, browser.cookie = cookie.key, cookie.value
        assert (await browser.call("GET", "/session", **trust)).status == 200
        # Another host of the domain can set this name: it signs nobody in.
        planted = Browser(api, browser.cookie, COOKIE)
        (await planted.call("GET", "/session", **trust)).problem(401, "no-token")
        deleted = set_cookie(await browser.call("DELETE", "/session", {"Origin": api.url}, **trust))
        assert (deleted.key, deleted["secure"]) == (cookie.key, True)


async def test_session_while_etcd_has_not_been_read_is_not_ready(
    start_api: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "START_PATIENCE", 0.2)
    api = await start_api(ready=False, etcd_endpoints=("http://127.0.0.1:1",))
    (await Browser(api).sign_in("x", "y")).problem(503, "not-ready")
    (await Browser(api, "x").call("GET", "/session")).problem(503, "not-ready")
