"""What a client may be: the rules of its name, its id and its limits. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_NAME = 200
MAX_WEIGHT = 100
# E-mails a second. Less is a daily limit's work, and more is none.
LEAST_RATE, MAX_RATE = 0.001, 1_000_000
MAX_RECIPIENTS = 1_000_000_000  # a day
_client_id = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch


def is_client_id(text: str) -> bool:
    """Whether ``text`` has the form of a client's id."""
    return _client_id(text) is not None


def client_problems(
    *,
    name: str | None = None,
    client_id: str | None = None,
    rate: float | None = None,
    weight: int | None = None,
    recipients_per_day: int | None = None,
) -> Iterator[tuple[str, str]]:
    """What is wrong with a client to be made or changed: the field, and a sentence.

    None: the field is not given, or there is no such limit.
    """
    if name is not None and (not 1 <= len(name.strip()) <= MAX_NAME or not name.isprintable()):
        yield (
            "name",
            f"a client's name has 1 to {MAX_NAME} characters, without line breaks:"
            " say what it is for",
        )
    if client_id is not None and not is_client_id(client_id):
        yield "id", "a client's id has 1 to 64 letters, digits, dots, hyphens and underscores"
    if rate is not None and not LEAST_RATE <= rate <= MAX_RATE:
        yield "rate", f"the rate must be from {LEAST_RATE} to {MAX_RATE:,} e-mails a second"
    if weight is not None and not 1 <= weight <= MAX_WEIGHT:
        yield "weight", f"the weight must be a whole number from 1 to {MAX_WEIGHT}"
    if recipients_per_day is not None and not 1 <= recipients_per_day <= MAX_RECIPIENTS:
        yield (
            "recipients_per_day",
            f"a daily limit is from 1 to {MAX_RECIPIENTS:,} recipients",
        )
