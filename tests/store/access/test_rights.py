"""The rights of each role: a real etcd lets the roles do their work with exactly these."""

from __future__ import annotations

import base64
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, get_args

import grpc
import pytest
from aetcd import rpc

from babygun.email.model import Job
from babygun.errors import PermissionDenied
from babygun.etcd import plain_http
from babygun.etcd.access import Permission
from babygun.etcd.versions import NESTED_RIGHTS, WATCH_RIGHTS
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store import Store, codec
from babygun.store.access.permissions import missing_rights
from babygun.store.access.rights import RIGHTS, Grant, Right, Role, grants
from babygun.store.cluster import health
from babygun.store.cluster.health import Health
from babygun.store.cluster.processes import list_workers
from babygun.store.emails.listing import list_emails
from babygun.store.keys import JobRef, Keys, range_end
from babygun.store.records import Owner, Scope
from babygun.store.upkeep import fullness, shedding
from babygun.store.upkeep.compaction import Compaction
from babygun.store.upkeep.fullness import Fullness, Size
from tests.support.api import RunningApi, running, until_ready
from tests.support.bounce_server import bounce_server
from tests.support.etcd_server import EtcdServer, needs_ability
from tests.support.guarded_etcd import as_user, guard, guarded_etcd
from tests.support.paths import ROOT
from tests.support.processes import PATIENCE
from tests.support.returned import feedback, report, return_path
from tests.support.rig import LONG_LEASE, changed, quick, rig_for
from tests.support.smtp_server import MisbehavingServer

KINDS = {
    name for name, value in vars(Keys()).items() if isinstance(value, bytes) and name != "prefix"
}


def test_every_kind_of_key_is_given_to_some_role_and_every_role_names_kinds_that_exist() -> None:
    assert set(RIGHTS) == set(get_args(Role))
    assert {kind for kinds in RIGHTS.values() for kind in kinds} == KINDS


@pytest.mark.parametrize(
    ("role", "kept_from_it"),
    [
        (
            "worker",
            {
                "apis",
                "audit",
                "bounced_runs",
                "clients",
                "client_usages",
                "signing_keys",
                "revocations",
                "idempotencies",
            },
        ),
        (
            "inspector",
            {
                "clients",
                "signing_keys",
                "unsubscribe_keys",
                "return_path_keys",
                "dkim_keys",
                "webhook_secrets",
                "contents",
                "idempotencies",
            },
        ),
        (
            "bounced",
            KINDS
            - {
                "bounced_runs",
                "emails",
                "contents",
                "logs",
                "parts",
                "failures",
                "retentions",
                "notices",
                "suppressions",
                "owners",
                "webhooks",
                "clients",
                "return_path_keys",
                "late_events",
                "cluster",
            },
        ),
        ("api", {"return_path_keys", "late_events"}),
    ],
)
def test_role_has_no_access_to_what_is_none_of_its_business(
    role: Role, kept_from_it: set[str]
) -> None:
    assert KINDS - set(RIGHTS[role]) == kept_from_it


def test_inspector_may_write_nothing() -> None:
    assert set(RIGHTS["inspector"].values()) == {"read"}


def test_grants_are_ranges_below_the_prefix_and_one_key() -> None:
    found = grants(Keys("/x/"), "worker")
    assert (
        Grant(b"/x/owners/", b"/x/owners0", "readwrite") in found
        and Grant(b"/x/cluster", b"", "readwrite") in found
    )
    assert all(grant.start.startswith(b"/x/") for grant in found)


