"""Collects what is wrong with a request, so that one answer tells all of it."""

from __future__ import annotations

from babygun.api.http.problems import InvalidRequest, Violation

MAX_LISTED = 50  # of 1,000 bad addresses nobody reads more


class Violations:
    """The broken rules of one request, in the order in which they were found."""

    def __init__(self) -> None:
        self._found: list[Violation] = []
        self._status = 0

    def add(self, field: str, detail: str, *, status: int = 422) -> None:
        """``status``: 422, or 413 where a size limit is passed."""
        self._status = self._status or status
        if len(self._found) < MAX_LISTED:
            self._found.append(Violation(field, detail))

    def check(self) -> None:
        """Raises InvalidRequest where there is any."""
        if self._found:
            raise InvalidRequest(self._found, status=self._status)
