"""Health: each reason and warning is one sentence, and mail goes on when it is repaired."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aetcd import rpc

from babygun.errors import SettingsError
from babygun.etcd import EtcdClient, diagnosis, plain_http
from babygun.etcd.access import set_roles
from babygun.etcd.versions import NESTED_RIGHTS
from babygun.pki.certificates import read_certificate
from babygun.routing.routes import load_routes
from babygun.runtime.clock import utc_now
from babygun.runtime.exposition import render
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.access.rights import Role
from babygun.store.cluster import health
from babygun.store.cluster.findings import of_version
from babygun.store.cluster.health import Checkup, Health
from babygun.store.cluster.processes import list_workers
from babygun.store.keys import range_end
from babygun.store.sites import steering
from babygun.worker import Worker
from tests.support.certificates import Authority
from tests.support.etcd_server import EtcdServer, needs_ability
from tests.support.guarded_etcd import as_user, guarded_etcd, role_permissions
from tests.support.processes import PATIENCE
from tests.support.proxy import proxy_to
from tests.support.rig import Rig, changed, quick, rig_for
from tests.support.scraping import Scraped
from tests.support.smtp_server import MisbehavingServer

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for a moment is no etcd that does not answer."""
    for module, name in (
        (health, "ANSWER"),
        (health, "START_PATIENCE"),
        (health, "_EXPLAIN"),
        (diagnosis, "PATIENCE"),
        (plain_http, "PATIENCE"),
    ):
        monkeypatch.setattr(module, name, PATIENCE)


@asynccontextmanager
async def checkup(settings: Settings, role: Role = "worker") -> AsyncIterator[Checkup]:
    async with Store(settings) as store:
        yield Checkup(store, role, load_routes(settings))


async def refused(settings: Settings, role: Role = "worker") -> str:
    """The sentence with which a start ends."""
    async with checkup(settings, role) as found:
        with pytest.raises(SettingsError) as raised:
            await found.require()
        health = await found.check()
        await found.refresh()
        assert not health.ok or not (await found.check()).ok
    return str(raised.value)


async def until(found: Checkup, ok: bool) -> Health:
    async with asyncio.timeout(PATIENCE):
        while True:
            await found.refresh()
            if (now := await found.check()).ok == ok:
                return now


@pytest.fixture
async def guarded(settings: Settings, smtp: MisbehavingServer) -> AsyncIterator[Settings]:
    short = quick(settings, {"main": {"url": smtp.url}}, drain_timeout=2.0)
    async with guarded_etcd(short) as found:
        yield found


