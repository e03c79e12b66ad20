"""Files that are imported: streamed, row by row, as often as one likes."""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path

import pytest

from babygun.api.suppressions import bulk_import
from babygun.email.addresses import hash_of
from tests.api.suppressions.calls import imported, listed, put
from tests.support.api import RunningApi, StartApi, until_ready
from tests.support.proxy import Proxy
from tests.support.scraping import Scraped, scraped


def csv_file(rows: int) -> Iterator[bytes]:
    yield b"email,reason\r\n"
    for number in range(rows):
        yield b"user%06d@example.org,complaint\r\n" % number


async def test_good_rows_are_kept_and_bad_ones_named_by_their_line(api: RunningApi) -> None:
    file = (
        "email,reason,list,remark\nann@example.org,complaint,,x\nnobody,,,\n"
        "bob@example.org,soon,,\ncy@example.org,unsubscribe,news,\nann@example.org,,,\n"
    )
    answer = await imported(api, file)
    assert answer.status == 207
    assert answer.json["errors"][0] == {"line": 3, "detail": "The address has no @."}
    assert answer.json["errors"][1]["line"] == 4
    counted = {name: answer.json[name] for name in ("rows", "added", "kept", "refused")}
    assert counted == {"rows": 5, "added": 2, "kept": 1, "refused": 2}
    assert answer.json["ignored_columns"] == ["remark"]
    assert await listed(api) == [("*", "ann@example.org"), ("news", "cy@example.org")]


async def test_file_imported_twice_changes_nothing_the_second_time(api: RunningApi) -> None:
    await put(api, "ann@example.org", reason="unsubscribe")
    file = "ann@example.org,hard_bounce\nbob@example.org,hard_bounce\n"
    first = (await imported(api, file)).json
    assert (first["added"], first["kept"]) == (1, 1)
    there = (await api.call("GET", "/suppressions")).json
    assert [one["reason"] for one in there["suppressions"]] == ["unsubscribe", "hard_bounce"]
    second = (await imported(api, file)).json
    assert (second["added"], second["kept"]) == (0, 2)
    assert (await api.call("GET", "/suppressions")).json == there


async def test_reason_and_list_of_the_call_hold_for_all_rows(api: RunningApi) -> None:
    """As SendGrid's bounces need it: their column reason is the server's reply."""
    file = (
        'status,reason,email,created\n5.1.1,"550 5.1.1 no such user",ann@example.org,1319194975\n'
    )
    assert (await imported(api, file)).json["refused"] == 1
    good = await imported(api, file, reason="hard_bounce", list="news")
    assert (good.status, good.json["added"]) == (200, 1)
    (one,) = (await api.call("GET", "/suppressions")).json["suppressions"]
    assert (one["list"], one["reason"], one["since"]) == (
        "news",
        "hard_bounce",
        "2011-10-21T11:02:55Z",
    )


async def test_ndjson_is_imported_as_the_listing_shows_it(api: RunningApi) -> None:
    await put(api, "ann@example.org", list="news", reason="unsubscribe")
    shown = (await api.call("GET", "/suppressions/ann@example.org")).json["suppressions"]
    await api.call("DELETE", "/suppressions/ann@example.org")
    lines = "\n".join(map(json.dumps, shown))
    answer = await imported(api, lines, media_type="application/x-ndjson")
    assert (answer.status, answer.json["added"]) == (200, 1)
    again = (await api.call("GET", "/suppressions/ann@example.org")).json["suppressions"]
    assert again == shown


async def test_file_of_36_megabytes_is_taken_in_one_call_and_little_memory(
    api: RunningApi,
) -> None:
    """Nothing is kept of it but a page."""
    most = 0.0

    async def body() -> AsyncIterator[bytes]:
        nonlocal most
        rows = (
            b"user%06d@example.org,complaint,%b\n" % (number, b"x" * 8_970)
            for number in range(4_000)
        )
        yield b"email,reason,reply\n"
        while some := b"".join(islice(rows, 10)):
            yield some
            most = max(most, memory())

    before = memory()
    answer = await api.call("POST", "/suppressions/import", data=body(), content_type="text/csv")
    assert answer.status == 200, answer.text
    assert answer.json["added"] == 4_000
    assert most - before < 20, "MB"
    page = await api.call("GET", "/suppressions", params={"prefix": "user003999", "limit": "5"})
    assert len(page.json["suppressions"]) == 1


