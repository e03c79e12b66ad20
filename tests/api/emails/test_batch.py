"""POST /emails/batch: many e-mails in one call, and each as if it had come alone."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest

from babygun.email.ids import created_ms
from babygun.runtime.clock import utc_now
from babygun.store import Store
from babygun.store.codec import decode_content
from babygun.store.emails import batches
from babygun.store.emails.reading import get_log
from tests.api.emails.test_send import suppress
from tests.api.http.raw_requests import connected
from tests.support.api import EMAIL, Answer, RunningApi, StartApi
from tests.support.invariants import Snapshot, check_invariants
from tests.support.processes import PATIENCE
from tests.support.proxy import Proxy
from tests.support.tries import OK, finished

BAD = {"sender": "shop@example.com", "to": ["ann@example.org", "nobody"], "subject": "a\nb"}
Key = dict[str, str]


def emails(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [
        EMAIL | {"to": f"r{n}@example.org", "subject": f"number {n}"} | changes
        for n in range(count)
    ]


async def send(
    api: RunningApi,
    batch: Any,
    *,
    permissive: bool = False,
    key: str | None = None,
    token: str | None = None,
) -> Answer:
    """``batch``: what is sent as JSON, or the bytes themselves."""
    headers = {"x-batch-validation": "permissive"} if permissive else {}
    if key is not None:
        headers["Idempotency-Key"] = key
    data = batch if isinstance(batch, bytes) else json.dumps(batch).encode()
    return await api.call(
        "POST",
        "/emails/batch",
        data=BytesIO(data),
        headers=headers,
        content_type="application/json",
        token=token,
    )


def ids(answer: Answer, status: int = 202) -> list[str]:
    """The ids of a batch's answer, whose form is checked; "" for what was refused."""
    assert answer.status == status, answer.text
    results = answer.json["results"]
    assert [result["index"] for result in results] == list(range(len(results)))
    assert all((result["id"] is None) == (result["problem"] is not None) for result in results)
    found = [result["id"] or "" for result in results]
    taken = [email_id for email_id in found if email_id]
    assert len(set(taken)) == len(taken) == answer.json["accepted"]
    assert answer.json["refused"] == len(found) - len(taken)
    return found


async def stored(store: Store) -> Snapshot:
    return await check_invariants(store)


async def test_each_email_of_a_batch_is_as_if_it_had_come_alone(
    api: RunningApi, store: Store
) -> None:
    before = await api.metrics()
    later = (utc_now() + timedelta(hours=1)).isoformat()
    attachment = {"filename": "a.bin", "content": base64.b64encode(b"\0" * 2_000_000).decode()}
    given = [
        EMAIL
        | {
            "to": ["Ann <ann@example.org>", "bob@example.org", "ann@example.org"],
            "tags": ["a"],
            "metadata": {"n": "0"},
        },
        EMAIL | {"send_at": later},
        EMAIL | {"attachments": [attachment], "html": "<p>Hi</p>"},
        EMAIL,
        EMAIL,
    ]
    answer = await send(api, given)
    assert "Idempotent-Replayed" not in answer.headers
    found = ids(answer)
    assert found == sorted(found)
    assert [result["recipients"] for result in answer.json["results"]] == [2, 1, 1, 1, 1]
    for email_id, sent, result in zip(found, given, answer.json["results"], strict=True):
        shown = (await api.call("GET", f"/emails/{email_id}")).json
        assert (shown["status"], shown["subject"], shown["body"], shown["tags"]) == (
            "incomplete",
            sent["subject"],
            sent["body"],
            sent.get("tags", []),
        )
        assert shown["created_at"] == result["created_at"] and bool(shown["not_before"]) == (
            "send_at" in sent
        )
        log = await get_log(store, email_id)
        assert (
            log
            and log[1][0].event == "accepted"
            and log[1][0].request_id == answer.headers["X-Request-Id"]
        )
    shown = (await api.call("GET", f"/emails/{found[2]}")).json
    assert shown["attachments"] == [
        {
            "filename": "a.bin",
            "content_type": "application/octet-stream",
            "content_id": None,
            "alternative": False,
            "size": 2_000_000,
        }
    ]
    alone = await api.accepted()
    seen = await stored(store)
    assert set(seen.emails) == {*found, alone} and len(seen.jobs) == 5 and len(seen.waiting) == 1
    records = [
        (await store.client.get(store.keys.chunk(email_id, 0))) for email_id in (found[3], alone)
    ]
    assert (
        records[0]
        and records[1]
        and decode_content(records[0].value) == decode_content(records[1].value)
    )
    after = await api.metrics()
    assert after.since(before, "babygun_emails_accepted_total") == 6
    assert after.since(before, "babygun_recipients_accepted_total") == 7