async def test_api_warns_of_fewer_workers_than_expected_once_they_had_time_to_start(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with checkup(changed(rig.settings, expected_workers=2), "api") as found:
        await found.refresh()
        assert not (await found.check()).warnings
        monkeypatch.setattr(health, "BEGINNING", 0.0)
        await found.refresh()
        [warning] = (await found.check()).warnings
        assert warning.startswith("no worker is alive: mail is accepted and waits")
        async with rig.worker():
            await found.refresh()
            [warning] = (await found.check()).warnings
            assert warning == "1 worker is alive, and expected_workers is 2"
    async with checkup(changed(rig.settings, expected_workers=0), "api") as found:
        await found.refresh()
        assert not (await found.check()).warnings


async def test_all_is_well_where_nothing_is_wrong(rig: Rig) -> None:
    for role in ("api", "worker"):
        async with checkup(rig.settings, role) as found:
            await found.require()
            await found.refresh()
            assert await found.check() == Health(True)


@needs_ability(NESTED_RIGHTS)
async def test_wrong_password_and_no_password_are_reasons(guarded: Settings) -> None:
    wrong = changed(guarded, etcd_user="babygun-worker", etcd_password="guessed")
    assert await refused(wrong) == (
        "etcd does not take the password of its user babygun-worker,"
        " or does not know that user (etcd_user, etcd_password)"
    )
    assert (await refused(guarded)).startswith(
        "etcd's authentication is on: set etcd_user and etcd_password"
    )


async def test_users_certificate_is_named_where_there_is_no_user_name(
    settings: Settings, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "ca")
    pem, mine = authority.sign("server"), authority.sign("babygun-worker")
    with EtcdServer(tls=(pem.cert, pem.key, authority.ca), fsync=False) as server:
        secure = changed(
            settings,
            etcd_endpoints=(server.endpoint,),
            etcd_ca=str(authority.ca),
            etcd_cert=str(mine.cert),
            etcd_key=str(mine.key),
        )
        async with EtcdClient.from_settings(secure) as client:
            await client.access(
                "UserAdd",
                rpc.AuthUserAddRequest(
                    name="babygun-worker", options=rpc.UserAddOptions(no_password=True)
                ),
            )
            async for _ in set_roles(client, {}):
                pass
            await client.access("AuthEnable", rpc.AuthEnableRequest())
        assert (await refused(secure)).startswith(
            f"etcd user babygun-worker may read nothing under {settings.prefix}: it has no role"
        )


async def test_right_taken_away_stops_the_work_with_a_sentence_and_nothing_is_lost(
    guarded: Settings, smtp: MisbehavingServer
) -> None:
    permissions = role_permissions(guarded.prefix)
    lesser = {
        name: [
            p._replace(write=False)
            if name == "babygun-worker" and p.start.endswith(b"/owners/")
            else p
            for p in held
        ]
        for name, held in permissions.items()
    }
    async with (
        rig_for(as_user(guarded, "babygun-api")) as api,
        rig_for(as_user(guarded, "babygun-worker")) as rig,
        EtcdClient.from_settings(as_user(guarded, "root")) as root,
    ):
        async with rig.worker() as worker:
            async for _ in set_roles(root, lesser):
                pass
            email_id = await api.send("ann@example.org")
            assert (await until(worker.health, ok=False)).reasons == [
                f"etcd user babygun-worker may not write {guarded.prefix}owners/"
            ]
            assert (await api.get(email_id)).status == "incomplete"
            async for _ in set_roles(root, permissions):
                pass
            assert (await until(worker.health, ok=True)).warnings == []
            [email] = await api.ended(email_id)
            assert email.status == "complete" and len(smtp.messages) == 1
        async for _ in set_roles(root, lesser):
            pass
        with pytest.raises(SettingsError, match=r"may not write .*owners/"):
            await Worker(rig.settings).run()


@pytest.mark.parametrize(
    ("version", "user", "said"),
    [
        ("3.5.1", "", ["13766", "17612", "9888", "22134"]),
        ("3.5.16", "", ["does not count nested transactions against its quota"]),
        ("3.5.16", "root", ["so roles protect nothing (CVE-", "GHSA-xg4h", "its quota"]),
        ("3.6.13", "root", ["GHSA-xg4h-6gfc-h4m8): use 3.6.14 or newer", "its quota"]),
        ("3.6.14", "root", []),
    ],
)
async def test_what_a_version_of_etcd_lacks_is_a_warning_by_its_name(
    settings: Settings, version: str, user: str, said: list[str]
) -> None:
    found = of_version(version, changed(settings, etcd_user=user))
    assert not any(finding.blocks or finding.fatal for finding in found)
    assert len({finding.key for finding in found}) == len(found) == len(said)
    for finding, words in zip(found, said, strict=True):
        assert finding.sentence.startswith(f"etcd {version} ") and words in finding.sentence


@pytest.mark.parametrize(
    ("version", "said", "fatal"), [("3.3.27", "too old", True), ("3.5.1", "13766", False)]
)
async def test_version_of_etcd_that_will_not_do_is_reported(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, version: str, said: str, fatal: bool
) -> None:
    real = EtcdClient.status

    async def old(self: EtcdClient) -> Any:
        return (await real(self))._replace(version=version)

    monkeypatch.setattr(EtcdClient, "status", old)
    if fatal:
        assert said in await refused(rig.settings)
    else:
        async with checkup(rig.settings) as found:
            await found.require()
            now = await found.check()
            assert now.ok and said in now.warnings[0]


async def test_etcd_away_lets_the_process_start_and_is_a_reason(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "START_PATIENCE", 0.3)
    async with checkup(
        changed(settings, etcd_endpoints=("http://127.0.0.1:1",), etcd_timeout=0.5)
    ) as found:
        await found.require()
        assert (
            (await found.check())
            .reasons[0]
            .startswith("etcd does not answer: no connection to etcd at http://127.0.0.1:1")
        )


async def test_expired_certificate_of_etcd_is_a_reason_and_work_begins_when_it_is_renewed(
    settings: Settings, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "ca")
    old, mine = authority.sign("server", begins=-2 * DAY, ends=-DAY), authority.sign("mine")
    server = EtcdServer(tls=(old.cert, old.key, authority.ca), fsync=False)
    server.launch()
    try:
        secure = changed(
            settings,
            etcd_endpoints=(server.endpoint,),
            etcd_ca=str(authority.ca),
            etcd_cert=str(mine.cert),
            etcd_key=str(mine.key),
            etcd_timeout=2.0,
            relay_url="smtp://127.0.0.1:1",
        )
        assert await asyncio.to_thread(server.answers)
        async with checkup(secure) as found:
            await found.require()
            assert (await found.check()).reasons == [
                f"etcd at {server.endpoint}: its certificate has expired, by this machine's clock"
            ]
            authority.sign("server")  # etcd reads the file again for each connection
            assert (await until(found, ok=True)).warnings == []
    finally:
        server.stop()


async def test_member_that_is_down_is_a_warning_while_another_answers(rig: Rig) -> None:
    async with checkup(
        changed(
            rig.settings,
            etcd_endpoints=(*rig.settings.etcd_endpoints, "http://127.0.0.1:1"),
            etcd_timeout=8.0,  # the one that is down takes all of it
        )
    ) as found:
        await found.refresh()
        now = await found.check()
        assert (now.ok, now.warnings) == (True, ["etcd at http://127.0.0.1:1 does not answer"])


# --- whose prefix it is ---


async def test_first_cluster_leaves_its_name_and_another_does_not_work_there(rig: Rig) -> None:
    async with checkup(changed(rig.settings, cluster="north")) as found:
        assert not found.joined
        await found.require()
        assert found.joined and await found.check() == Health(True)
    found_key = await rig.store.client.get(rig.store.keys.cluster)
    assert found_key is not None and found_key.value == b"north"
    async with rig_for(changed(rig.settings, cluster="north")) as same, same.worker():
        pass
    belongs = f"the prefix {rig.settings.prefix} belongs to the cluster 'north'"
    sentence = f"{belongs}, and this process to 'south': set another prefix, or the right cluster"
    assert await refused(changed(rig.settings, cluster="south")) == sentence
    with pytest.raises(SettingsError, match="belongs to the cluster 'north'"):
        await Worker(changed(rig.settings, cluster="south")).run()
    async with checkup(rig.settings) as nameless:
        await nameless.require()
        await nameless.refresh()
        warning = f"{belongs}: set cluster to that, so that nothing is mixed"
        assert await nameless.check() == Health(True, [], [warning])


async def test_worker_of_another_cluster_that_starts_while_etcd_is_away_touches_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "START_PATIENCE", 0.2)
    server = EtcdServer(fsync=False).start()
    try:
        here = changed(rig.settings, etcd_endpoints=(server.endpoint,))
        async with rig_for(here) as own:
            await own.store.client.put(own.store.keys.cluster, b"north")
            await own.send("ann@example.org")
            before = await own.store.client.range(
                own.store.keys.prefix, range_end(own.store.keys.prefix)
            )
            await asyncio.to_thread(server.kill)
            running = asyncio.create_task(Worker(changed(here, cluster="south")).run())
            await asyncio.sleep(0.5)
            assert not running.done()
            await asyncio.to_thread(server.start)
            with pytest.raises(SettingsError, match="belongs to the cluster 'north'"):
                await asyncio.wait_for(running, PATIENCE)
            after = await own.store.client.range(
                own.store.keys.prefix, range_end(own.store.keys.prefix)
            )
            assert [(kv.key, kv.mod_revision) for kv in after.kvs] == [
                (kv.key, kv.mod_revision) for kv in before.kvs
            ]
    finally:
        server.stop()


