"""etcd is restored to an earlier state while a worker runs: the worker goes on from that state."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from babygun.dev.etcd.binary import find_etcd
from babygun.pki.sealing import new_key
from babygun.store.access.clients import create_client
from babygun.store.access.signing_keys import make_signing_key
from babygun.store.domains.dkim_keys import read_private_key
from babygun.store.keys import range_end
from babygun.store.records import SCOPES
from tests.store.domains.steps import new_domain
from tests.support.etcd_server import EtcdServer, NoEtcd
from tests.support.invariants import check_invariants
from tests.support.needs import missing
from tests.support.paths import ROOT
from tests.support.rig import Rig, changed, rig_for
from tests.support.smtp_server import MisbehavingServer

SCRIPTS = ROOT / "scripts"


@pytest.fixture
def server() -> Iterator[EtcdServer]:
    try:
        server = EtcdServer()
    except NoEtcd as reason:
        missing(str(reason))
    with server:
        yield server


def script(name: str, *words: str, server: EtcdServer, backups: Path) -> str:
    """What a script prints; an AssertionError with what it said where it fails."""
    found = find_etcd()
    if (
        found is None
        or not (found.program("etcdctl") and found.program("etcdutl"))
        or not shutil.which("flock")
    ):
        missing("needs etcdctl, etcdutl and flock")
    path = (
        f"{found.program('etcdctl').parent}:{found.program('etcdutl').parent}:{os.environ['PATH']}"  # type: ignore[union-attr]
    )
    environment = os.environ | {
        "PATH": path,
        "ETCDCTL_ENDPOINTS": server.endpoint,
        "ETCDCTL_DIAL_TIMEOUT": "60s" if server.running else "5s",
        "ETCDCTL_COMMAND_TIMEOUT": "60s" if server.running else "2s",
        "BABYGUN_BACKUPS": str(backups),
        "ETCD_INITIAL_CLUSTER": server.cluster,
    }
    done = subprocess.run(
        [SCRIPTS / name, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_worker_that_lives_through_a_restore_goes_on_from_what_was_restored(
    server: EtcdServer, rig: Rig, smtp: MisbehavingServer, tmp_path: Path
) -> None:
    released = smtp.hang_once("ann@example.org")
    settings = changed(
        rig.settings, etcd_endpoints=(server.endpoint,), lease_ttl=10.0, reconcile_interval=1.0
    )
    async with rig_for(settings) as own, own.worker_process() as worker:
        unfinished = await own.send("ann@example.org")
        await smtp.hung.wait()  # a worker owns it in the snapshot
        name = (
            await asyncio.to_thread(script, "backup-etcd", server=server, backups=tmp_path)
        ).strip()
        released.set()
        lost = await own.send("bob@example.org")
        assert {email.status for email in await own.ended(unfinished, lost)} == {"complete"}
        # A worker that has not heard that its result is written would write it again.
        await worker.until("try finished", count=2)

        server.kill()  # SIGTERM would wait for the worker's watches
        await asyncio.to_thread(
            script,
            "restore-etcd",
            name,
            "--member",
            f"{server.name}={server.data}",
            server=server,
            backups=tmp_path,
        )
        server.start()
        [email] = await own.ended(unfinished)
        assert email.status == "complete"
        assert len(smtp.to("ann@example.org")) == 2  # delivered after the backup: so once more
        assert (
            len(
                {
                    message.data.split(b"Message-ID: <")[1][:36]
                    for message in smtp.to("ann@example.org")
                }
            )
            == 1
        )
        await own.ended(await own.send("eve@example.org"))
        seen = await check_invariants(own.store)
        assert lost not in seen.emails and not seen.owners


async def test_backup_holds_in_clear_what_the_documents_say_and_only_its_owner_reads_it(
    server: EtcdServer, rig: Rig, tmp_path: Path
) -> None:
    sealing_key = new_key()
    settings = changed(
        rig.settings,
        etcd_endpoints=(server.endpoint,),
        relay_url="smtp://ann:relay-password@127.0.0.1",
        secrets_keys=(sealing_key,),
    )
    async with rig_for(settings) as own:
        await own.send("ann@example.org", subject="what it is about", body="what it says")
        client, secret = await create_client(own.store, name="shop", scopes=SCOPES)
        await make_signing_key(own.store, "a1")
        domain = await new_domain(own.store, client.identity)
        seed = (await read_private_key(own.store, domain.name, domain.selectors[0].name))[-32:]
        keys = own.store.keys.signing_keys
        [key] = (await own.store.client.range(keys, range_end(keys))).kvs
    name = await asyncio.to_thread(script, "backup-etcd", server=server, backups=tmp_path)
    backup = Path(name.strip())
    assert backup.stat().st_mode & 0o777 == 0o600  # noqa: ASYNC240 (a test's own small files)
    content = backup.read_bytes()  # noqa: ASYNC240
    for words in (b"ann@example.org", b"what it is about", b"what it says", key.value):
        assert words in content, "docs/operations.md says that a backup has it in clear"
    assert client.secret_hash.encode() in content
    assert domain.selectors[0].public.encode() in content
    sealed = (seed, b64encode(seed)[:-2], seed.hex().encode(), sealing_key.encode())
    for words in (secret.encode(), b"relay-password", *sealed):
        assert words not in content


def test_restore_under_a_running_member_is_refused(server: EtcdServer, tmp_path: Path) -> None:
    name = script("backup-etcd", server=server, backups=tmp_path).strip()
    with pytest.raises(
        AssertionError, match="test runs: stop all members first; nothing was changed"
    ):
        script(
            "restore-etcd",
            name,
            "--member",
            f"{server.name}={server.data}",
            server=server,
            backups=tmp_path,
        )
    assert [path.name for path in server.data.iterdir()] == ["member"]


def test_restored_data_replace_what_was_there_and_that_is_kept_until_forget(
    server: EtcdServer, tmp_path: Path
) -> None:
    member = f"{server.name}={server.data}"
    script("backup-etcd", server=server, backups=tmp_path)
    server.terminate()
    said = script("restore-etcd", "--latest", "--member", member, server=server, backups=tmp_path)
    assert f"'restore-etcd --forget --member {member}' deletes the old data" in said
    assert sorted(path.name.split("-")[0] for path in server.data.iterdir()) == [
        "member",
        "member.before",
    ]
    script("restore-etcd", "--forget", "--member", member, server=server, backups=tmp_path)
    assert [path.name for path in server.data.iterdir()] == ["member"]
    server.start()


def test_backup_without_a_folder_and_restore_without_a_file_are_refused(
    server: EtcdServer, tmp_path: Path
) -> None:
    with pytest.raises(AssertionError, match="none is no writable folder: make it, or set BABYGUN"):
        script("backup-etcd", server=server, backups=tmp_path / "none")
    server.terminate()
    for words, said in (
        (["--latest"], f"there is no backup in {tmp_path}: set BABYGUN_BACKUPS"),
        (["/none.db"], "there is no file /none.db; nothing was changed"),
        ([], "restore-etcd FILE"),
    ):
        words += ["--member", f"{server.name}={server.data}"]
        with pytest.raises(AssertionError, match=said):
            script("restore-etcd", *words, server=server, backups=tmp_path)
    server.start()


def test_backup_with_a_wrong_option_makes_none(server: EtcdServer, tmp_path: Path) -> None:
    for words in (["--keep"], ["--keep", "0"], ["--keep=some"], ["extra"]):
        with pytest.raises(AssertionError, match=r"--keep"):
            script("backup-etcd", *words, server=server, backups=tmp_path)
        assert not list(tmp_path.iterdir()), words


def test_backup_without_etcd_says_so_and_leaves_nothing(server: EtcdServer, tmp_path: Path) -> None:
    server.terminate()
    with pytest.raises(AssertionError, match="no member gave a snapshot; nothing was changed"):
        script("backup-etcd", server=server, backups=tmp_path)
    assert not list(tmp_path.iterdir())
    server.start()