@pytest.fixture
async def guarded(settings: Settings, smtp: MisbehavingServer) -> AsyncIterator[Settings]:
    """Settings for an etcd whose users have the rights of the table and no others; short waits."""
    relays = {"main": {"url": smtp.url, "max_connections": 50}}
    short = quick(settings, relays, reconcile_interval=0.5, api_port=0, drain_timeout=2.0)
    async with guarded_etcd(short) as found:
        yield found


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for a moment is no etcd that does not answer."""
    for module, name in (
        (health, "ANSWER"),
        (health, "START_PATIENCE"),
        (fullness, "_PATIENCE"),
        (plain_http, "PATIENCE"),
    ):
        monkeypatch.setattr(module, name, PATIENCE)


@asynccontextmanager
async def api_of(settings: Settings, *scopes: Scope) -> AsyncIterator[RunningApi]:
    """An API that is the user babygun-api, with a token."""
    async with (
        Store(as_user(settings, "root")) as store,
        running(as_user(settings, "babygun-api"), store) as api,
    ):
        await until_ready(api)
        api.token = await api.token_for(*scopes)
        yield api


async def test_api_does_all_of_its_work_with_its_rights(
    guarded: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "BEGINNING", 600.0)  # on a slow machine it would miss workers
    async with api_of(changed(guarded, cluster="ours"), "admin") as api:
        plain = await api.accepted()
        later = await api.accepted(send_at="2027-06-01T00:00:00Z")
        large = await api.accepted(
            attachments=[
                {"filename": "a", "content": base64.b64encode(os.urandom(2_000_000)).decode()}
            ]
        )
        for repeated in (False, True):
            answer = await api.send(http_headers={"Idempotency-Key": "k"})
            assert answer.status == 202 and ("Idempotent-Replayed" in answer.headers) == repeated
        for email_id in (plain, later, large):
            assert (await api.call("GET", f"/emails/{email_id}")).status == 200
            assert (await api.call("GET", f"/emails/{email_id}/log")).status == 200
            assert (await api.call("POST", f"/emails/{email_id}/cancel")).json[
                "status"
            ] == "cancelled"
        assert (await api.call("POST", f"/emails/{large}/retry")).json["status"] == "incomplete"
        made = (
            await api.call("POST", "/clients", json={"name": "other", "scopes": ["emails:read"]})
        ).json["id"]
        assert (await api.call("DELETE", f"/clients/{made}")).status == 204
        many = [await api.accepted() for _ in range(2)]
        for what in ("cancel", "retry"):
            assert {
                r["status"]
                for r in (await api.call("POST", f"/emails/{what}", json={"ids": many})).json[
                    "results"
                ]
            } == {"ok"}
        for path in (
            "/emails",
            "/emails?status=failed",
            "/emails?status=sending",
            "/emails?status=waiting",
            "/clients",
            "/schedule",
            f"/emails/{large}/source",
            f"/emails/{many[0]}?wait=200ms",
            "/workers",
            "/readyz",
        ):
            assert (await api.call("GET", path)).status == 200
        assert (await api.call("GET", "/readyz")).json["warnings"] == []
        ann = "/recipients/ann@example.org"
        exported = await api.call("GET", f"{ann}/export")
        assert exported.text.splitlines()[-1].startswith('{"kind":"end"')
        erased = await api.call("DELETE", ann)
        assert erased.json["deleted"] > 4 and erased.json["under_way"] == 0
        audit = (await api.call("GET", "/audit")).json["entries"]
        assert {"eraseRecipientData", "deleteClient"} <= {entry["action"] for entry in audit}
        assert (await api.call("DELETE", "/tokens")).status == 204
        assert (await api.call("GET", "/tokens")).status == 401


async def test_worker_does_all_of_its_work_with_its_rights(
    guarded: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mine = changed(as_user(guarded, "babygun-worker"), cluster="ours")
    async with (
        rig_for(changed(as_user(guarded, "babygun-api"), retention=60.0)) as api,
        rig_for(mine) as rig,
    ):
        with caplog.at_level(logging.WARNING):
            async with rig.worker(contents_retention=0.0) as worker:
                emails = [
                    await api.send(to)
                    for to in ("ann@example.org", "hard@example.org", "flaky-1@example.org")
                ]
                emails.append(
                    await api.send("later@example.org", send_at=utc_now() + timedelta(seconds=0.3))
                )
                emails.append(await api.send("big@example.org", body="x" * 2_000_000))
                ended = await api.ended(*emails)
                assert [email.status for email in ended] == [
                    "complete",
                    "failed",
                    "complete",
                    "complete",
                    "complete",
                ]
                assert await rig.store.client.get(rig.store.keys.failed(emails[1]))
                assert "deferred" in await rig.events(emails[2])
                later = utc_now() + timedelta(hours=1)
                orphan = JobRef(await api.send("ann@example.org", send_at=later), "main")
                identity = worker.membership.identity
                assert identity is not None
                await rig.store.client.put(
                    rig.store.keys.owner(orphan),
                    codec.encode_state(Owner(identity.process_id, utc_now())),
                    identity.lease_id,
                )
                await rig.store.client.put(rig.store.keys.job(orphan), codec.encode_job(Job(1, 1)))
                await rig.emptied(rig.store.keys.owners)
                assert await worker.health.check() == Health(True)
            async with rig.worker():
                await api.ended(await api.send("kept@example.org"))
            monkeypatch.setattr(shedding, "CONTENTS_ABOVE", -1.0)
            monkeypatch.setattr(shedding, "RECORDS_ABOVE", -2.0)
            monkeypatch.setattr(shedding, "_FILLING", timedelta(0))
            fullness = Fullness(rig.store.client, 1 << 30)
            compaction = Compaction(rig.store.client, fullness, rig.store.keys.cluster)
            room = shedding.Shedding(rig.store, fullness, compaction)
            await room.once()
            assert room.shed["contents"] and room.shed["emails"]
        denied = [
            record.getMessage()
            for record in caplog.records
            if "permission" in str(getattr(record, "fields", ""))
        ]
        assert not denied


@needs_ability(NESTED_RIGHTS)
async def test_bounced_does_all_of_its_work_with_its_rights(
    guarded: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        api_of(guarded, "emails:send", "webhooks") as api,
        rig_for(as_user(guarded, "babygun-worker")) as rig,
    ):
        hook = {"url": "https://hooks.example.org/", "events": ["bounced", "complained"]}
        assert (await api.call("POST", "/webhooks", json=hook)).status == 201
        ids = [await api.accepted(to=f"{name}@example.org") for name in ("ann", "bob", "gone")]
        async with rig.worker():
            emails = await rig.ended(*ids)
        client = emails[0].client_id
        paths = [
            await return_path(rig.store, email.id, email.recipients[0].email, client=client)
            for email in emails
        ]
        root = as_user(guarded, "root")
        async with Store(root) as store:
            await store.client.delete(store.keys.email(ids[2]))
        with caplog.at_level(logging.WARNING):
            async with bounce_server(as_user(guarded, "babygun-bounced")) as bounced:
                await bounced.server.health.refresh()
                assert await bounced.server.health.check() == Health(True)
                for name, path in (("ann", paths[0]), ("gone", paths[2])):
                    reply = await bounced.give(report(f"{name}@example.org"), path)
                    assert reply.startswith("250")
                head = f"Return-Path: <{paths[1]}>\n\n".encode()
                complaint = feedback("bob@example.org", head)
                assert (await bounced.give(complaint, paths[1])).startswith("250")
        assert (await rig.get(ids[0])).recipients[0].late
        assert "complained" in await rig.events(ids[1])
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_compaction_that_only_root_may_ask_for_is_left_to_etcd_and_awaited(
    guarded: Settings,
) -> None:
    async with (
        rig_for(as_user(guarded, "babygun-worker")) as rig,
        rig_for(as_user(guarded, "root")) as root,
    ):
        fullness = Fullness(rig.store.client, 1 << 30)
        compaction = Compaction(rig.store.client, fullness, rig.store.keys.cluster)
        assert compaction.lead < 10
        fullness.add(Size(time.monotonic() - 30, 0, 0, 1))
        await fullness.measure()
        compaction._low = -(1 << 30)  # as if so much had been written
        await compaction.once()
        assert compaction.compacted == 0
        await compaction.once()
        at, seen = compaction._probed[0]
        compaction._probed[0] = (at - 100, seen)  # as if that had been long ago
        await compaction.once()
        assert compaction.lead > 100
        later = await rig.store.client.put(rig.store.keys.cluster, b"")
        await root.store.client.compact(later, timeout=20)
        await compaction.once()
        assert compaction.compacted == seen and compaction.lead > 100, "so long it may take again"


async def test_worker_that_dies_is_taken_over_from_with_the_rights_of_workers(
    guarded: Settings,
) -> None:
    async with (
        rig_for(as_user(guarded, "babygun-api")) as api,
        rig_for(as_user(guarded, "babygun-worker")) as rig,
        rig.worker_process(lease_ttl=LONG_LEASE) as dying,
    ):
        email_id = await api.send("hang@example.org")
        assert await api.owned(email_id) == dying.id
        async with rig.worker() as worker:
            await api.shares(worker.membership.worker_id)  # else it would not see the other one go
            dying.kill()
            await rig.bury(dying)
            await rig.logged(email_id, "reclaimed")


async def test_inspector_reads_what_happens_and_nothing_else(guarded: Settings) -> None:
    async with (
        rig_for(as_user(guarded, "babygun-api")) as api,
        rig_for(as_user(guarded, "babygun-worker")) as working,
        rig_for(as_user(guarded, "babygun-inspector")) as rig,
        working.worker(),
    ):
        email_id = await api.send("ann@example.org")
        await rig.ended(email_id)
        assert (await rig.events(email_id))[0] == "accepted"
        assert len(await list_workers(rig.store)) == 1
        assert len((await list_emails(rig.store, limit=10)).emails) == 1
        assert await missing_rights(rig.store, "inspector") == []
        for kind in KINDS:
            start = getattr(rig.store.keys, kind)
            with pytest.raises(PermissionDenied):
                await rig.store.client.put(start, b"")
            if kind not in RIGHTS["inspector"]:
                with pytest.raises(PermissionDenied):
                    await rig.store.client.range(start, range_end(start), limit=1)


@needs_ability(NESTED_RIGHTS, WATCH_RIGHTS)
@pytest.mark.parametrize("role", get_args(Role))
async def test_role_finds_no_other_way_to_what_is_not_its_own(
    guarded: Settings, role: Role
) -> None:
    """By each call of etcd that is about all keys, about others' leases, or about the cluster."""
    keys, secret = Keys(guarded.prefix), b"/other/secret"
    async with Store(as_user(guarded, "root")) as store:
        lease = await store.client.grant(600)
        await store.client.put(secret, b"words", lease)
    everything = rpc.RangeRequest(key=b"\0", range_end=b"\0")
    calls: list[tuple[str, Any]] = [
        ("KV/Range", everything),
        ("KV/Range", rpc.RangeRequest(key=b"\0", range_end=b"\0", count_only=True)),
        ("KV/Range", rpc.RangeRequest(key=keys.prefix, range_end=range_end(keys.prefix))),
        ("KV/Range", rpc.RangeRequest(key=secret)),
        ("KV/Txn", rpc.TxnRequest(success=[rpc.RequestOp(request_range=everything)])),
        ("KV/Txn", rpc.TxnRequest(compare=[rpc.Compare(key=secret, version=1)])),
        ("KV/DeleteRange", rpc.DeleteRangeRequest(key=secret, prev_kv=True)),
        ("KV/Compact", rpc.CompactionRequest(revision=1)),
        ("Lease/LeaseTimeToLive", rpc.LeaseTimeToLiveRequest(ID=lease, keys=True)),
        ("Lease/LeaseRevoke", rpc.LeaseRevokeRequest(ID=lease)),
        ("Maintenance/Snapshot", rpc.SnapshotRequest()),
        ("Maintenance/HashKV", rpc.HashKVRequest()),
        ("Maintenance/Defragment", rpc.DefragmentRequest()),
        ("Maintenance/Alarm", rpc.AlarmRequest(action=2, memberID=1, alarm=1)),
        ("Cluster/MemberAdd", rpc.MemberAddRequest(peerURLs=["http://127.0.0.1:1"])),
        ("Auth/AuthDisable", rpc.AuthDisableRequest()),
        ("Auth/UserList", rpc.AuthUserListRequest()),
        ("Auth/RoleGet", rpc.AuthRoleGetRequest(role="root")),
    ]
    allowed = []
    user = as_user(guarded, f"babygun-{role}")
    async with grpc.aio.insecure_channel(user.etcd_endpoints[0].partition("//")[2]) as channel:
        hello = rpc.AuthenticateRequest(name=user.etcd_user, password=user.etcd_password)
        signed_in = channel.unary_unary("/etcdserverpb.Auth/Authenticate")
        token = rpc.AuthenticateResponse.FromString(
            await signed_in(hello.SerializeToString())
        ).token
        for name, request in calls:
            method = channel.unary_stream(f"/etcdserverpb.{name}")
            try:
                async for _ in method(request.SerializeToString(), metadata=(("token", token),)):
                    allowed.append(name)
            except grpc.aio.AioRpcError as error:
                # etcd 3.5 says it without the code.
                assert "permission denied" in (error.details() or ""), (name, error)
        watch = channel.stream_stream("/etcdserverpb.Watch/Watch")(metadata=(("token", token),))
        wide = rpc.WatchCreateRequest(key=keys.cluster, range_end=b"\0", start_revision=1)
        await watch.write(rpc.WatchRequest(create_request=wide).SerializeToString())
        answer = rpc.WatchResponse.FromString(await watch.read())
        assert answer.canceled and not answer.events
        watch.cancel()
    assert allowed == []


