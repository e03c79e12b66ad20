"""``babygun clients``, against a real etcd."""

from __future__ import annotations

from tests.support.commands import Command


async def test_client_is_created_listed_and_deleted(babygun: Command) -> None:
    assert "no clients yet" in (await babygun("clients", "list")).out
    created = await babygun(
        "clients",
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
    taken = await babygun("clients", "create", "other", "--id", "shop")
    assert taken.status == 1 and "already" in taken.error
    assert (await babygun("clients", "create", "x", "--id", "a/b")).status == 2
    heavy = await babygun("clients", "create", "x", "--weight", "101")
    assert heavy.status == 2 and "from 1 to 100" in heavy.error
    for name in ("", "  ", "a\nb", "x" * 201):
        refused = await babygun("clients", "create", name)
        assert refused.status == 2 and "name has 1 to 200 characters" in refused.error
    listed = (await babygun("clients", "list")).out.splitlines()
    assert "WEIGHT" in listed[0] and "the shop" in listed[1] and "5/s" in listed[1]
    assert listed[1].split()[5:7] == ["-", "3"]
    deleted = await babygun("clients", "delete", "shop")
    assert deleted.status == 0 and "deleted client shop (the shop) and 0 webhooks" in deleted.out
    assert (await babygun("clients", "delete", "shop")).status == 1


async def test_client_without_scopes_gets_the_usual_ones(babygun: Command) -> None:
    assert (await babygun("clients", "create", "shop", "--id", "shop")).status == 0
    listed = (await babygun("clients", "list")).out.splitlines()
    assert "emails:send,emails:read,webhooks,suppressions" in listed[1].split()


async def test_client_of_a_name_that_is_there_is_made_by_force_only(babygun: Command) -> None:
    assert (await babygun("clients", "create", "shop", "--id", "first")).status == 0
    again = await babygun("clients", "create", " shop ")
    assert again.status == 2 and "(first)" in again.error and "--force" in again.error
    assert (await babygun("clients", "create", "shop", "--force")).status == 0
    assert len((await babygun("clients", "list")).out.splitlines()) == 3


async def test_client_is_changed_and_shown(babygun: Command) -> None:
    await babygun("clients", "create", "shop", "--id", "shop", "--rate", "5", "--scope", "admin")
    changed = await babygun(
        "clients", "change", "shop", "--rate", "none", "--recipients-per-day", "2000"
    )
    assert changed.status == 0 and changed.out.splitlines()[1].split()[2:6] == [
        "admin",
        "-",
        "2000",
        "1",
    ]
    shown = (await babygun("clients", "show", "shop")).out
    assert "no limit" in shown and "2,000" in shown and "recipients today" in shown
    assert (await babygun("clients", "change", "shop")).status == 2
    assert (await babygun("clients", "change", "shop", "--rate", "0")).status == 2
    for action in ("show", "rotate", "change"):
        more = ("--weight", "2") if action == "change" else ()
        absent = await babygun("clients", action, "nobody", *more)
        assert absent.status == 1 and "no client 'nobody'" in absent.error


async def test_client_gets_a_new_secret(babygun: Command) -> None:
    await babygun("clients", "create", "shop", "--id", "shop")
    rotated = (await babygun("clients", "rotate", "shop")).out.splitlines()
    assert len(rotated[1].split()[1]) == 64 and rotated[2].startswith("the old secret works")
    assert "a previous secret works until" in (await babygun("clients", "show", "shop")).out
    again = (await babygun("clients", "rotate", "shop")).out.splitlines()
    assert again[3].startswith("one before that works until")
    leaked = await babygun("clients", "rotate", "shop", "--grace", "0", "--end-tokens")
    assert leaked.out.splitlines()[2:] == ["all its tokens are ended"]
    assert (await babygun("clients", "rotate", "shop", "--grace", "31d")).status == 2