async def test_batch_of_1000_is_taken_and_one_of_1001_is_not(
    api: RunningApi, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "babygun.api")
    found = ids(await send(api, emails(1000)))
    lines = [record for record in caplog.records if record.getMessage() == "request"]
    assert [line.fields["emails"] for line in lines] == [1000]  # type: ignore[attr-defined]
    (await send(api, emails(1001))).problem(422, "invalid-request", "body")
    seen = await stored(store)
    assert set(seen.emails) == set(found) and len(seen.jobs) == 1000
    assert [seen.emails[email_id].subject for email_id in found] == [
        f"number {n}" for n in range(1000)
    ]
    assert all(
        int(seen.emails[email_id].created_at.timestamp() * 1000) == created_ms(email_id)
        for email_id in found
    )
    page = (await api.call("GET", "/emails?limit=100")).json["emails"]
    assert [email["id"] for email in page] == found[:-101:-1]


async def test_strict_batch_with_bad_emails_is_refused_as_a_whole_with_every_error(
    api: RunningApi, store: Store
) -> None:
    given = [
        *emails(3),
        BAD,
        {"sender": "shop@example.com"},
        7,
        EMAIL | {"subject": 7},
        EMAIL | {"subjct": "x"},
    ]
    problem = (await send(api, given, key="k")).problem(422, "invalid-request", "[3].to[1]")
    assert [error["field"] for error in problem["errors"]] == [
        "[3].to[1]",
        "[3].subject",
        "[4].to",
        "[5]",
        "[6].subject",
        "[7].subjct",
    ]
    assert "5 of 8" in problem["detail"]
    assert not (await stored(store)).keys or not (await stored(store)).emails
    assert len(ids(await send(api, emails(3), key="k"))) == 3, (
        "a batch that was refused leaves its key unused"
    )


async def test_strict_refusal_names_each_bad_email_however_many_there_are(api: RunningApi) -> None:
    answer = await send(api, [BAD | {"to": [f"nobody{n}" for n in range(60)]}] * 1000)
    errors = answer.problem(422, "invalid-request", "[0].to[0]")["errors"]
    assert {error["field"].partition("]")[0] for error in errors} == {f"[{n}" for n in range(1000)}
    assert len(errors) < 2000


async def test_permissive_batch_takes_the_good_ones_and_says_what_is_wrong_with_the_others(
    api: RunningApi, store: Store
) -> None:
    answer = await send(api, [EMAIL, BAD, EMAIL, [], EMAIL | {"body": 1}, EMAIL], permissive=True)
    found = ids(answer, 207)
    assert [bool(email_id) for email_id in found] == [True, False, True, False, False, True]
    assert set((await stored(store)).emails) == set(filter(None, found))
    problem = answer.json["results"][1]["problem"]
    assert (problem["type"], problem["status"], problem["field"]) == (
        "urn:babygun:problem:invalid-request",
        422,
        "[1].to[1]",
    )
    assert [error["field"] for error in problem["errors"]] == ["[1].to[1]", "[1].subject"]
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    assert [answer.json["results"][n]["problem"]["field"] for n in (3, 4)] == ["[3]", "[4].body"]


async def test_permissive_batch_without_a_good_email_stores_nothing(
    api: RunningApi, store: Store
) -> None:
    assert ids(await send(api, [BAD, 1], permissive=True, key="k"), 207) == ["", ""]
    assert not (await stored(store)).emails
    assert ids(await send(api, [EMAIL], permissive=True, key="k"))


async def test_other_ways_of_validation_are_refused(api: RunningApi, store: Store) -> None:
    for wanted, status in (
        ("lenient", 400),
        ("", 400),
        ("permissive, strict", 400),
        ("Strict", 202),
        (" permissive ", 202),
    ):
        answer = await api.call(
            "POST", "/emails/batch", json=[EMAIL], headers={"x-batch-validation": wanted}
        )
        assert answer.status == status, wanted
        if status == 400:
            answer.problem(400, "malformed-request", "x-batch-validation")
    assert len((await stored(store)).emails) == 2


