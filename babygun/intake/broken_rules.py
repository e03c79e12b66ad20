"""Collects the rules that a request breaks, so that one answer names all of them."""

from __future__ import annotations

from babygun.errors import InvalidEmail, Violation

MAX_LISTED = 50  # of 1,000 bad addresses nobody reads more


class BrokenRules:
    """The broken rules of one e-mail, in the order in which they were found."""

    def __init__(self) -> None:
        self._violations: list[Violation] = []
        self._first_too_large = False

    def report(self, field: str, detail: str, *, too_large: bool = False) -> None:
        """``detail``: a sentence. ``too_large``: the rule is a size limit."""
        if not self._violations:
            self._first_too_large = too_large
        if len(self._violations) < MAX_LISTED:
            self._violations.append(Violation(field, detail))

    def raise_if_any(self) -> None:
        """Raises InvalidEmail if a rule is broken."""
        if self._violations:
            raise InvalidEmail(self._violations, too_large=self._first_too_large)
