"""``babygun decode``, on what etcdctl itself prints."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from babygun.dev.etcd.binary import find_etcd
from babygun.runtime.clock import utc_now
from babygun.store import codec
from babygun.store.keys import JobRef, NoticeRef
from babygun.store.webhooks.records import Notice
from tests.support.commands import Command
from tests.support.rig import Rig

Get = Callable[..., Awaitable[bytes]]


@pytest.fixture
def etcdctl_get(rig: Rig) -> Get:
    """What ``etcdctl get`` prints, with these options and a key."""
    found = find_etcd()
    assert found is not None
    etcdctl = Path(found.path).with_name("etcdctl")

    async def get(*words: str) -> bytes:
        process = await asyncio.create_subprocess_exec(
            *(etcdctl, "--endpoints", rig.settings.etcd_endpoints[0], "get", *words),
            stdout=subprocess.PIPE,
        )
        out, _ = await process.communicate()
        return out

    return get


async def test_jobs_are_decoded_one_by_one(rig: Rig, babygun: Command, etcdctl_get: Get) -> None:
    ids = [
        await rig.send("ann@example.org"),
        await rig.send("bob@example.org", body="x" * 2570),  # 0x0a0a: line breaks in the size
    ]
    out = await etcdctl_get("--prefix", rig.store.keys.jobs.decode())
    decoded = (await babygun("decode", stdin=out)).out
    values = [json.loads(part) for part in decoded.replace("}\n{", "}\0{").split("\0")]
    assert sorted(value["key"].rpartition("/")[2] for value in values) == sorted(ids)
    assert all(value["value"]["recipients"] == 1 for value in values)


async def test_content_in_chunks_needs_json_and_says_so(
    rig: Rig, babygun: Command, etcdctl_get: Get
) -> None:
    email_id = await rig.send("ann@example.org", body="x" * 2_000_000)
    prefix = rig.store.keys.content(email_id).decode()
    plain = await babygun("decode", stdin=await etcdctl_get("--prefix", prefix))
    assert plain.status == 1 and "-w json" in plain.error
    whole = await babygun("decode", stdin=await etcdctl_get("--prefix", "-w", "json", prefix))
    assert json.loads(whole.out)["value"]["body"] == "x" * 2_000_000


async def test_values_only_and_keys_only_are_decoded(
    rig: Rig, babygun: Command, etcdctl_get: Get
) -> None:
    keys = rig.store.keys
    email_id = await rig.send("ann@example.org")
    record = await etcdctl_get("--print-value-only", keys.email(email_id).decode())
    assert json.loads((await babygun("decode", stdin=record)).out)["id"] == email_id
    job = await etcdctl_get("--print-value-only", keys.job(JobRef(email_id, "main")).decode())
    assert json.loads((await babygun("decode", stdin=job)).out)["recipients"] == 1
    names = await etcdctl_get("--prefix", "--keys-only", keys.prefix.decode())
    decoded = await babygun("decode", stdin=names)
    assert decoded.status == 0 and email_id in decoded.out


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x81\xa1", b"/key\n\xc1\n"])
async def test_rubbish_is_refused_with_one_sentence(babygun: Command, data: bytes) -> None:
    result = await babygun("decode", stdin=data)
    assert result.status == 1 and result.error.startswith("babygun: ")
    assert len(result.error.splitlines()) == 1


async def test_long_notice_is_decompressed_wherever_it_stands(
    rig: Rig, babygun: Command, etcdctl_get: Get
) -> None:
    event = msgspec.Raw(msgspec.json.encode({"recipients": [f"r{n}\n" for n in range(2000)]}))
    for number in range(2):
        ref = NoticeRef("wh_0123456789abcdef01234567", f"event-{number}")
        value = codec.encode_notice(Notice(event, utc_now()))
        assert not value.startswith(b"{")
        await rig.store.client.put(rig.store.keys.notice(ref), value)
    prefix = rig.store.keys.notices.decode()
    for options in ((), ("-w", "json"), ("--print-value-only",)):
        out = await etcdctl_get("--prefix", *options, prefix)
        decoded = (await babygun("decode", stdin=out)).out
        assert decoded.count("r1999") == 2, options