async def test_body_that_is_no_list_of_emails_is_refused(api: RunningApi) -> None:
    for permissive in (False, True):
        (await send(api, b"[", permissive=permissive)).problem(400, "malformed-json")
        for body in (b"[]", b"{}", json.dumps(EMAIL).encode()):
            answer = await send(api, body, permissive=permissive)
            answer.problem(422, "invalid-request", "body")


async def test_sizes_have_limits_for_each_email_and_for_the_batch(
    start_api: StartApi, store: Store
) -> None:
    api = await start_api(max_request=100_000, max_body=1000)
    (await send(api, [EMAIL | {"body": "x" * 100_000}])).problem(413, "too-large", "body")
    given = [EMAIL, EMAIL | {"body": "x" * 1001}]
    (await send(api, given)).problem(413, "too-large", "[1].body")
    answer = await send(api, given, permissive=True)
    assert [bool(email_id) for email_id in ids(answer, 207)] == [True, False]
    assert answer.json["results"][1]["problem"]["status"] == 413
    assert len((await stored(store)).emails) == 1


async def test_recipient_whom_no_relay_takes_is_the_problem_of_one_email(
    start_api: StartApi, store: Store
) -> None:
    relays = {
        "a": {"url": "smtp://127.0.0.1:2525", "domains": ["a.example"]},
        "b": {"url": "smtp://127.0.0.1:2525", "domains": ["*.b.example"]},
    }
    api = await start_api(relay_url="", relays=relays)
    given = [
        EMAIL | {"to": to}
        for to in ("x@a.example", "x@c.example", ["x@a.example", "y@x.b.example"])
    ]
    answer = await send(api, given, permissive=True)
    found = ids(answer, 207)
    assert answer.json["results"][1]["problem"]["field"] == "[1].to"
    assert {(ref.email_id, ref.queue) for ref in (await stored(store)).jobs} == {
        (found[0], "a"),
        (found[2], "a"),
        (found[2], "b"),
    }


async def test_batch_is_cut_where_its_emails_are_large_and_all_of_it_is_stored(
    api: RunningApi, store: Store
) -> None:
    given = (
        emails(9, body="x" * 200_000)
        + emails(
            3, attachments=[{"filename": "a", "content": base64.b64encode(bytes(800_000)).decode()}]
        )
        + emails(2)
    )
    for key in (None, "k"):
        found = ids(await send(api, given, key=key))
        seen = await stored(store)
        assert (
            set(found) <= set(seen.emails)
            and [seen.chunks[email_id] for email_id in found] == [1] * 9 + [2] * 3 + [1] * 2
        )


async def test_batch_counts_against_the_clients_rate(api: RunningApi) -> None:
    token = await api.token_for(rate=1)
    ids(await send(api, emails(60), token=token))  # the rate's of a minute
    answer = await send(api, emails(1), token=token)
    answer.problem(429, "too-many-requests")
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    (await api.send(token)).problem(429, "too-many-requests")


async def test_batch_needs_a_token_that_may_send(api: RunningApi) -> None:
    (await send(api, [EMAIL], token="")).problem(401, "no-token")
    (await send(api, [EMAIL], token=await api.token_for("emails:read"))).problem(
        403, "insufficient-scope"
    )


async def test_repeated_batch_gets_the_first_answer(api: RunningApi, store: Store) -> None:
    given = [*emails(150), BAD, *emails(120)]
    first = await send(api, given, permissive=True, key="k")
    again = await send(api, given, permissive=True, key="k")
    assert (first.status, again.status) == (207, 207) and ids(first, 207)[150] == ""
    assert (
        "Idempotent-Replayed" not in first.headers
        and again.headers["Idempotent-Replayed"] == "true"
    )
    for answer in (first, again):
        answer.json["results"][150]["problem"].pop("request_id")
    assert again.json == first.json
    assert len((await stored(store)).emails) == 270


async def test_key_that_stands_for_another_call_is_refused(api: RunningApi, store: Store) -> None:
    ids(await send(api, emails(2), key="k"))
    for other in (
        send(api, emails(3), key="k"),
        send(api, emails(2), key="k", permissive=True),
        api.send(http_headers={"Idempotency-Key": "k"}),
    ):
        (await other).problem(409, "idempotency-conflict", "Idempotency-Key")
    assert (await api.send(http_headers={"Idempotency-Key": "one"})).status == 202
    (await send(api, [EMAIL], key="one")).problem(409, "idempotency-conflict", "Idempotency-Key")
    assert len(ids(await send(api, emails(2), key="k", token=await api.token_for()))) == 2
    (await send(api, emails(2), key="é")).problem(422, "invalid-request", "Idempotency-Key")
    assert len((await stored(store)).emails) == 5


