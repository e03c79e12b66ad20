"""A message and its attachments as bytes, and that a browser can't be harmed by them."""

from __future__ import annotations

import base64
from email import message_from_bytes, policy
from typing import Any

import aiohttp
import pytest

from babygun.api.emails.content import disposition
from babygun.etcd import Txn, delete_range
from babygun.store import Store
from babygun.store.keys import range_end
from tests.support.api import RunningApi
from tests.support.rig import Rig
from tests.support.smtp_server import MisbehavingServer

HARMFUL = b"<script>alert(1)</script>"


def attachment(
    filename: str, content: bytes, content_type: str = "text/html", **more: str
) -> dict[str, str]:
    return {
        "filename": filename,
        "content": base64.b64encode(content).decode(),
        "content_type": content_type,
        **more,
    }


async def fetched(api: RunningApi, path: str) -> tuple[int, Any, bytes]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(api.url + path, headers={"Authorization": f"Bearer {api.token}"}) as response,
    ):
        return response.status, response.headers, await response.read()


def is_harmless(headers: Any) -> bool:
    return (
        headers["X-Content-Type-Options"] == "nosniff"
        and headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
        and headers["Cache-Control"] == "no-store"
    )


async def test_source_is_the_message_that_the_relay_gets(
    api: RunningApi, rig: Rig, smtp: MisbehavingServer
) -> None:
    email_id = await api.accepted(
        sender="Grüße <shop@bücher.example>",
        to=["Ann <ann@example.org>"],
        bcc="secret@example.org",
        subject="Grüße № 1",
        body="Text ☃\n",
        html="<p>HTML</p>",
        headers={"X-Order": "1"},
        attachments=[attachment("a.bin", bytes(range(256)), "application/octet-stream")],
    )
    status, headers, source = await fetched(api, f"/emails/{email_id}/source")
    assert (status, headers["Content-Type"], headers["Content-Disposition"]) == (
        200,
        "message/rfc822",
        "inline",
    ) and is_harmless(headers)
    message = message_from_bytes(source, policy=policy.default)
    assert message["Subject"] == "Grüße № 1" and message["Bcc"] is None and b"secret@" not in source
    async with rig.worker(relays={"default": {"url": smtp.url}}):
        await rig.ended(email_id)
    [sent] = smtp.messages
    assert sent.data == source
    assert (await fetched(api, f"/emails/{email_id}/source?download"))[1][
        "Content-Disposition"
    ] == f'attachment; filename="{email_id}.eml"'


async def test_source_of_an_address_beyond_ascii_is_shown(api: RunningApi) -> None:
    email_id = await api.accepted(to="änn@example.org")
    assert "To: änn@example.org" in (await fetched(api, f"/emails/{email_id}/source"))[2].decode()


async def test_attachments_are_given_as_files_to_save(api: RunningApi) -> None:
    email_id = await api.accepted(
        attachments=[
            attachment("a.html", HARMFUL),
            attachment("Ä \"%41'.svg", b"<svg/>", "image/svg+xml; charset=utf-8", content_id="c"),
        ]
    )
    status, headers, content = await fetched(api, f"/emails/{email_id}/attachments/0")
    assert (status, content, headers["Content-Type"], headers["Content-Disposition"]) == (
        200,
        HARMFUL,
        "text/html",
        'attachment; filename="a.html"',
    ) and is_harmless(headers)
    status, headers, content = await fetched(api, f"/emails/{email_id}/attachments/1")
    assert (status, content, headers["Content-Type"]) == (
        200,
        b"<svg/>",
        "image/svg+xml; charset=utf-8",
    ) and is_harmless(headers)
    assert (
        headers["Content-Disposition"]
        == "attachment; filename=\"_ __41'.svg\"; filename*=UTF-8''%C3%84%20%22%2541%27.svg"
    )


async def test_attachment_type_beyond_ascii_is_a_header_of_one_ascii_line(api: RunningApi) -> None:
    kind = "application/pdf; title=Grüße; profile=https://example.org/a"
    email_id = await api.accepted(attachments=[attachment("a.pdf", b"x", kind)])
    _, headers, _ = await fetched(api, f"/emails/{email_id}/attachments/0")
    assert headers["Content-Type"] == (
        "application/pdf; title*=utf-8''Gr%C3%BC%C3%9Fe; profile=\"https://example.org/a\""
    )
    [shown] = (await api.call("GET", f"/emails/{email_id}")).json["attachments"]
    assert shown["content_type"] == (
        'application/pdf; title="Grüße"; profile="https://example.org/a"'
    )


async def test_attachment_that_is_not_there_is_not_found(api: RunningApi) -> None:
    email_id = await api.accepted(attachments=[attachment("a", b"x")])
    for number in ("1", "-1", "x", "00000", "²", "%2F", "9" * 100, "1.0"):
        answer = await api.call("GET", f"/emails/{email_id}/attachments/{number}")
        answer.problem(404, "not-found")


async def test_content_that_is_gone_is_distinguished_from_an_email_that_is(
    api: RunningApi, store: Store
) -> None:
    email_id = await api.accepted(attachments=[attachment("a", b"x")])
    prefix = store.keys.content(email_id)
    await store.client.txn(Txn([], [delete_range(prefix, range_end(prefix))]))
    other = await api.token_for()
    for path in ("source", "attachments/0"):
        (await api.call("GET", f"/emails/{email_id}/{path}")).problem(410, "content-gone")
        (await api.call("GET", f"/emails/{email_id}/{path}", token=other)).problem(404, "not-found")
        (await api.call("GET", f"/emails/x/{path}")).problem(404, "not-found")
        (
            await api.call(
                "GET", f"/emails/{email_id}/{path}", token=await api.token_for("emails:send")
            )
        ).problem(403, "insufficient-scope")


@pytest.mark.parametrize(
    "filename", ["a.txt", "a b.txt", "\r\nX: y", "ä" * 100, "a\\b", "x\u2028y", "\udcff"]
)
def test_disposition_is_one_line_of_ascii(filename: str) -> None:
    made = disposition(filename)
    assert made.isascii() and made.isprintable() and made.startswith('attachment; filename="')
