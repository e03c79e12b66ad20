"""Runs every etcdctl recipe of etcd/schema.md, with e-mails in every state.

The etcd is real and has authentication. The user is the one that the page names.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from babygun.dev.etcd.binary import find_etcd
from babygun.email.tries import RecipientResult
from babygun.etcd import access
from babygun.etcd.versions import parse_version
from babygun.pki.issuance import issue
from babygun.pki.layout import cluster
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store.access.clients import create_client
from babygun.store.access.rights import RIGHTS, grants
from babygun.store.sites.holds import begin
from tests.support.api import running, until_ready
from tests.support.etcd_server import EtcdServer, NoEtcd
from tests.support.needs import missing
from tests.support.paths import ROOT
from tests.support.processes import PATIENCE
from tests.support.rig import rig_for
from tests.support.smtp_server import MisbehavingServer

PAGE = (ROOT / "etcd/schema.md").read_text()
BLOCKS = dict(
    re.findall(
        r"^\*\*As (?:an )?(inspector|root)\*\*.*?```sh\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL
    )
)


def recipes() -> Iterator[Any]:
    for who, block in BLOCKS.items():
        for line in block.splitlines():
            if line and not line.startswith("#"):
                yield pytest.param(who, line, id=re.sub(r"\s+# .*", "", line))


class Scene(NamedTuple):
    """``environment``: of a shell of the inspector.

    ``ids``: of e-mails, by their state. ``worker``: the one that sends an e-mail now.
    """

    environment: dict[str, str]
    ids: dict[str, str]
    worker: str


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    folder = tmp_path_factory.mktemp("recipes")
    list(issue(folder, cluster([], [])))
    try:
        server = EtcdServer(
            tls=(
                folder / "etcd/server.pem",
                folder / "etcd/server-key.pem",
                folder / "etcd/etcd-ca.pem",
            ),
            fsync=False,
        )
    except NoEtcd as reason:
        missing(str(reason))
    found = find_etcd()
    etcdctl = found.program("etcdctl") if found else None
    if etcdctl is None:
        missing("there is no etcdctl")
    if found and parse_version(found.version) < (3, 5):
        pytest.skip("etcdctl before 3.5 lacks some of the options")
    (folder / "bin").mkdir()
    (folder / "bin/etcdctl").symlink_to(etcdctl)
    (folder / "bin/babygun").write_text(f'#!/bin/sh\nexec {sys.executable} -m babygun "$@"\n')
    (folder / "bin/babygun").chmod(0o755)
    operator = folder / "operator"
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ETCDCTL_", "BABYGUN_"))
    } | {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "ETCDCTL_CACERT": str(operator / "etcd-ca.pem"),
        "ETCDCTL_CERT": str(operator / "inspector.pem"),
        "ETCDCTL_KEY": str(operator / "inspector-key.pem"),
    }
    async with MisbehavingServer() as smtp:
        settings = Settings(
            etcd_endpoints=(server.start().endpoint,),
            etcd_ca=str(operator / "etcd-ca.pem"),
            etcd_cert=str(operator / "root.pem"),
            etcd_key=str(operator / "root-key.pem"),
            relays={"main": {"url": smtp.url}},
            smtp_hostname="babygun.test",
            require_domains=False,
            lease_ttl=60.0,  # all tests have one worker: a standstill must not end its lease
        )
        try:
            async with rig_for(settings) as rig:
                roles = {
                    f"babygun-{role}": [
                        access.Permission(start, end, right == "readwrite")
                        for start, end, right in grants(rig.store.keys, role)
                    ]
                    for role in RIGHTS
                }
                assert [line async for line in access.set_roles(rig.store.client, roles)]
                await access.enable(rig.store.client)
                await create_client(rig.store, name="shop", scopes=("emails:send",))
                async with (
                    running(replace(settings, api_port=0), rig.store) as api,
                    rig.worker() as worker,
                ):
                    await until_ready(api)
                    ids = {
                        name: await rig.send(f"{name}@example.org")
                        for name in ("fine", "hard", "soft", "hang")
                    }
                    await rig.send_wide(17, send_at=utc_now() + timedelta(hours=1))
                    await rig.ended(ids["fine"], ids["hard"])
                    await rig.logged(ids["soft"], "deferred")
                    await smtp.hung.wait()
                    refused = RecipientResult("hold", "authentication", 535)
                    await begin(rig.store, "other", refused, worker_id="w1")
                    yield Scene(
                        environment | {"ETCDCTL_ENDPOINTS": server.endpoint},
                        ids,
                        worker.membership.worker_id,
                    )
                    smtp.release()
        finally:
            server.stop()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("who", "line"), list(recipes()))
async def test_recipe_prints_something_and_ends_well(scene: Scene, who: str, line: str) -> None:
    about = (
        "soft"
        if "not-before" in line or "/log/" in line
        else "hang"
        if "/owners/" in line or "/jobs/" in line
        else "fine"
    )
    environment = scene.environment | {"ID": scene.ids[about], "WORKER": scene.worker}
    if who == "root":
        environment |= {
            name: scene.environment[name].replace("inspector", "root")
            for name in ("ETCDCTL_CERT", "ETCDCTL_KEY")
        }
    line = line.replace("etcdctl watch", "etcdctl watch --rev 1")
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        f"set -o pipefail\n{line}",
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    if "watch" in line:
        assert process.stdout
        async with asyncio.timeout(PATIENCE):
            out = b"".join([await process.stdout.readline() for _ in range(2)])
        os.killpg(process.pid, signal.SIGTERM)  # it would watch on for ever
        await process.communicate()
    else:
        out, said = await process.communicate()
        assert process.returncode == 0, (line, out.decode(), said.decode())
    assert out.strip(), line
    if "$ID" in line and "--print-value-only" not in line:
        assert any(each in out.decode() for each in scene.ids.values())


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("kind", ["contents", "clients", "signing-keys"])
async def test_inspector_sees_neither_what_mail_says_nor_what_opens_the_api(
    scene: Scene, kind: str
) -> None:
    process = await asyncio.create_subprocess_exec(
        "etcdctl",
        "get",
        "--prefix",
        f"/babygun/{kind}/",
        env=scene.environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, said = await process.communicate()
    assert process.returncode == 1 and not out and b"permission denied" in said
