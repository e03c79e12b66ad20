"""The key schema: every key can be parsed back, and sorts as its reader needs it."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from babygun.email.ids import SHARDS, created_ms, email_ids, is_email_id, shard_of
from babygun.intake.ids import new_email_id
from babygun.runtime.identifiers import new_process_id
from babygun.store.keys import JobRef, Keys, NoticeRef, range_end

KEYS = Keys("/babygun/")
ID = "01a21000-1b9b-7058-a863-be5a676c7d85"
REF = JobRef(ID, "main.relay")
WEBHOOK = "wh_0123456789abcdef01234567"
NOTICE = NoticeRef(WEBHOOK, f"{ID}-0001-bounced")
NOW = datetime(2026, 11, 24, 23, 59, 32, 251000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (KEYS.email(ID), f"/babygun/emails/{ID}"),
        (KEYS.job(REF), f"/babygun/jobs/85/main.relay/{ID}"),
        (
            KEYS.not_before(NOW, REF),
            f"/babygun/not-before/2026-11-24T23:59:32.251Z/{ID}/main.relay",
        ),
        (KEYS.owner(REF), f"/babygun/owners/{ID}/main.relay"),
        (KEYS.chunk(ID, 3), f"/babygun/contents/{ID}/0003"),
        (KEYS.log_entry(ID, 12), f"/babygun/log/{ID}/000012"),
        (KEYS.failed(ID), f"/babygun/failed/{ID}"),
        (KEYS.worker("host-1"), "/babygun/workers/host-1"),
        (KEYS.api("host-2"), "/babygun/apis/host-2"),
        (KEYS.client("app"), "/babygun/clients/app"),
        (KEYS.client_usage("app:0a1b"), "/babygun/client-usage/app:0a1b"),
        (KEYS.signing_key("k1"), "/babygun/signing-keys/k1"),
        (KEYS.revoked("t1"), "/babygun/revoked/t1"),
        (KEYS.idempotency("app", "a/b c"), "/babygun/idempotency/app/a%2Fb%20c"),
        (KEYS.cluster, "/babygun/cluster"),
        (
            KEYS.retention("emails", NOW, 255),
            "/babygun/retention/emails/2026-11-24T23:59:32.251Z/ff",
        ),
        (KEYS.client_webhooks("app:0a1b"), "/babygun/webhooks/app:0a1b"),
        (KEYS.webhook_secret(WEBHOOK), f"/babygun/webhook-secrets/{WEBHOOK}"),
        (KEYS.webhook_health(WEBHOOK), f"/babygun/webhook-health/{WEBHOOK}"),
        (KEYS.notice(NOTICE), f"/babygun/notices/67/{WEBHOOK}/{ID}-0001-bounced"),
        (
            KEYS.due_notice(NOTICE, NOW),
            f"/babygun/notices-due/{WEBHOOK}/2026-11-24T23:59:32.251Z/{ID}-0001-bounced",
        ),
        (KEYS.sent_notice(NOTICE), f"/babygun/notices-sent/{WEBHOOK}/{ID}-0001-bounced"),
        (KEYS.notice_owner(WEBHOOK), f"/babygun/notice-owners/{WEBHOOK}"),
        (KEYS.removal("app:0a1b"), "/babygun/removals/app:0a1b"),
        (KEYS.domain("example.com"), "/babygun/domains/example.com"),
        (KEYS.dkim_key("example.com", "bg1"), "/babygun/dkim-keys/example.com/bg1"),
        (KEYS.audit_entry(ID), f"/babygun/audit/{ID}"),
        (KEYS.audit_run("worker"), "/babygun/audit-runs/worker"),
        (KEYS.audit_run("bounced"), "/babygun/audit-runs-bounced/bounced"),
    ],
)
def test_key_of_each_kind_is_as_documented(key: bytes, text: str) -> None:
    assert key.decode() == text


def test_parse_of_every_built_key_gives_its_parts_back() -> None:
    assert KEYS.parse_job(KEYS.job(REF)) == REF
    assert KEYS.parse_owner(KEYS.owner(REF)) == REF
    assert KEYS.parse_not_before(KEYS.not_before(NOW, REF)) == (NOW, REF)
    assert KEYS.email_id(KEYS.email(ID)) == KEYS.email_id(KEYS.failed(ID)) == ID
    assert KEYS.last_part(KEYS.worker("host-1")) == "host-1"
    assert KEYS.parse_retention(KEYS.retention("emails", NOW, 255)) == ("emails", NOW, 255)
    assert KEYS.last_part(KEYS.client("app")) == "app"
    assert KEYS.parse_notice(KEYS.notice(NOTICE)) == NOTICE
    assert KEYS.parse_due_notice(KEYS.due_notice(NOTICE, NOW)) == (NOW, NOTICE)
    assert KEYS.parse_sent_notice(KEYS.sent_notice(NOTICE)) == NOTICE
    assert KEYS.parse_dkim_key(KEYS.dkim_key("a.example", "bg1")) == ("a.example", "bg1")


def test_not_before_keys_sort_by_time_and_end_at_now() -> None:
    other = JobRef("ffffffff-ffff-7fff-bfff-ffffffffffff", "zz")
    early, now, late = (
        KEYS.not_before(NOW + timedelta(milliseconds=ms), ref)
        for ms, ref in ((-1, other), (0, other), (1, REF))
    )
    assert early < now < KEYS.due_until(NOW) < late


def test_job_slices_hold_each_shards_jobs_once() -> None:
    refs = [JobRef(f"{ID[:-2]}{shard:02x}", "a") for shard in range(SHARDS)]
    for bounds in ([0, 256], [0, 128, 256], [0, 85, 170, 256], [0, 1, 255, 256]):
        for first, end in itertools.pairwise(bounds):
            low, high = KEYS.job_slice(first, end)
            assert [r for r in refs if low <= KEYS.job(r) < high] == refs[first:end]


def test_ranges_of_neighbouring_kinds_do_not_overlap() -> None:
    prefixes = sorted(value for name, value in vars(KEYS).items() if name != "prefix")
    for low, high in itertools.pairwise(prefixes):
        assert range_end(low) <= high
    assert all(p.startswith(KEYS.prefix) for p in prefixes)


def test_ids_of_a_batch_are_the_same_each_time_and_sort_in_their_order() -> None:
    at, seed = 1_800_000_000_999_900_000, bytes(range(16))
    ids = email_ids(1000, at, seed)
    assert ids == sorted(set(ids)) == email_ids(1000, at, seed) and ids[:10] == email_ids(
        10, at, seed
    )
    assert all(map(is_email_id, ids)) and {created_ms(i) for i in ids} == {
        1_800_000_000_999,
        1_800_000_001_000,
    }
    assert len({shard_of(i) for i in ids}) > 200
    assert not {i[19:] for i in ids} & {i[19:] for i in email_ids(1000, at, bytes(16))}


def test_email_ids_are_uuid7_in_the_order_of_their_making() -> None:
    ids = [new_email_id(1_800_000_000_000_000_000 + n * 1000) for n in range(1000)]
    assert ids == sorted(ids) and len(set(ids)) == 1000 and all(map(is_email_id, ids))
    assert shard_of(ids[0]) == ids[0][-2:]


@pytest.mark.parametrize(
    "text", ["", ID.upper(), ID + "0", ID.replace("-7", "-4"), "../" + ID, ID[:-1] + "g", f"{ID}\n"]
)
def test_email_id_of_another_form_is_refused(text: str) -> None:
    assert not is_email_id(text)


def test_process_ids_name_their_host_in_key_characters() -> None:
    assert new_process_id("Mail_Host.example", "worker").startswith(
        "mail-host-example-"
    ) and "/" not in new_process_id("a/b", "worker")
    assert new_process_id("", "api") != new_process_id("", "api")


def test_slice_of_notices_holds_the_webhooks_of_its_shards_and_no_others() -> None:
    shard = int(shard_of(WEBHOOK), 16)
    for first, end in ((0, SHARDS), (shard, shard + 1), (shard, SHARDS)):
        start, stop = KEYS.notice_slice(first, end)
        assert start <= KEYS.notice(NOTICE) < stop
        assert start <= KEYS.webhook_notices(WEBHOOK) < stop
    for first, end in ((0, shard), (shard + 1, SHARDS)):
        start, stop = KEYS.notice_slice(first, end)
        assert not start <= KEYS.notice(NOTICE) < stop
