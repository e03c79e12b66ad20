"""The mailbox over real SMTP and real HTTP."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from email.message import EmailMessage
from typing import Any

import aiohttp
import aiosmtplib
import pytest

from babygun.dev.mailbox.messages import Mailbox
from babygun.dev.mailbox.server import serve_until
from babygun.errors import SettingsError
from scripts.attack.bombs import compressed_request, many_members
from tests.support.bombs import inflated, status_of
from tests.support.etcd_server import free_ports


class Running:
    def __init__(self, smtp_port: int, http_port: int, session: aiohttp.ClientSession) -> None:
        self.smtp_port, self.http_port, self.session = smtp_port, http_port, session

    async def send(
        self,
        message: EmailMessage | bytes,
        sender: str = "a@example.com",
        recipients: tuple[str, ...] = ("b@example.org",),
    ) -> str:
        _, answer = await aiosmtplib.send(
            message,
            sender=sender,
            recipients=list(recipients),
            hostname="127.0.0.1",
            port=self.smtp_port,
            start_tls=False,
        )
        return answer

    async def get(self, path: str) -> Any:
        async with self.session.get(f"http://127.0.0.1:{self.http_port}{path}") as answer:
            assert answer.status == 200
            return (
                json.loads(await answer.read())
                if answer.content_type == "application/json"
                else await answer.read()
            )


@pytest.fixture
async def mailbox() -> AsyncIterator[Running]:
    smtp_port, http_port = free_ports(2)
    stop = asyncio.Event()
    serving = asyncio.create_task(
        serve_until(
            stop,
            host="127.0.0.1",
            smtp_port=smtp_port,
            http_port=http_port,
            mailbox=Mailbox(most_messages=3, most_bytes=10_000),
        )
    )
    async with aiohttp.ClientSession() as session:
        running = Running(smtp_port, http_port, session)
        async with asyncio.timeout(60):
            while True:
                try:
                    await running.get("/healthz")
                    break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.01)
        yield running
    stop.set()
    await serving


def simple(subject: str = "Hello", text: str = "It works.\n") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.com", "b@example.org", subject
    message.set_content(text)
    return message


async def test_message_is_caught_with_its_envelope(mailbox: Running) -> None:
    await mailbox.send(
        simple(), sender="bounce@example.com", recipients=("b@example.org", "hidden@example.org")
    )
    answer = await mailbox.get("/messages")
    assert answer["total"] == 1
    [message] = answer["messages"]
    assert (message["number"], message["sender"], message["recipients"], message["subject"]) == (
        1,
        "bounce@example.com",
        ["b@example.org", "hidden@example.org"],
        "Hello",
    )
    full = await mailbox.get("/messages/1")
    assert ["To", "b@example.org"] in full["headers"]
    assert full["text"] == "It works.\n"
    assert full["html"] is None
    assert "hidden" not in full["raw"]


async def test_text_html_and_attachments_are_distinguished(mailbox: Running) -> None:
    message = simple(subject="Grüße 🎉", text="Schöne Grüße\n")
    message.add_alternative("<p>Schöne <b>Grüße</b></p>\n", subtype="html")
    message.add_attachment(
        b"\x00\x01", maintype="application", subtype="octet-stream", filename="größe.bin"
    )
    message.add_attachment(b"a,b\n", maintype="text", subtype="csv", filename="table.csv")
    await mailbox.send(message)
    full = await mailbox.get("/messages/1")
    assert full["subject"] == "Grüße 🎉"
    assert full["text"] == "Schöne Grüße\n"
    assert full["html"] == "<p>Schöne <b>Grüße</b></p>\n"
    assert [(a["filename"], a["content_type"], a["size"]) for a in full["attachments"]] == [
        ("größe.bin", "application/octet-stream", 2),
        ("table.csv", "text/csv", 4),
    ]


async def test_attached_message_is_an_attachment_and_no_text(mailbox: Running) -> None:
    message = simple(text="Outer\n")
    message.add_attachment(simple("inner", text="Inner\n"), filename="mail.eml")
    await mailbox.send(message)
    full = await mailbox.get("/messages/1")
    assert full["text"] == "Outer\n"
    [attachment] = full["attachments"]
    assert (attachment["filename"], attachment["content_type"]) == ("mail.eml", "message/rfc822")
    assert attachment["size"] > len("Subject: inner\n\nInner\n")


async def test_newest_come_first_and_the_oldest_go_when_there_are_too_many(
    mailbox: Running,
) -> None:
    for number in range(1, 6):
        await mailbox.send(simple(f"mail {number}"))
    answer = await mailbox.get("/messages")
    assert answer["total"] == 5
    assert [m["subject"] for m in answer["messages"]] == ["mail 5", "mail 4", "mail 3"]
    assert (await mailbox.get("/messages/3"))["subject"] == "mail 3"
    for gone in ("2", "6", "0"):
        async with mailbox.session.get(
            f"http://127.0.0.1:{mailbox.http_port}/messages/{gone}"
        ) as missing:
            assert missing.status == 404


async def test_oldest_go_when_they_are_too_large_together_but_the_newest_stays(
    mailbox: Running,
) -> None:
    await mailbox.send(simple("small"))
    await mailbox.send(simple("large", "x\n" * 10_000))
    assert [m["subject"] for m in (await mailbox.get("/messages"))["messages"]] == ["large"]


async def test_delete_forgets_all(mailbox: Running) -> None:
    await mailbox.send(simple())
    async with mailbox.session.delete(f"http://127.0.0.1:{mailbox.http_port}/messages") as answer:
        assert answer.status == 204
    assert (await mailbox.get("/messages"))["messages"] == []
    await mailbox.send(simple("next"))
    assert (await mailbox.get("/messages/2"))["subject"] == "next"


async def test_pages_show_a_mails_html_as_text(mailbox: Running) -> None:
    message = simple(subject="<script>alert(1)</script>")
    message.add_alternative("<script>alert(2)</script><img src=x onerror=alert(3)>", subtype="html")
    await mailbox.send(message, sender="b@example.com")
    for path in ("/", "/view/1"):
        async with mailbox.session.get(f"http://127.0.0.1:{mailbox.http_port}{path}") as answer:
            page = await answer.text()
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "<script" not in page
        assert "<img" not in page
        assert "&lt;script&gt;alert(1)" in page


async def test_offers_are_those_that_fast_clients_want(mailbox: Running) -> None:
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=mailbox.smtp_port, start_tls=False)
    await client.connect()
    await client.ehlo()
    assert all(
        client.supports_extension(name) for name in ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE")
    )
    await client.quit()


async def test_pipelined_transactions_are_answered_in_order(mailbox: Running) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", mailbox.smtp_port)

    async def codes(number: int) -> list[bytes]:
        found: list[bytes] = []
        while len(found) < number:
            line = await asyncio.wait_for(reader.readline(), 60)
            if line[3:4] == b" ":
                found.append(line[:3])
        return found

    writer.write(b"EHLO test\r\n")
    assert await codes(2) == [b"220", b"250"]
    writer.write(
        b"MAIL FROM:<a@example.com> SMTPUTF8\r\n"
        b"RCPT TO:<\xc3\xbc@example.org>\r\nRCPT TO:<c@example.org>\r\nDATA\r\n"
    )
    assert await codes(4) == [b"250", b"250", b"250", b"354"]
    # the content and the next transaction in one write
    writer.write(
        b"Subject: one\r\n\r\n..dot\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<d@example.org>\r\nDATA\r\n"
    )
    assert await codes(4) == [b"250", b"250", b"250", b"354"]
    writer.write(b"Subject: two\r\n\r\n.\r\nQUIT\r\n")
    assert await codes(2) == [b"250", b"221"]
    writer.close()
    two, one = (await mailbox.get("/messages"))["messages"]
    assert (one["recipients"], two["sender"], two["subject"]) == (
        ["ü@example.org", "c@example.org"],
        "",
        "two",
    )
    assert (await mailbox.get("/messages/1"))["text"].splitlines() == [".dot"]


async def test_rubbish_is_shown_and_breaks_nothing(mailbox: Running) -> None:
    rubbish = [
        b"",
        b"no header at all",
        b"Subject: =?utf-8?b?////?=\r\nContent-Type: text/plain; charset=no-such\r\n\r\n\xff\xfe",
        b"Subject: \xff\xfe\r\nContent-Type: multipart/mixed\r\n\r\n--x",
        b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n"
        b"To: <<>>,;\r\nDate: never\r\nMessage-ID: <\r\n\r\n!!!",
        b"Content-Disposition: attachment; filename*=utf-8''%ff\r\n\r\nx",
    ]
    for number, raw in enumerate(rubbish, 1):
        await mailbox.send(raw)
        for path in (
            f"/messages/{number}",
            f"/messages/{number}/raw",
            f"/view/{number}",
            "/",
            "/messages",
        ):
            await mailbox.get(path)


async def test_busy_port_gets_a_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        busy = server.getsockname()[1]
        with pytest.raises(
            SettingsError, match=rf"something listens on 127.0.0.1:{busy} already.*--smtp-port"
        ):
            await serve_until(asyncio.Event(), host="127.0.0.1", smtp_port=busy, http_port=0)
        with pytest.raises(SettingsError, match="--http-port"):
            await serve_until(asyncio.Event(), host="127.0.0.1", smtp_port=0, http_port=busy)


async def test_body_sent_to_the_mailbox_is_not_inflated(
    mailbox: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = inflated(monkeypatch)
    bomb = compressed_request(many_members(100), path="/healthz", method="GET")
    assert await status_of(mailbox.http_port, bomb) == 200
    assert not begun


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8025", 200),
        ("127.0.0.1", 200),
        ("[::1]:8025", 200),
        ("rebound.example:8025", 421),
        ("127.0.0.1.rebound.example", 421),
        ("[", 421),
        ("", 421),
    ],
)
async def test_view_answers_to_names_of_this_machine_alone(
    mailbox: Running, host: str, status: int
) -> None:
    url = f"http://127.0.0.1:{mailbox.http_port}/messages"
    async with mailbox.session.get(url, headers={"Host": host}) as answer:
        assert answer.status == status


async def test_mail_to_test_addresses_is_refused_as_they_say_and_the_others_get_it(
    mailbox: Running,
) -> None:
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=mailbox.smtp_port, start_tls=False)
    await client.connect()
    recipients = ["bounce@any.test", "defer@any.test", "b@example.org"]
    refused, _ = await client.sendmail("a@example.com", recipients, simple().as_bytes())
    assert {address: reply.code for address, reply in refused.items()} == {
        "bounce@any.test": 550,
        "defer@any.test": 451,
    }
    again, _ = await client.sendmail("a@example.com", recipients[1:2], simple().as_bytes())
    assert not again, "the second try is taken"
    with pytest.raises(aiosmtplib.SMTPDataError, match="looks like spam"):
        await client.sendmail("a@example.com", ["spam@any.test"], simple().as_bytes())
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await client.sendmail("a@example.com", ["disconnect@any.test"], simple().as_bytes())
    await mailbox.send(simple(), recipients=("disconnect@any.test", "slow-0@any.test"))
    found = (await mailbox.get("/messages"))["messages"]
    assert [message["recipients"] for message in found] == [
        ["disconnect@any.test", "slow-0@any.test"],
        ["defer@any.test"],
        ["b@example.org"],
    ]


async def test_html_of_a_mail_stands_in_a_frame_that_can_do_nothing(mailbox: Running) -> None:
    message = simple()
    message.add_alternative("<b>Hi</b><img src='cid:logo'><img src='cid:other'>", subtype="html")
    [_, html] = message.iter_parts()
    html.add_related(b"GIF", "image", "gif", cid="<logo>")  # type: ignore[attr-defined]
    await mailbox.send(message)
    page = (await mailbox.get("/view/1")).decode()
    assert "<iframe sandbox title='HTML' src='/view/1/html'></iframe>" in page
    async with mailbox.session.get(f"http://127.0.0.1:{mailbox.http_port}/view/1/html") as answer:
        shown, policy = await answer.text(), answer.headers["Content-Security-Policy"]
    assert "<b>Hi</b><img src='data:image/gif;base64,R0lG'><img src='cid:other'>" in shown
    assert policy.startswith("sandbox; default-src 'none';") and "allow-" not in policy


async def test_messages_are_listed_by_recipient(mailbox: Running) -> None:
    await mailbox.send(simple("one"), recipients=("ann@example.org", "bob@example.org"))
    await mailbox.send(simple("two"), recipients=("bob@example.org",))
    found = await mailbox.get("/messages?to=ANN@example.org")
    assert [message["subject"] for message in found["messages"]] == ["one"]
    page = (await mailbox.get("/?to=ann@example.org")).decode()
    assert "1 to this recipient" in page and "one" in page and ">two<" not in page
    assert "bounce@any.test" in page, "the page lists the test addresses"
    assert (await mailbox.get("/messages?to=nobody"))["messages"] == []
    await mailbox.send(simple("three"), recipients=("slow-0+1@any.test",))
    [three] = (await mailbox.get("/messages?to=slow-0+1@any.test"))["messages"]
    assert three["subject"] == "three", "a plus is a plus here"
