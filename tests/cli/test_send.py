"""``babygun send`` of one e-mail, through to a real mail server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import commands_with_api
from tests.support.commands import Command
from tests.support.rig import Rig
from tests.support.smtp_server import MisbehavingServer

SEND = ("send", "--from", "me@example.com", "--to")


async def test_send_waits_and_the_email_can_be_listed_and_shown(
    rig: Rig, with_api: Command, smtp: MisbehavingServer
) -> None:
    (with_api.folder / "a.txt").write_text("attached")
    async with rig.worker(lease_ttl=20.0):
        sent = await with_api(
            *("send", "--from", "me@example.com", "--to", "ann@example.org"),
            *("--cc", "bob@example.org", "--subject", "hi", "--body", "-", "--attach", "a.txt"),
            *("--tag", "t1", "--header", "X-A: b", "--wait"),
            stdin=b"text",
        )
        assert (sent.status, sent.error) == (0, "complete\n")
        email_id = sent.out.strip()
        assert smtp.messages[0].recipients == ("ann@example.org", "bob@example.org")
        assert b"X-A: b" in smtp.messages[0].data
        failed = await with_api(*SEND, "hard@example.org", "--wait")
        assert failed.status == 1
        assert "1 of 1 recipient not reached: 1 bounced (bad_mailbox)" in failed.error
        listed = (await with_api("emails", "list", "--tag", "t1")).out
        assert email_id in listed and "ann@example.org +1" in listed
        assert failed.out.strip() not in listed
        shown = await with_api("emails", "show", email_id)
        assert shown.status == 0 and "delivered" in shown.out and "claimed" in shown.out
        as_json = await with_api("emails", "show", email_id, "--json")
        assert json.loads(as_json.out)["email"]["id"] == email_id
        assert "00-ff" in (await with_api("workers")).out


async def test_bad_email_is_refused_naming_the_field(with_api: Command) -> None:
    result = await with_api(*SEND, "nobody")
    assert result.status == 1 and "to" in result.error
    result = await with_api(*SEND, "a@b.example", "--attach", "missing.pdf")
    assert result.status == 2 and "missing.pdf: No such file" in result.error


async def test_send_names_the_suppressed_addresses_and_can_send_there_all_the_same(
    rig: Rig, with_api: Command
) -> None:
    await with_api("suppressions", "add", "ann@example.org")
    sent = await with_api(*SEND, "ann@example.org", "--to", "bob@example.org")
    assert (sent.status, sent.error) == (0, "not sent to suppressed addresses: ann@example.org\n")
    line = {"sender": "me@example.com", "to": ["ann@example.org", "bob@example.org"]}
    batch = await with_api("send", "--batch", "-", stdin=json.dumps(line).encode())
    assert batch.status == 0 and batch.error.endswith("suppressed addresses: ann@example.org\n")
    ignoring = await with_api(*SEND, "ann@example.org", "--ignore-suppressions")
    assert (ignoring.status, ignoring.error) == (0, "")


@pytest.mark.parametrize(("given", "name"), [(("news",), "news"), ((), "*")])
async def test_send_with_unsubscribe_makes_a_link_for_the_list_or_all_mail(
    rig: Rig, tmp_path: Path, given: tuple[str, ...], name: str
) -> None:
    async with commands_with_api(rig, tmp_path, public_url="https://m.example.com") as babygun:
        sent = await babygun(*SEND, "ann@example.org", "--unsubscribe", *given)
        assert sent.status == 0, sent.error
        assert (await rig.get(sent.out.strip())).list == name


async def test_send_with_a_link_that_can_not_be_made_says_why(with_api: Command) -> None:
    result = await with_api(*SEND, "ann@example.org", "--unsubscribe")
    assert result.status == 1 and "public_url" in result.error


async def test_wait_ends_after_its_time_with_what_is_known(with_api: Command) -> None:
    """There is no worker."""
    result = await with_api(*SEND, "ann@example.org", "--wait", "--timeout", "100ms")
    assert result.status == 1
    assert result.error == "incomplete\nmain: it is next in line\n"
    shown = await with_api("emails", "show", result.out.strip(), "--wait", "--timeout", "100ms")
    assert shown.status == 0 and "it is next in line" in shown.out
    refused = await with_api(*SEND, "ann@example.org", "--wait", "--timeout", "7")
    assert refused.status == 2 and "'7' has no unit" in refused.error
