"""The answer to POST /emails, as it goes over the wire."""

from __future__ import annotations

import asyncio
import json
from email.utils import parsedate_to_datetime

import pytest

from babygun.runtime.clock import utc_now
from tests.support.api import EMAIL, RunningApi
from tests.support.processes import PATIENCE

BODY = json.dumps(EMAIL).encode()


async def answers(
    api: RunningApi, *requests: tuple[str, str]
) -> list[tuple[str, dict[str, str], bytes]]:
    """Status line, headers and body of the answers to POSTs, sent at once on one connection.

    ``requests``: the HTTP version and further headers of each.
    """
    host, port = api.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for version, more in requests:
        head = (
            f"POST /emails HTTP/{version}\r\nHost: a\r\nAuthorization: Bearer {api.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n{more}\r\n"
        )
        writer.write(head.encode() + BODY)
    found = []
    async with asyncio.timeout(PATIENCE):
        for _ in requests:
            status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
            headers = dict(line.split(": ", 1) for line in lines)
            assert len(headers) == len(lines)  # none twice
            found.append(
                (status, headers, await reader.readexactly(int(headers["Content-Length"])))
            )
        if found[-1][1].get("Connection") == "close" or requests[-1][0] == "1.0":
            assert await reader.read() == b""
    writer.close()
    return found


async def test_answers_on_one_connection_come_one_after_the_other_with_all_headers(
    api: RunningApi,
) -> None:
    found = await answers(api, ("1.1", ""), ("1.1", "X-Request-Id: mine\r\n"))
    for status, headers, body in found:
        assert status == "HTTP/1.1 202 Accepted"
        document = json.loads(body)
        assert headers["Location"] == f"/emails/{document['id']}"
        assert abs((parsedate_to_datetime(headers["Date"]) - utc_now()).total_seconds()) < 60
        assert {
            "Server": "babygun",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Content-Type": "application/json",
        }.items() <= headers.items()
        assert "Connection" not in headers
    assert found[1][1]["X-Request-Id"] == "mine" != found[0][1]["X-Request-Id"]
    assert found[0][2] != found[1][2]


@pytest.mark.parametrize(("version", "more"), [("1.1", "Connection: close\r\n"), ("1.0", "")])
async def test_answer_on_a_connection_that_is_to_end_has_the_same_headers_and_ends_it(
    api: RunningApi, version: str, more: str
) -> None:
    [(status, headers, body)] = await answers(api, (version, more))
    [(_, usual, _)] = await answers(api, ("1.1", ""))
    assert status.endswith(" 202 Accepted") and json.loads(body)["status"] == "incomplete"
    assert headers.keys() - {"Connection"} == usual.keys()


async def test_answer_to_a_repeated_call_says_so(api: RunningApi) -> None:
    first, second = await answers(
        api, ("1.1", "Idempotency-Key: k\r\n"), ("1.1", "Idempotency-Key: k\r\n")
    )
    assert first[2] == second[2]
    assert second[1].get("Idempotent-Replayed") == "true" and "Idempotent-Replayed" not in first[1]
