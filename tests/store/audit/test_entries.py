"""An entry is there before its change, and says afterwards how it ended."""

from __future__ import annotations

import pytest

from babygun.errors import EtcdUnavailable, NotFound, OutcomeUnknown, OutOfSpace
from babygun.store.audit.entries import AuditEntry, new_entry, recorded
from babygun.store.audit.listing import Wanted, list_entries
from tests.support.rig import Rig


async def newest(rig: Rig) -> AuditEntry:
    return (await list_entries(rig.store, Wanted(), limit=1)).entries[0]


def an_entry() -> AuditEntry:
    return new_entry("deleteClient", by="root@host", via="command", target="x" * 1000)


async def test_entry_is_begun_while_its_change_goes_on_and_done_afterwards(rig: Rig) -> None:
    async with recorded(rig.store, an_entry()) as recording:
        begun = await newest(rig)
        assert begun.outcome == "begun" and begun.ended_at is None and len(begun.target) == 300
        recording.add(target="not this", details={"name": "shop"})
    done = await newest(rig)
    assert done.outcome == "done" and done.ended_at is not None
    assert done.id == begun.id and done.details == {"name": "shop"}


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (EtcdUnavailable("no leader"), "failed"),
        (OutOfSpace("full"), "failed"),  # which is certain: tests/store/test_settled.py
        (OutcomeUnknown("no answer"), "unknown"),
        (RuntimeError("secret"), "unknown"),
    ],
)
async def test_entry_says_why_its_change_failed(rig: Rig, error: Exception, outcome: str) -> None:
    with pytest.raises(type(error)):
        async with recorded(rig.store, an_entry()):
            raise error
    ended = await newest(rig)
    assert ended.outcome == outcome
    assert ended.reason == ("RuntimeError" if str(error) == "secret" else str(error))


async def test_entry_of_a_refused_change_goes(rig: Rig) -> None:
    with pytest.raises(NotFound):
        async with recorded(rig.store, an_entry()) as recording:
            recording.refused = True
            raise NotFound("no such client")
    assert (await list_entries(rig.store, Wanted(), limit=1)).entries == []