def memory() -> float:
    """MB that this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


async def test_file_of_too_many_rows_is_kept_up_to_there_and_says_where_to_go_on(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_import, "MAX_ROWS", 1500)
    file = b"".join(csv_file(2000))
    problem = (await imported(api, file)).problem(413, "too-large", "body")
    assert problem["next_line"] == 1502 and "from_line=1502" in problem["detail"]
    assert len(await listed(api, limit="1000")) == 1500
    rest = await imported(api, file, from_line="1502")
    assert (rest.status, rest.json["added"], rest.json["rows"]) == (200, 500, 500)


async def until_written(count: int, before: Scraped) -> None:
    """Waits until so many complaints have been put on lists since then."""
    written = "babygun_suppressions_written_total"
    while scraped("api").since(before, written, reason="complaint") < count:  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def test_import_goes_on_where_etcd_went_away(far: RunningApi, proxy: Proxy) -> None:
    far.token = await far.token_for("suppressions")
    rows, before = list(csv_file(3000)), scraped("api")

    async def body() -> AsyncIterator[bytes]:
        yield b"".join(rows[:1501])
        await until_written(1000, before)
        proxy.cut()
        yield b"".join(rows[1501:])

    broken = await far.call("POST", "/suppressions/import", data=body(), content_type="text/csv")
    assert broken.status == 503
    assert broken.json["next_line"] == 1002
    proxy.mend()
    await until_ready(far)
    rest = await imported(far, b"".join(rows), from_line=str(broken.json["next_line"]))
    assert rest.status == 200 and rest.json["rows"] == 2000
    assert len(await listed(far, limit="1000")) == 3000


@pytest.mark.parametrize("encoding", ["gzip", ""])
async def test_body_over_the_limits_or_of_another_kind_is_refused(
    start_api: StartApi, encoding: str
) -> None:
    api = await start_api(max_request=100_000)
    api.token = await api.token_for("suppressions")
    file, before = b"".join(csv_file(5000)), scraped("api")

    async def pieces() -> AsyncIterator[bytes]:
        packed = gzip.compress(file) if encoding else file
        for at in range(0, len(packed), 40_000):
            yield packed[at : at + 40_000]
            await until_written(1000, before)  # else it might arrive as one piece

    headers = {"Content-Encoding": encoding} if encoding else {}
    answer = await api.call(
        "POST", "/suppressions/import", data=pieces(), headers=headers, content_type="text/csv"
    )
    problem = answer.problem(413, "too-large", "body")
    assert problem["next_line"] > 1000
    (await imported(api, file, media_type="application/json")).problem(
        415, "unsupported-media-type", "Content-Type"
    )
    (await imported(api, "a@example.org", from_line="0")).problem(
        400, "malformed-request", "from_line"
    )


async def test_file_that_is_of_no_use_is_refused_as_a_whole(api: RunningApi) -> None:
    for file, said in (
        (b"name\nann\n", "no column email"),
        ("email\nj\u00f6rg@example.org".encode("utf-16"), "UTF-16"),
    ):
        assert said in (await imported(api, file)).problem(422, "invalid-request", "body")["detail"]
    latin = await imported(api, "email\nj\u00f6rg@example.org\n".encode("latin-1"))
    assert "UTF-8" in latin.json["errors"][0]["detail"] and latin.json["errors"][0]["line"] == 2


async def test_row_with_the_hash_of_an_erased_address_is_taken_as_it_is(api: RunningApi) -> None:
    token = await api.token_for("suppressions")
    rows = f"email\n{hash_of('ann@example.org')}\n".encode()
    done = await api.call(
        "POST", "/suppressions/import", token=token, data=rows, content_type="text/csv"
    )
    assert (done.status, done.json["added"]) == (200, 1), done.text
    found = await api.call("GET", "/suppressions/Ann@example.org", token=token)
    assert [one["email"] for one in found.json["suppressions"]] == [hash_of("ann@example.org")]
