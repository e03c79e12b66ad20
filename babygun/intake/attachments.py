"""The attachments of an e-mail: how a request gives them, and their rules."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from babygun.email.model import Attachment
from babygun.intake.broken_rules import BrokenRules
from babygun.intake.filenames import MAX_FILENAME, new_filename, tidy_filename
from babygun.intake.invitations import CALENDAR, invitation_type
from babygun.mime.media_type import UNKNOWN, MediaType, parse_media_type
from babygun.mime.parts import ATTACHED_MESSAGES, COMPOSITE, unfit_without_encoding

MAX_ATTACHMENTS = 100
MAX_MEDIA_TYPE = 255


class AttachmentRequest(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False, kw_only=True
):
    """A file to send with the e-mail."""

    filename: (
        Annotated[
            str,
            Meta(
                description="Without a path. Left out: a name by the type, such as attachment.pdf.",
                max_length=MAX_FILENAME,
            ),
        ]
        | None
    ) = None
    content: Annotated[
        bytes,
        Meta(description="The bytes in base64 (RFC 4648, section 4). It may have line breaks."),
    ]
    content_type: Annotated[
        str | None, Meta(description=f"Its media type. Left out: {UNKNOWN}.")
    ] = None
    content_id: Annotated[
        str | None, Meta(description="Set: it is shown where the HTML says cid:<content_id>.")
    ] = None
    alternative: Annotated[
        bool | None,
        Meta(
            description="Whether a calendar also goes as an alternative of the text, so that "
            "mail programs show an invitation. Left out: if its type has a method."
        ),
    ] = None


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
    types = [
        _check_type(attachment, f"attachments[{index}].content_type", broken)
        for index, attachment in enumerate(given)
    ]
    invitation = _check_invitation(given, types, broken)
    names = _check_names(given, types, broken)
    content_ids = _check_content_ids(given, broken)
    size = sum(len(attachment.content) for attachment in given)
    if size > max_bytes:
        broken.report(
            "attachments",
            f"The attachments have {size} bytes; "
            f"at most {max_bytes} are taken (setting max_attachments).",
            too_large=True,
        )
    return tuple(
        Attachment(
            names[index], str(types[index]), each.content, content_ids[index], index == invitation
        )
        for index, each in enumerate(given)
    )


def _check_type(attachment: AttachmentRequest, field: str, broken: BrokenRules) -> MediaType:
    text = attachment.content_type
    if text is None or not text.strip():
        return MediaType(UNKNOWN)
    if len(text) > MAX_MEDIA_TYPE:
        broken.report(field, f"A media type has at most {MAX_MEDIA_TYPE} characters.")
        return MediaType(UNKNOWN)
    try:
        media = parse_media_type(text)
    except ValueError as error:
        broken.report(field, str(error))
        return MediaType(UNKNOWN)
    if media.kind in ATTACHED_MESSAGES:
        if fault := unfit_without_encoding(attachment.content):
            broken.report(
                field,
                f"The attached message has {fault}, so it can't be sent as {media.kind}: "
                f"use {UNKNOWN}.",
            )
    elif media.kind.startswith(COMPOSITE):
        instead = UNKNOWN if media.kind.startswith("message/") else f"message/rfc822 or {UNKNOWN}"
        broken.report(field, f"{media.kind} can't be attached: use {instead}.")
    return media


def _check_invitation(
    given: list[AttachmentRequest], types: list[MediaType], broken: BrokenRules
) -> int | None:
    """Which attachment is the invitation; its entry of ``types`` gets its method."""
    wanted = [index for index, each in enumerate(given) if each.alternative]
    wanted += [
        index
        for index, media in enumerate(types)
        if given[index].alternative is None and media.kind == CALENDAR and media.get("method")
    ]
    if not wanted:
        return None
    for index in wanted[1:]:
        if given[index].alternative:
            broken.report(
                f"attachments[{index}].alternative",
                "An e-mail can have one invitation only, and another attachment is one already.",
            )
    first = wanted[0]
    try:
        types[first] = invitation_type(types[first], given[first].content)
    except ValueError as error:
        broken.report(f"attachments[{first}].alternative", str(error))
    return first


def _check_names(
    given: list[AttachmentRequest], types: list[MediaType], broken: BrokenRules
) -> list[str]:
    """The names of the files; one without a name gets one.

    A type has its file's name as a parameter in some programs. It must not differ in its marks.
    """
    names = []
    for index, attachment in enumerate(given):
        name = ""
        try:
            name = tidy_filename(attachment.filename)
            said = types[index].get("name")
            if said is not None:
                tidy = tidy_filename(said)
                types[index] = types[index].having("name", tidy)
                name = name or tidy
        except ValueError as error:
            broken.report(f"attachments[{index}].filename", str(error))
        names.append(name)
    taken = {name.lower() for name in names}
    return [
        name or new_filename(media.kind, taken) for name, media in zip(names, types, strict=True)
    ]


def _check_content_ids(given: list[AttachmentRequest], broken: BrokenRules) -> list[str | None]:
    seen: dict[str, int] = {}
    content_ids = []
    for index, attachment in enumerate(given):
        content_id = attachment.content_id
        if content_id is not None:
            field = f"attachments[{index}].content_id"
            content_id = _bare_id(content_id)
            if not _content_id(content_id):
                broken.report(
                    field,
                    "A content id has 1 to 250 printable ASCII characters "
                    "without spaces and angle brackets.",
                )
            elif content_id in seen:
                broken.report(field, f"attachments[{seen[content_id]}] has the same content id.")
            seen[content_id] = index
        content_ids.append(content_id)
    return content_ids


def _bare_id(given: str) -> str:
    """What stands within the brackets of a Content-ID, or behind ``cid:`` in the HTML."""
    bare = given.strip()
    if bare.startswith("<") and bare.endswith(">"):
        bare = bare[1:-1].strip()
    return bare[4:] if bare[:4].lower() == "cid:" else bare
