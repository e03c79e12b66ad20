"""What ``babygun dev`` says when the supervisor would log an event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from babygun.runtime.logs import Log

_SENTENCES = {
    "process ended": "{process} ended ({status}); starting it again in {pause_seconds:g} s",
    "process killed": "{process} did not stop within {seconds:g} s; killing it",
    "process not started": "{process} {error}",
    "process not up": "{process} was not ready within {seconds:g} s; ending it",
    "process up again": "{process} runs again",
    "stopping processes": "stopping (once more kills at once)",
}


class SentenceLog(Log):
    """A log whose events become sentences. ``say`` takes them."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def emit(
        self, level: int, event: str, fields: dict[str, Any], exc: BaseException | None = None
    ) -> None:
        self._say(_SENTENCES[event].format(**fields))