async def test_ten_calls_at_once_with_one_key_make_one_batch(
    api: RunningApi, start_api: StartApi, store: Store
) -> None:
    other = await start_api()
    given = emails(250)
    before = await api.metrics()
    answers = await asyncio.gather(
        *(send(one, given, key="k", token=api.token) for one in (api, other) * 5)
    )
    assert {tuple(ids(answer)) for answer in answers} == {tuple(ids(answers[0]))}
    assert [answer.headers.get("Idempotent-Replayed") for answer in answers].count(None) == 1
    assert set((await stored(store)).emails) == set(ids(answers[0]))
    assert (await api.metrics()).since(before, "babygun_emails_accepted_total") == 250


async def test_email_that_was_refused_stays_refused_under_its_key(
    start_api: StartApi, store: Store
) -> None:
    narrow, wide = await start_api(max_body=100), await start_api()
    given = [EMAIL, EMAIL | {"body": "x" * 200}]
    first = ids(await send(narrow, given, permissive=True, key="k"), 207)
    answer = await send(wide, given, permissive=True, key="k", token=narrow.token)
    assert ids(answer, 207) == first and "another" in answer.json["results"][1]["problem"]["detail"]
    assert ids(await send(wide, given, permissive=True, key="l", token=narrow.token))[1]
    assert ids(await send(narrow, given, permissive=True, key="l"), 202)[1], (
        "it is stored, whatever the rule is now"
    )
    assert len((await stored(store)).emails) == 3


