"""The end of a process: how it is described, and how long to wait before it is started again."""

from __future__ import annotations

import signal


class Backoff:
    """The pauses before a process is started again: they double, up to the longest."""

    def __init__(
        self, first: float = 0.5, longest: float = 30.0, healthy_after: float = 60.0
    ) -> None:
        self._first, self._longest, self._healthy_after = first, longest, healthy_after
        self._next = first

    def pause(self, healthy: float) -> float:
        """Seconds to wait after a process that was up for ``healthy`` seconds."""
        if healthy >= self._healthy_after:
            self._next = self._first
        pause, self._next = self._next, min(self._next * 2, self._longest)
        return pause


def describe_status(status: int) -> str:
    """``exit status 2`` or ``SIGKILL``. A negative ``status`` is a signal."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
