"""Listing and reading: newest first, filters, cursors, and how many keys a page reads."""

from __future__ import annotations

from datetime import timedelta

import pytest

from babygun.email.model import LogEntry
from babygun.intake.ids import new_email_id
from babygun.runtime.clock import utc_now
from babygun.store.emails.claims import claim
from babygun.store.emails.on_request import cancel
from babygun.store.emails.reading import get_email, get_log, read_senders
from babygun.store.keys import JobRef
from tests.support.rig import Rig


@pytest.mark.parametrize("email_id", ["", "x", "../emails", "01a21000-1b9b-7058-a863-be5a676c7d85"])
async def test_reading_an_email_that_is_not_there_gives_none(rig: Rig, email_id: str) -> None:
    assert (
        await get_email(rig.store, email_id) is None and await get_log(rig.store, email_id) is None
    )


async def test_reading_shows_who_is_sending(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    await claim(
        rig.store,
        JobRef(email_id, "main"),
        worker_id="w9",
        lease_id=await rig.store.client.grant(600),
    )
    view = await get_email(rig.store, email_id)
    assert (
        view
        and view.owners["main"].worker_id == "w9"
        and view.content
        and view.content.body == "Hello\n"
    )


async def test_log_begins_with_the_acceptance_that_the_record_holds(rig: Rig) -> None:
    later = utc_now() + timedelta(hours=1)
    email_id = await rig.send("ann@example.org", send_at=later)
    await cancel(rig.store, email_id, client_id="shop")
    email, (first, second) = await rig.get(email_id), await rig.log(email_id)
    assert first == LogEntry(
        0,
        email.created_at,
        "accepted",
        client_id="client",
        reason=f"to be sent at {later.isoformat()}",
    )
    assert (second.seq, second.event) == (1, "cancelled")


async def test_senders_of_emails_that_are_gone_or_unreadable_are_none(rig: Rig) -> None:
    there, strange = [await rig.send("ann@example.org", sender="a@b.example") for _ in range(2)]
    gone = new_email_id()
    await rig.store.client.put(rig.store.keys.email(strange), b"{")
    assert await read_senders(rig.store, [gone, there, strange]) == [None, "a@b.example", None]
