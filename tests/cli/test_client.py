"""``babygun client``, against a real etcd."""

from __future__ import annotations

from tests.support.commands import Command


async def test_client_is_created_listed_and_deleted(babygun: Command) -> None:
    assert "no clients yet" in (await babygun("client", "list")).out
    created = await babygun(
        "client", "create", "the shop", "--id", "shop", "--scope", "emails:send", "--rate", "5"
    )
    assert created.out.splitlines()[0].split() == ["client_id", "shop"]
    assert len(created.out.split()[-1]) == 64
    taken = await babygun("client", "create", "other", "--id", "shop")
    assert taken.status == 1 and "already" in taken.error
    assert (await babygun("client", "create", "x", "--id", "a/b")).status == 2
    for name in ("", "  ", "a\nb", "x" * 201):
        refused = await babygun("client", "create", name)
        assert refused.status == 2 and "name has 1 to 200 characters" in refused.error
    assert "the shop" in (await babygun("client", "list")).out
    assert (await babygun("client", "delete", "shop")).status == 0
    assert (await babygun("client", "delete", "shop")).status == 1
