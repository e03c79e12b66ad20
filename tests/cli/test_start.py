"""Processes that can't work with their settings end with one sentence and status 2."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from babygun.etcd.access import Permission
from babygun.runtime.settings import Settings
from tests.support.certificates import Authority
from tests.support.commands import Command
from tests.support.etcd_server import EtcdServer
from tests.support.guarded_etcd import as_user, guard, role_permissions
from tests.support.rig import Rig, changed

DAY = timedelta(days=1)


def _no_authority(settings: Settings, authority: Authority) -> Settings:
    return changed(settings, etcd_ca="/nowhere/ca.pem")


def _other_key(settings: Settings, authority: Authority) -> Settings:
    return changed(
        settings,
        etcd_cert=str(authority.sign("mine").cert),
        etcd_key=str(authority.sign("other").key),
    )


def _expired(settings: Settings, authority: Authority) -> Settings:
    pem = authority.sign("mine", begins=-2 * DAY, ends=-DAY)
    return changed(settings, etcd_cert=str(pem.cert), etcd_key=str(pem.key))


FILES: list[tuple[Callable[[Settings, Authority], Settings], str]] = [
    (_no_authority, "babygun: etcd_ca: /nowhere/ca.pem can't be read: No such file or directory"),
    (_other_key, "is not the private key of the certificate"),
    (_expired, "mine.pem has expired on "),
]


@pytest.mark.parametrize(
    ("command", "wrong", "words"),
    [
        *((("worker",), wrong, words) for wrong, words in FILES),
        (("api", "--port", "0"), *FILES[0]),
        (("clients", "list"), *FILES[0]),
    ],
)
async def test_file_for_tls_that_can_not_be_used_ends_the_start(
    rig: Rig,
    tmp_path: Path,
    command: tuple[str, ...],
    wrong: Callable[[Settings, Authority], Settings],
    words: str,
) -> None:
    result = await Command(wrong(rig.settings, Authority(tmp_path / "ca")), tmp_path)(*command)
    assert result.status == 2
    [sentence] = result.error.splitlines()
    assert sentence.startswith("babygun: ") and words in sentence


async def test_doctor_goes_on_where_a_file_can_not_be_used(rig: Rig, tmp_path: Path) -> None:
    result = await Command(changed(rig.settings, etcd_ca="/nowhere/ca.pem"), tmp_path)("doctor")
    assert result.status == 1
    assert (
        "BAD   etcd_ca: /nowhere/ca.pem can't be read: No such file or directory" in result.out
        and "ok    relay main" in result.out
    )


@pytest.mark.parametrize("role", ["api", "worker"])
async def test_user_that_will_not_do_ends_the_start_and_doctor_says_the_same(
    rig: Rig, tmp_path: Path, role: str
) -> None:
    user = f"babygun-{role}"
    held: list[Permission] = [
        permission
        for permission in role_permissions(rig.settings.prefix)[user]
        if not permission.start.endswith(b"/workers/")
    ]
    with EtcdServer(fsync=False) as server:
        await guard(server, {user: held}, without_role=["idle"])
        here = changed(rig.settings, etcd_endpoints=(server.endpoint,), api_port=0)
        rows = [
            (
                changed(here, etcd_user=user, etcd_password="guessed"),
                f"etcd does not take the password of its user {user},"
                " or does not know that user (etcd_user, etcd_password)",
            ),
            (
                changed(here),
                "etcd's authentication is on: set etcd_user and etcd_password,"
                " or show a client certificate with the user's name (etcd_cert)",
            ),
            (
                as_user(here, "idle"),
                f"etcd user idle may read nothing under {here.prefix}: it has no role,"
                " or one without rights there (babygun access makes them)",
            ),
            (as_user(here, user), f"etcd user {user} may not read {here.prefix}workers/"),
        ]
        for settings, sentence in rows if role == "worker" else rows[-1:]:
            command = Command(settings, tmp_path)
            result = await command(role)
            assert (result.status, result.error) == (2, f"babygun: {sentence}\n")
            found = await command("doctor", "--no-relay", "--role", role)
            assert found.status == 1 and f"BAD   {sentence}\n" in found.out


async def test_process_of_another_cluster_ends_with_a_sentence(rig: Rig, tmp_path: Path) -> None:
    await rig.store.client.put(rig.store.keys.cluster, b"north")
    sentence = (
        f"the prefix {rig.settings.prefix} belongs to the cluster 'north',"
        " and this process to 'south': set another prefix, or the right cluster"
    )
    for words in (("api", "--port", "0"), ("worker",)):
        result = await Command(changed(rig.settings, cluster="south"), tmp_path)(*words)
        assert (result.status, result.error) == (2, f"babygun: {sentence}\n")
    found = await Command(changed(rig.settings, cluster="south"), tmp_path)("doctor")
    assert found.status == 1 and f"BAD   {sentence}\n" in found.out
    assert "WARN  the prefix" in (await Command(rig.settings, tmp_path)("doctor")).out
