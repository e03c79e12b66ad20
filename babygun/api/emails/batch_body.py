"""Reads the body of POST /emails/batch. One invalid e-mail does not affect the others."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from babygun.api.http.json_body import JsonBody
from babygun.api.http.json_values import UNCOUNTED, check_values
from babygun.api.http.problem_types import TOO_LARGE
from babygun.api.http.problems import Problem
from babygun.errors import InvalidRequest, Violation
from babygun.intake.base64_content import tidy_contents
from babygun.intake.request import EmailRequest
from babygun.runtime.event_loop import Turns

MAX_EMAILS = 1000
MAX_VALUES_OF_ALL = 2_000_000  # 1,000 recipients in each e-mail, and as much beside them

BatchRequest = Annotated[
    list[EmailRequest],
    Meta(min_length=1, max_length=MAX_EMAILS, description="E-mails, each as for POST /emails."),
]

# A JSON list as a Struct with one field for each e-mail and one more: the rest is skipped unread.
# For 40 MB of `0,` a list[Raw] takes 1.4 GB of memory and 1.4 s; this takes 0 MB and 0.1 s.
_Entries = msgspec.defstruct(
    "_Entries",
    [(f"entry_{number}", Raw | UnsetType, UNSET) for number in range(MAX_EMAILS + 1)],
    array_like=True,
)
_entries: JsonBody[Any] = JsonBody(_Entries)
_email = JsonBody(EmailRequest, tidy=tidy_contents)


async def read_batch(raw: bytes) -> list[EmailRequest | InvalidRequest]:
    """Each e-mail of a body, or why it can't be understood. Other tasks have their turn meanwhile.

    Raises InvalidRequest if the body is no list of 1 to MAX_EMAILS, the 400 problem if it is no
    JSON, and the 413 problem if it has more values than e-mails need.
    """
    await check_values(raw, MAX_VALUES_OF_ALL)
    entries = msgspec.structs.astuple(_entries.decode(raw))
    found = [entry for entry in entries if entry is not UNSET]
    if not found:
        raise InvalidRequest([Violation("body", "There is no e-mail in the list.")])
    if len(found) > MAX_EMAILS:
        detail = f"There are more than {MAX_EMAILS:,} e-mails; send several batches."
        raise InvalidRequest([Violation("body", detail)])
    emails, turns = [], Turns()
    for entry in found:
        emails.append(await _read_one(entry))
        await turns.offer()
    return emails


async def _read_one(raw: Raw) -> EmailRequest | InvalidRequest:
    try:
        if memoryview(raw).nbytes <= UNCOUNTED:
            return _email.decode(raw)
        return await _email.decode_large(bytes(raw))
    except Problem as problem:
        if problem.kind is not TOO_LARGE:
            raise
        return InvalidRequest([Violation("", problem.detail)], too_large=True)
    except InvalidRequest as error:
        if bytes(raw).startswith(b"{"):
            return error
        # No field of the e-mail is wrong, but the e-mail itself.
        return InvalidRequest([Violation("", str(error))])
