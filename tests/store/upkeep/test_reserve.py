"""What of the quota is kept for the e-mails that are stored."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from babygun.etcd import EtcdClient
from babygun.runtime.clock import utc_now
from babygun.store import Store
from babygun.store.emails.finish import finish
from babygun.store.upkeep import reserve as upkeep_reserve
from babygun.store.upkeep.fullness import Fullness, Size
from babygun.store.upkeep.reserve import LEAST, Reserve
from tests.store.emails.steps import OK, claimed, pending
from tests.store.upkeep.sizes import MIB
from tests.support.field import rows
from tests.support.rig import Rig


def reserve_of(store: Store, quota_mib: int, in_use: float = 0, file: float = 0) -> Reserve:
    fullness = Fullness(store.client, quota_mib * MIB)
    fullness.add(Size(1.0, int(in_use * MIB), int(file * MIB), 1))
    return Reserve(store, fullness)


ROWS = rows("full", "reserve")


@pytest.mark.parametrize(
    "row", ROWS, ids=lambda row: f"{row['email_bytes']} bytes in {row['quota_mib']} MiB"
)
async def test_reserve_is_a_tenth_or_what_a_compaction_may_write_again(
    rig: Rig, row: dict[str, Any]
) -> None:
    reserve = reserve_of(rig.store, row["quota_mib"])
    reserve.note(row["email_bytes"])
    assert reserve.share == pytest.approx(row["share"], abs=0.01)


async def test_room_ends_at_the_reserve_and_where_the_file_is_near_its_quota(rig: Rig) -> None:
    assert reserve_of(rig.store, 1000, 0, 0).room == 900 * MIB
    assert reserve_of(rig.store, 1000, 899, 970).room == 1 * MIB
    assert reserve_of(rig.store, 1000, 950, 970).room == 0
    assert reserve_of(rig.store, 1000, 100, 985).room == 0
    assert reserve_of(rig.store, 64, 10, 59).room == 0


async def test_reserve_learns_the_size_of_stored_emails_wherever_they_are(
    rig: Rig, etcd: EtcdClient
) -> None:
    for place in ("ready", "waiting", "final"):
        email_id = await rig.send(
            "ann@example.org",
            body="x" * 100_000,
            send_at=utc_now() + timedelta(days=1) if place == "waiting" else None,
        )
        if place == "final":
            await finish(rig.store, [pending(await claimed(rig, email_id), OK)])
        reserve = reserve_of(rig.store, 256, in_use=100)
        sizes = await reserve._sizes()
        assert any(size > 100_000 for size in sizes), place
        await reserve.measure()
        assert reserve.share > 0.2
    assert reserve_of(rig.store, 256, in_use=10).share == LEAST


async def test_reserve_forgets_what_was_accepted_once_the_store_shows_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two looks: an e-mail that is accepted right before a look is written after it."""
    monkeypatch.setattr(upkeep_reserve, "_LOOK_AGAIN", 0.0)
    reserve, shares = reserve_of(rig.store, 256, in_use=100), []
    reserve.note(100_000)
    for _ in range(3):
        shares.append(reserve.share)
        await reserve.measure()
    assert shares[0] == shares[1] > 0.2 and shares[2] == reserve.share == LEAST


async def test_reserve_is_right_as_soon_as_the_sizes_of_emails_matter_again(rig: Rig) -> None:
    """Shedding had made much room, and a burst of large e-mails takes it within seconds."""
    await rig.send("ann@example.org", body="x" * 100_000)
    fullness = Fullness(rig.store.client, 256 * MIB)
    reserve, shares = Reserve(rig.store, fullness), []
    for second, mib in enumerate((100, 10, 100)):
        fullness.add(Size(float(second), mib * MIB, 100 * MIB, second))
        await reserve.measure()
        shares.append(reserve.share)
    assert shares[0] == shares[2] > 0.2 and shares[1] == LEAST
