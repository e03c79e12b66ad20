"""The body of POST /emails/batch: a list of e-mails, of which one that doesn't fit keeps none of the others from being understood."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from babygun.api.http.body import JsonBody
from babygun.api.http.problem_types import INVALID_REQUEST
from babygun.api.http.problems import Problem
from babygun.intake.request import EmailRequest, read_request

MAX_EMAILS = 1000

BatchRequest = Annotated[
    list[EmailRequest],
    Meta(min_length=1, max_length=MAX_EMAILS, description="E-mails, each as for POST /emails."),
]


def _first_of(kind: Any) -> Any:
    """A list as a Struct of its first MAX_EMAILS entries and one more: however many there are, no memory is taken for the rest."""
    return msgspec.defstruct(
        "Entries",
        [
            *((f"entry_{n}", kind | UnsetType, UNSET) for n in range(MAX_EMAILS)),
            ("more", Raw, UNSET),
        ],
        array_like=True,
    )


_typed = msgspec.json.Decoder(_first_of(EmailRequest)).decode
_raw: JsonBody[Any] = JsonBody(_first_of(Raw))


def read_batch(raw: bytes) -> list[EmailRequest | Problem]:
    """Each e-mail of a body, or what keeps it from being one. Raises the 400 or 422 problem where the body is no list of 1 to MAX_EMAILS."""
    try:
        entries = _typed(raw)
    except (ValueError, RecursionError):  # something doesn't fit somewhere
        return [_read_one(entry) for entry in _listed(_raw.decode(raw))]
    return _listed(entries)


def _listed(entries: Any) -> list[Any]:
    listed = list(msgspec.structs.astuple(entries))
    if listed.pop() is not UNSET:
        raise Problem(
            INVALID_REQUEST,
            f"There are more than {MAX_EMAILS:,} e-mails; send several batches.",
            field="body",
        )
    if listed[-1] is UNSET:
        del listed[listed.index(UNSET) :]
    if not listed:
        raise Problem(INVALID_REQUEST, "There is no e-mail in the list.", field="body")
    return listed


def _read_one(raw: Raw) -> EmailRequest | Problem:
    try:
        return read_request(raw)
    except Problem as problem:
        if problem.kind is not INVALID_REQUEST:  # what is no JSON in one place is none as a whole
            raise
        if not bytes(raw).startswith(b"{"):  # it is not one of the e-mail's fields that is meant
            problem.field = None
        return problem
