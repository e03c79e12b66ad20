"""The request to change an e-mail that waits, and its rules: those of the request to send it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from babygun.email.edit import Edit
from babygun.intake.broken_rules import BrokenRules
from babygun.intake.tags import Metadata, Tags, check_metadata, check_tags
from babygun.intake.times import SendAt, check_send_at, whole_ms
from babygun.runtime.clock import utc_now


class EditRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """What to change of an e-mail. What is left out, or null, stays as it is.

    ``tags`` and ``metadata`` take the place of all that were there: an empty list or object
    deletes them.
    """

    send_at: SendAt | None = None
    tags: Tags = None
    metadata: Metadata = None
    revision: (
        Annotated[
            int,
            Meta(
                ge=1,
                description="The e-mail's `revision` as the caller has read it. If it has changed"
                " since, nothing is changed.",
            ),
        ]
        | None
    ) = None


def check_edit(request: EditRequest) -> Edit:
    """Raises InvalidEmail with all the rules that the request breaks."""
    broken = BrokenRules()
    if (request.send_at, request.tags, request.metadata) == (None, None, None):
        broken.report("body", "Name what to change: send_at, tags or metadata.")
    send_at = request.send_at and (check_send_at(request.send_at, broken) or whole_ms(utc_now()))
    if request.tags:
        check_tags(request.tags, broken)
    if request.metadata:
        check_metadata(request.metadata, broken)
    broken.raise_if_any()
    tags = None if request.tags is None else tuple(dict.fromkeys(request.tags))
    return Edit(send_at, tags, request.metadata)