# --- the workers ---


async def test_workers_of_two_routings_under_one_prefix_are_reported_once_each_way(
    rig: Rig,
    other_smtp: MisbehavingServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "INTERVAL", 0.1)
    with caplog.at_level(logging.INFO, "babygun.health"):
        async with (
            rig.worker(lease_ttl=60.0) as one,
            rig_for(changed(rig.settings, relays={"main": {"url": other_smtp.url}})) as second,
            second.worker(lease_ttl=60.0) as other,
        ):
            for mine, theirs, smtp_port in (
                (one, other, rig.settings),
                (other, one, second.settings),
            ):
                async with asyncio.timeout(PATIENCE):
                    while not (warnings := (await mine.health.check()).warnings):  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
                endpoint = load_routes(smtp_port).destinations["main"].endpoint
                [host] = {w.hostname for w in await list_workers(rig.store)}
                assert warnings == [
                    f"worker {theirs.membership.worker_id} on host {host} sends queue main to"
                    f" another server; this process sends it to {endpoint}:"
                    f" two clusters share the prefix {rig.settings.prefix},"
                    " or their settings differ"
                ]
            await asyncio.sleep(0.4)
    said = [
        record.fields["what"]  # type: ignore[attr-defined]
        for record in caplog.records
        if record.message == "problem found"
    ]
    assert len(said) == len(set(said)) == 2


async def test_jobs_whose_relay_was_taken_out_of_the_settings_are_a_warning(
    rig: Rig, other_smtp: MisbehavingServer
) -> None:
    former = changed(
        rig.settings,
        relays=rig.settings.relays
        | {"former": {"url": other_smtp.url, "domains": ["old.example"]}},
    )
    former = changed(former, relays=dict(reversed(former.relays.items())))
    async with rig_for(former) as before:
        await before.send("ann@old.example")
        await before.send("ben@old.example", send_at=utc_now() + timedelta(hours=1))
    warning = (
        "2 jobs of queue former can't go: no live worker sends it, so add its destination again"
    )
    async with (
        rig.worker(lease_ttl=10.0),
        checkup(rig.settings, "api") as found,
        asyncio.timeout(PATIENCE),
    ):
        await found.refresh()
        while warning not in (await found.check()).warnings:
            await asyncio.sleep(0.05)
            await found.refresh()