def from_part(monkeypatch: pytest.MonkeyPatch, number: int, happens: Any) -> None:
    """Calls ``happens`` before a part is written. ``number``: from 0, over all batches."""
    write, count = batches.write, 0

    async def watched(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count == number + 1:
            happens()
        return await write(*args, **kwargs)

    monkeypatch.setattr(batches, "write", watched)


@pytest.mark.parametrize("fault", ["cut", "swallow_answers"])
@pytest.mark.parametrize("key", [None, "k"])
async def test_batch_that_etcd_takes_half_of_says_which_half_and_a_repeat_completes_it(
    far: RunningApi,
    proxy: Proxy,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    key: str | None,
) -> None:
    await far.taken({"Idempotency-Key": "warm"})
    monkeypatch.setattr("babygun.store.emails.batches.AT_ONCE", 1)
    from_part(monkeypatch, 2, getattr(proxy, fault))
    given = emails(430)
    answer = await send(far, given, key=key)
    first = ids(answer, 207)
    assert [bool(email_id) for email_id in first] == [True] * 200 + [False] * 230
    problems = [result["problem"] for result in answer.json["results"][200:]]
    assert {problem["status"] for problem in problems} == {503} and {
        problem["field"] for problem in problems
    } == {f"[{n}]" for n in range(200, 430)}
    unknown = "repeat-with-key" if key else "outcome-unknown"
    if fault == "swallow_answers":
        assert problems[0]["type"].endswith(unknown) and problems[0]["stored"] == "unknown"
    assert problems[-1]["type"].endswith("not-stored") and problems[-1]["stored"] == "no"
    assert "not begun" in problems[-1]["detail"].lower()
    assert set(first[:200]) <= set((await stored(store)).emails)
    proxy.mend()
    await until_answered(far)
    if key:
        again = await send(far, given, key=key)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert ids(again)[:200] == first[:200]
        assert set((await stored(store)).emails) == {
            *ids(again),
            *(set((await stored(store)).emails) - set(ids(again))),
        }
        assert len((await stored(store)).emails) == 431
        assert ids(await send(far, given, key=key)) == ids(again)


async def until_answered(api: RunningApi) -> None:
    async with asyncio.timeout(PATIENCE):
        while (await api.call("GET", "/readyz", token="")).status != 200:  # noqa: ASYNC110 (another process's state)
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("fault", ["cut", "swallow_answers"])
async def test_batch_of_which_nothing_is_confirmed_is_a_503_and_can_be_repeated(
    far: RunningApi, proxy: Proxy, store: Store, fault: str
) -> None:
    await far.taken({"Idempotency-Key": "warm"})
    getattr(proxy, fault)()
    answer = await send(far, emails(150), key="k")
    assert answer.status == 503
    assert answer.json["type"].endswith(("not-stored", "repeat-with-key"))
    assert "Repeat the call" in answer.json["detail"] and answer.headers["Retry-After"]
    proxy.mend()
    await until_answered(far)
    assert len(ids(await send(far, emails(150), key="k"))) == 150
    assert len((await stored(store)).emails) == 151


async def test_part_whose_emails_have_ended_and_gone_is_not_stored_again(
    api: RunningApi, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babygun.store.emails.batches.AT_ONCE", 1)
    monkeypatch.setattr("babygun.store.emails.batches.PART_EMAILS", 2)
    given = emails(6)
    from_part(monkeypatch, 2, lambda: (_ for _ in ()).throw(RuntimeError("the process dies")))
    assert (await send(api, given, key="k")).status == 500
    kept = list((await stored(store)).emails)
    assert len(kept) == 4
    for email_id in kept:
        await finished(
            store,
            email_id,
            {(await api.call("GET", f"/emails/{email_id}")).json["recipients"][0]["email"]: OK},
        )
        await store.client.delete(store.keys.email(email_id))
    found = ids(await send(api, given, key="k"))
    assert found[:4] == sorted(kept)
    seen = {ref.email_id for ref in (await snapshot_jobs(store))}
    assert seen == set(found[4:])


async def snapshot_jobs(store: Store) -> Any:
    from tests.support.invariants import snapshot

    return (await snapshot(store)).jobs


async def test_part_that_can_not_be_stored_as_planned_is_refused(
    start_api: StartApi, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babygun.store.emails.batches.PART_EMAILS", 2)
    monkeypatch.setattr("babygun.store.emails.batches.AT_ONCE", 1)
    wide, narrow = await start_api(), await start_api(max_body=100)
    given = [*emails(3), EMAIL | {"body": "x" * 200}]
    from_part(monkeypatch, 1, lambda: (_ for _ in ()).throw(RuntimeError("the process dies")))
    assert (await send(wide, given, permissive=True, key="k")).status == 500
    answer = await send(narrow, given, permissive=True, key="k", token=wide.token)
    assert [bool(email_id) for email_id in ids(answer, 207)] == [True, True, False, False]
    assert [result["problem"]["status"] for result in answer.json["results"][2:]] == [409, 413]
    assert len((await stored(store)).emails) == 2
    assert all(ids(await send(wide, given, permissive=True, key="k")))


async def test_batch_whose_client_hangs_up_is_stored_whole_and_a_cut_off_one_not_at_all(
    api: RunningApi, store: Store
) -> None:
    body = json.dumps(emails(300)).encode()
    head = (
        "POST /emails/batch HTTP/1.1\r\n"
        "Host: a\r\n"
        f"Authorization: Bearer {api.token}\r\n"
        "Content-Type: application/json\r\n"
        "Idempotency-Key: k\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    async with connected(api) as (_, writer):
        writer.write(head + body[: len(body) // 2])
        await writer.drain()
    async with connected(api) as (_, writer):
        writer.write(head + body)
        await writer.drain()
    found = ids(await send(api, body, key="k"))
    assert len(found) == 300 and set((await stored(store)).emails) == set(found)


async def test_suppressed_recipients_of_a_batch_are_named_also_when_it_is_repeated(
    api: RunningApi, store: Store
) -> None:
    await suppress(api, store, api.token, *(f"r{n}@example.org" for n in (0, 7, 150, 249)))
    batch = emails(250)
    batch[7]["cc"] = "cy@example.org"
    before = await api.metrics()
    first = await send(api, batch, key="k")
    assert (first.status, first.json["accepted"], first.json["suppressed"]) == (202, 250, 4)
    counted = "babygun_recipients_suppressed_total"
    assert (await api.metrics()).since(before, counted, reason="manual") == 4
    named = {n: r["suppressed"] for n, r in enumerate(first.json["results"]) if r["suppressed"]}
    assert named == {n: [f"r{n}@example.org"] for n in (0, 7, 150, 249)}
    seen = await check_invariants(store)
    statuses = [seen.emails[result["id"]].status for result in first.json["results"]]
    assert [n for n, status in enumerate(statuses) if status == "failed"] == [0, 150, 249]
    await suppress(api, store, api.token, "r1@example.org")
    again = await send(api, batch, key="k")
    assert again.headers["Idempotent-Replayed"] == "true" and again.json == first.json
    (await send(api, emails(2, ignore_suppressions=True))).problem(403, "insufficient-scope")