@pytest.mark.parametrize(
    ("role", "kind", "right", "words"),
    [
        ("worker", "owners", "read", "write"),
        ("api", "clients", "read", "write"),
        ("api", "owners", None, "read"),
        ("worker", "cluster", "read", "write"),
    ],
)
async def test_right_that_lacks_is_named(
    settings: Settings, role: Role, kind: str, right: Right | None, words: str
) -> None:
    keys = Keys(settings.prefix)
    given = [grant for grant in grants(keys, role) if grant.start != getattr(keys, kind)]
    if right:
        given += [
            grant._replace(right=right)
            for grant in grants(keys, role)
            if grant.start == getattr(keys, kind)
        ]
    with EtcdServer(fsync=False) as server:
        await guard(
            server,
            {"someone": [Permission(start, end, how == "readwrite") for start, end, how in given]},
            without_role=["idle"],
        )
        here = changed(settings, etcd_endpoints=(server.endpoint,))
        async with Store(as_user(here, "root")) as store:
            assert await missing_rights(store, role) == []
        async with Store(as_user(here, "someone")) as store:
            assert await missing_rights(store, role) == [
                f"etcd user someone may not {words} {getattr(keys, kind).decode()}"
            ]
        async with Store(as_user(here, "idle")) as store:
            [sentence] = await missing_rights(store, role)
            assert sentence.startswith(
                f"etcd user idle may read nothing under {settings.prefix}: it has no role"
            )


async def test_probe_of_rights_changes_nothing(settings: Settings) -> None:
    async with Store(settings) as store:
        for kind in KINDS:
            await store.client.put(getattr(store.keys, kind), b"v")
        before = await store.client.range(store.keys.prefix, range_end(store.keys.prefix))
        for role in RIGHTS:
            assert await missing_rights(store, role) == []
        after = await store.client.range(store.keys.prefix, range_end(store.keys.prefix))
        assert [(kv.key, kv.mod_revision) for kv in after.kvs] == [
            (kv.key, kv.mod_revision) for kv in before.kvs
        ]


def test_readme_of_etcd_has_the_table_of_rights() -> None:
    keys, words = Keys("/babygun/"), {"read": "read", "readwrite": "read, write", "": ""}
    page = (ROOT / "etcd/README.md").read_text()
    for kind in dict.fromkeys(kind for rights in RIGHTS.values() for kind in rights):
        name = getattr(keys, kind).removeprefix(b"/babygun/").decode()
        row = " | ".join(words[rights.get(kind, "")] for rights in RIGHTS.values())  # type: ignore[call-overload]
        assert page.count(f"| `{name}` |") == page.count(f"| `{name}` | {row} |") == 1