async def test_certificate_renewed_under_a_running_process_asks_for_a_restart(
    rig: Rig, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "ca")
    pem = authority.sign("mine", ends=3 * DAY)
    async with checkup(
        changed(rig.settings, etcd_cert=str(pem.cert), etcd_key=str(pem.key))
    ) as found:
        await found.refresh()
        [warning] = (await found.check()).warnings
        assert warning.startswith(f"etcd_cert: the certificate {pem.cert} expires on ")
        until = read_certificate(pem.cert).not_after.timestamp()
        authority.sign("mine")
        await found.refresh()
        [warning] = (await found.check()).warnings
        assert warning.startswith(
            "etcd_cert: this process shows a certificate that expires on "
        ) and warning.endswith("the file holds a newer one: restart it")
        assert (
            Scraped(render("worker")[0].decode()).get(
                "babygun_certificate_expiry_timestamp_seconds", use="etcd"
            )
            == until
        ), "what is shown, not what the file holds"


@pytest.mark.parametrize(
    ("off", "words"),
    [
        (
            180,
            "3 min ahead of etcd's:"
            " scheduled e-mails, retries and the ends of tokens come that much too early",
        ),
        (-180, "3 min behind etcd's"),
    ],
)
async def test_clock_off_by_minutes_is_a_warning(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, off: float, words: str
) -> None:
    ours = SimpleNamespace(time=lambda: time.time() + off)  # gRPC goes by the real one
    monkeypatch.setattr(plain_http, "time", ours)
    async with checkup(rig.settings, "api") as found:
        await found.refresh()
        [warning] = (await found.check()).warnings
        assert warning.startswith(f"this machine's clock is {words}")


async def test_what_is_repaired_is_reported_too(
    rig: Rig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "INTERVAL", 0.02)
    async with checkup(changed(rig.settings, cluster="north")) as found:
        await rig.store.client.put(rig.store.keys.cluster, b"south")
        with caplog.at_level(logging.INFO, "babygun.health"):
            running = asyncio.create_task(found.run())
            async with asyncio.timeout(PATIENCE):
                while "problem found" not in caplog.messages:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                assert not found.joined
                await rig.store.client.delete(rig.store.keys.cluster)
                while "problem solved" not in caplog.messages:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert found.joined and (await found.check()).ok


async def test_finding_is_not_taken_for_solved_while_etcd_is_away(rig: Rig) -> None:
    until_then = utc_now() + timedelta(hours=1)
    await steering.hold(rig.store, "mx:google", reason="pause", until=until_then, by="ann")
    async with proxy_to(rig.settings.etcd_endpoints[0]) as proxy:
        away = changed(rig.settings, etcd_endpoints=(proxy.url,), etcd_timeout=1.0)
        async with checkup(away) as found:
            async with asyncio.timeout(PATIENCE):
                while not (warnings := (await until(found, ok=True)).warnings):
                    pass  # on a busy machine a read may take longer than etcd_timeout
            [held] = warnings
            proxy.cut()
            await found.refresh()
            now = await found.check()
            assert not now.ok and now.warnings == [held]
            proxy.mend()
            await steering.resume(rig.store, "mx:google")
            async with asyncio.timeout(PATIENCE):
                while (await until(found, ok=True)).warnings:
                    pass


async def test_etcd_that_hangs_is_reported_before_the_probe_gives_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "ANSWER", 1.0)
    monkeypatch.setattr(health, "_EXPLAIN", 1.5)
    server = EtcdServer().start()
    try:
        async with checkup(Settings(etcd_endpoints=(server.endpoint,), etcd_timeout=30.0)) as found:
            await until(found, ok=True)
            server.pause()
            async with asyncio.timeout(20):  # etcd_timeout is longer
                verdict = await found.check()
            assert not verdict.ok and verdict.reasons == [
                f"etcd does not answer within {health.ANSWER:g} s"
            ]
            server.resume()
            await until(found, True)
    finally:
        server.stop()


async def test_health_of_an_etcd_that_is_not_there_says_so(rig: Rig) -> None:
    async with checkup(rig.settings, "inspector") as found:
        assert (await found.check()).ok
    nowhere = changed(rig.settings, etcd_endpoints=("http://127.0.0.1:1",), etcd_timeout=0.5)
    async with checkup(nowhere, "inspector") as found:
        now = await found.check()
        assert not now.ok and "does not answer" in now.reasons[0]
