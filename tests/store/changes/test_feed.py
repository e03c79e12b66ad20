"""The feed of all changes, and the history that it leads on from, on a real etcd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from babygun.etcd.versions import PROGRESS
from babygun.store.changes import history
from babygun.store.changes.feed import ChangeFeed, EmailState
from babygun.store.changes.history import History, ResetNeeded
from babygun.store.changes.position import Position
from babygun.store.emails.on_request import cancel
from tests.support.etcd_server import needs_ability
from tests.support.processes import PATIENCE
from tests.support.proxy import proxy_to
from tests.support.rig import Rig, changed, rig_for

Began = asyncio.Queue[tuple[Position, str | None]]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for a moment is no etcd that is slow."""
    monkeypatch.setattr(history, "TIMEOUT", PATIENCE)


@asynccontextmanager
async def followed(rig: Rig) -> AsyncIterator[tuple[ChangeFeed, Position, Began]]:
    """A feed that follows, where it began, and where it begins again."""
    beginnings = Began()
    feed = ChangeFeed(rig.store, lambda *began: beginnings.put_nowait(began), lambda: None)
    following = asyncio.create_task(feed.run())
    try:
        async with asyncio.timeout(PATIENCE):
            began, _ = await beginnings.get()
        yield feed, began, beginnings
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def next_states(feed: ChangeFeed, until: int) -> list[EmailState]:
    """The states of all that changes, once the feed has come to revision ``until``."""
    found: dict[str, EmailState] = {}
    async with asyncio.timeout(PATIENCE):
        while True:
            await feed.changed.wait()
            changes, position = feed.take(feed.newest)
            for state in await feed.states(changes):
                found.pop(state.email_id, None)  # its newest change counts
                found[state.email_id] = state
            if found and position.records >= until:  # it wakes without a change, too
                return list(found.values())


async def revision_of(rig: Rig, email_id: str) -> int:
    kv = await rig.store.client.get(rig.store.keys.email(email_id))
    assert kv is not None
    return kv.mod_revision


async def test_feed_brings_the_newest_state_of_each_email_in_the_order_of_changes(rig: Rig) -> None:
    async with followed(rig) as (feed, _, _):
        first, second = await rig.send("ann@example.org"), await rig.send("bob@example.org")
        await cancel(rig.store, first)
        states = await next_states(feed, await revision_of(rig, first))
        assert [state.email_id for state in states][-1] == first
        newest = {state.email_id: state.email for state in states}
        assert {id: email and email.status for id, email in newest.items()} == {
            second: "incomplete",
            first: "cancelled",
        }


async def test_removed_record_comes_without_email_and_with_its_client(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org")
    async with followed(rig) as (feed, _, _):
        await rig.store.client.delete(rig.store.keys.email(email_id))
        (state,) = await next_states(feed, 0)
        assert (state.email_id, state.email, state.client_id) == (email_id, None, "client")


async def test_change_after_the_revision_asked_for_is_postponed_once(rig: Rig) -> None:
    async with followed(rig) as (feed, _, _):
        email_id = await rig.send("ann@example.org")
        revision = await revision_of(rig, email_id)
        async with asyncio.timeout(PATIENCE):
            while feed.newest < revision:
                feed.changed.clear()
                await feed.changed.wait()
        assert feed.take(revision - 1)[0] == {}
        assert set(feed.take(revision - 1)[0]) == {email_id}


@needs_ability(PROGRESS)
async def test_history_brings_what_changed_since_a_position_for_one_client(rig: Rig) -> None:
    async with followed(rig) as (feed, began, _):
        email_id = await rig.send("ann@example.org")
        until = await revision_of(rig, email_id)
        changes = await History(rig.store, feed, "client", 10).changes(
            began, Position(until, until)
        )
        assert set(changes) == {email_id} and changes[email_id].records == until
        others = await History(rig.store, feed, "other", 10).changes(began, Position(until, until))
        assert others == {}


@needs_ability(PROGRESS)
async def test_history_of_too_many_emails_begins_again(rig: Rig) -> None:
    async with followed(rig) as (feed, began, _):
        ids = [await rig.send("ann@example.org") for _ in range(3)]
        until = await revision_of(rig, ids[-1])
        with pytest.raises(ResetNeeded, match="fell-behind"):
            await History(rig.store, feed, None, 2).changes(began, Position(until, until))


@needs_ability(PROGRESS)
async def test_history_that_is_compacted_begins_again(rig: Rig) -> None:
    async with followed(rig) as (feed, began, _):
        await rig.send("ann@example.org")
        until = await revision_of(rig, await rig.send("bob@example.org"))
        await rig.store.client.compact(until, timeout=20)
        with pytest.raises(ResetNeeded, match="compacted"):
            await History(rig.store, feed, None, 10).changes(began, Position(until, until))


async def test_feed_whose_history_is_compacted_begins_again_and_says_why(rig: Rig) -> None:
    async with (
        proxy_to(rig.settings.etcd_endpoints[0]) as proxy,
        rig_for(changed(rig.settings, etcd_endpoints=(proxy.url,))) as behind,
        followed(behind) as (_, began, beginnings),
        asyncio.timeout(PATIENCE),
    ):
        proxy.cut()
        await rig.send("ann@example.org")
        revision = await revision_of(rig, await rig.send("bob@example.org"))
        await rig.store.client.compact(revision, timeout=20)
        proxy.mend()
        again, reason = await beginnings.get()
        assert reason == "compacted" and again.records >= revision > began.records
