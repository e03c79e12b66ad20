"""``babygun client``, against a real etcd."""

from __future__ import annotations

from tests.support.commands import Command


async def test_client_is_created_listed_and_deleted(babygun: Command) -> None:
    assert "no clients yet" in (await babygun("client", "list")).out
    created = await babygun(
        "client",
        "create",
        "the shop",
        "--id",
        "shop",
        "--scope",
        "emails:send",
        "--rate",
        "5",
        "--weight",
        "3",
    )
    assert created.out.splitlines()[0].split() == ["client_id", "shop"]
    assert len(created.out.split()[-1]) == 64
    taken = await babygun("client", "create", "other", "--id", "shop")
    assert taken.status == 1 and "already" in taken.error
    assert (await babygun("client", "create", "x", "--id", "a/b")).status == 2
    heavy = await babygun("client", "create", "x", "--weight", "101")
    assert heavy.status == 2 and "from 1 to 100" in heavy.error
    for name in ("", "  ", "a\nb", "x" * 201):
        refused = await babygun("client", "create", name)
        assert refused.status == 2 and "name has 1 to 200 characters" in refused.error
    listed = (await babygun("client", "list")).out.splitlines()
    assert listed[0].split()[4] == "WEIGHT" and "the shop" in listed[1] and "5/s" in listed[1]
    assert listed[1].split()[5] == "3"
    assert (await babygun("client", "delete", "shop")).status == 0
    assert (await babygun("client", "delete", "shop")).status == 1


async def test_client_without_scopes_gets_the_usual_ones(babygun: Command) -> None:
    assert (await babygun("client", "create", "shop", "--id", "shop")).status == 0
    listed = (await babygun("client", "list")).out.splitlines()
    assert "emails:send,emails:read,webhooks,suppressions" in listed[1].split()
