"""The answers to clients, and when docs/api.md allows to repeat a call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

DAILY_LIMIT = "daily-limit"  # the problem of a refusal that holds until midnight


@dataclass(frozen=True)
class Answer:
    """``status``: 0 if there was none. ``sent``: whether the request may have reached the API."""

    status: int
    body: Any = None
    sent: bool = True
    problem: str = ""
    repeated: bool = False


def ids_of(answer: Answer) -> list[str | None]:
    """The ids of a send or a batch; one per e-mail, None for one that was not taken."""
    if answer.status not in (202, 207) or not isinstance(answer.body, dict):
        return []
    if "results" in answer.body:
        return [each.get("id") for each in answer.body["results"]]
    return [answer.body["id"]] if "id" in answer.body else []


def may_repeat(answer: Answer, *, with_key: bool) -> bool:
    """Whether docs/api.md allows to repeat the call."""
    if answer.problem == DAILY_LIMIT:
        return False
    if answer.status in (401, 429):
        return True
    if answer.status == 503:
        return with_key or answer.problem not in ("outcome-unknown", "out-of-memory")
    if answer.status == 207:
        return with_key
    return answer.status == 0 and (with_key or not answer.sent)
