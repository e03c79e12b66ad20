"""The attachments of an e-mail: how a request gives them, and their rules."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from babygun.email.model import Attachment
from babygun.intake.broken_rules import BrokenRules

MAX_ATTACHMENTS = 100
MAX_FILENAME = 255
MAX_MEDIA_TYPE = 255


class AttachmentRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A file to send with the e-mail."""

    filename: Annotated[str, Meta(description="Without a path.", max_length=MAX_FILENAME)]
    content: Annotated[
        bytes, Meta(description="The bytes in base64 (RFC 4648, section 4), without line breaks.")
    ]
    content_type: Annotated[str, Meta(description="Its media type.")] = "application/octet-stream"
    content_id: Annotated[
        str | None, Meta(description="Set: it is shown where the HTML says cid:<content_id>.")
    ] = None


_bad_filename = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029/\\]").search
_NAME = r"[A-Za-z0-9!#$&^_.+-]"
_PARAMETER = rf"{_NAME}+=([A-Za-z0-9!#$&^_.+/:'-]+|\"[ !#-\[\]-~]*\")"
_media_type = re.compile(
    rf"({_NAME}{{1,127}})/{_NAME}{{1,127}}([ \t]*;[ \t]*{_PARAMETER})*"
).fullmatch
_content_id = re.compile(r"[!-;=?-~]{1,250}").fullmatch


def check_attachments(
    given: list[AttachmentRequest], max_bytes: int, broken: BrokenRules
) -> tuple[Attachment, ...]:
    """``max_bytes``: of all attachments together."""
    if len(given) > MAX_ATTACHMENTS:
        broken.report(
            "attachments",
            f"There are {len(given)} attachments; at most {MAX_ATTACHMENTS} are taken.",
            too_large=True,
        )
        return ()
    for index, attachment in enumerate(given):
        _check_one(attachment, f"attachments[{index}]", broken)
    size = sum(len(attachment.content) for attachment in given)
    if size > max_bytes:
        broken.report(
            "attachments",
            f"The attachments have {size} bytes; "
            f"at most {max_bytes} are taken (setting max_attachments).",
            too_large=True,
        )
    return tuple(Attachment(a.filename, a.content_type, a.content, a.content_id) for a in given)


def _check_one(attachment: AttachmentRequest, field: str, broken: BrokenRules) -> None:
    name, kind, content_id = attachment.filename, attachment.content_type, attachment.content_id
    if not name or name in (".", "..") or _bad_filename(name):
        broken.report(
            f"{field}.filename",
            "A filename has at least one character, no path and no control characters.",
        )
    media_type = _media_type(kind) if len(kind) <= MAX_MEDIA_TYPE else None
    if not media_type:
        broken.report(
            f"{field}.content_type",
            "A media type must be of the form type/subtype, parameters may follow.",
        )
    elif media_type[1].lower() in ("multipart", "message"):
        broken.report(
            f"{field}.content_type",
            f"{media_type[1]}/… can't be sent in base64; use application/octet-stream.",
        )
    if content_id is not None and not _content_id(content_id):
        broken.report(
            f"{field}.content_id",
            "A content id has 1 to 250 printable ASCII characters "
            "without spaces and angle brackets.",
        )
