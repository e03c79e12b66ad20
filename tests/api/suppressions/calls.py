"""The calls on suppressions, in short."""

from __future__ import annotations

from typing import Any

from tests.support.api import Answer, RunningApi


async def put(api: RunningApi, email: str, token: str | None = None, **fields: Any) -> Answer:
    return await api.call("POST", "/suppressions", token=token, json={"email": email, **fields})


async def imported(
    api: RunningApi, data: bytes | str, *, media_type: str = "text/csv", **params: str
) -> Answer:
    raw = data.encode() if isinstance(data, str) else data
    return await api.call(
        "POST", "/suppressions/import", data=raw, content_type=media_type, params=params
    )


async def listed(api: RunningApi, token: str | None = None, **params: str) -> list[tuple[str, str]]:
    """List and address of all that the pages have."""
    found: list[tuple[str, str]] = []
    cursor: str | None = None
    while True:
        given = params if cursor is None else params | {"cursor": cursor}
        answer = await api.call("GET", "/suppressions", token=token, params=given)
        assert answer.status == 200, answer.text
        found += [(one["list"], one["email"]) for one in answer.json["suppressions"]]
        cursor = answer.json["cursor"]
        if cursor is None:
            return found
