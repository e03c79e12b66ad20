"""The body of POST /emails: what it may hold, and how it becomes an email of the model."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from babygun.api.http.body import JsonBody
from babygun.api.http.problems import sentence
from babygun.email.addresses import Address, parse_address
from babygun.email.model import Attachment, Content, Recipient, RecipientKind
from babygun.errors import SettingsError
from babygun.intake.headers import read_headers
from babygun.intake.violations import Violations
from babygun.routing.routes import Routes
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings

MAX_SUBJECT = 2000  # characters
MAX_REPLY_TO = 100
MAX_ATTACHMENTS = 100
MAX_FILENAME = 255
MAX_TAGS, MAX_TAG = 10, 64
MAX_METADATA, MAX_METADATA_BYTES = (
    50,
    4096,
)  # the record carries them, and is written at each change
MAX_AHEAD = timedelta(days=366)

Addresses = str | list[str] | None


class RecipientRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One recipient, in the form that the answer has too."""

    email: Annotated[str, Meta(description="An address, with or without a display name.")]
    kind: RecipientKind = "to"


class AttachmentRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A file that goes along."""

    filename: Annotated[str, Meta(description="Without a path.", max_length=MAX_FILENAME)]
    content: Annotated[
        bytes, Meta(description="The bytes in base64 (RFC 4648, section 4), without line breaks.")
    ]
    content_type: Annotated[str, Meta(description="Its media type.")] = "application/octet-stream"
    content_id: Annotated[
        str | None, Meta(description="Set: it is shown where the HTML says cid:<content_id>.")
    ] = None


class EmailRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """An e-mail to send. At least one recipient is needed, in ``to``, ``cc``, ``bcc`` or ``recipients``; an address that stands
    there several times gets one copy, as what it was first. A field that is null counts as left out."""

    sender: Annotated[
        str,
        Meta(
            description="The From address, with or without a display name; also the envelope's sender."
        ),
    ]
    to: Annotated[
        Addresses, Meta(description="One address or a list, each with or without a display name.")
    ] = None
    cc: Annotated[Addresses, Meta(description="As to.")] = None
    bcc: Annotated[Addresses, Meta(description="As to; no recipient sees them.")] = None
    recipients: Annotated[
        list[RecipientRequest] | None,
        Meta(description="Recipients with their kind, beside or instead of to, cc and bcc."),
    ] = None
    reply_to: Annotated[Addresses, Meta(description="Where answers shall go.")] = None
    subject: Annotated[
        str | None, Meta(description=f"At most {MAX_SUBJECT} characters, without line breaks.")
    ] = None
    body: Annotated[
        str | None, Meta(description="Plain text. Without it and html the message is empty.")
    ] = None
    html: Annotated[
        str | None,
        Meta(description="HTML; beside body it is the alternative that mail programs prefer."),
    ] = None
    headers: Annotated[
        dict[str, str] | list[str] | None,
        Meta(description="Further headers: an object, or a list of `Name: value` lines."),
    ] = None
    attachments: Annotated[
        list[AttachmentRequest] | None, Meta(description=f"At most {MAX_ATTACHMENTS} files.")
    ] = None
    send_at: (
        Annotated[
            datetime,
            Meta(
                tz=True,
                description="When to send: RFC 3339 with an offset, at most 366 days ahead; in the past: now.",
            ),
        ]
        | None
    ) = None
    tags: Annotated[
        list[str] | None,
        Meta(
            description=f"At most {MAX_TAGS}, each of 1 to {MAX_TAG} letters, digits and _ . : -; the listing filters by them."
        ),
    ] = None
    metadata: Annotated[
        dict[str, str] | None,
        Meta(
            description=f"Texts of yours that are kept with the e-mail: at most {MAX_METADATA}, together {MAX_METADATA_BYTES} bytes."
        ),
    ] = None


class Submission(NamedTuple):
    """An e-mail that breaks no rule. ``sender`` is the bare address; ``send_at``: None for now."""

    sender: str
    recipients: tuple[Recipient, ...]
    content: Content
    tags: tuple[str, ...]
    metadata: dict[str, str]
    send_at: datetime | None


_body = JsonBody(EmailRequest)
_parse_sender = lru_cache(maxsize=256)(parse_address)  # a client has few of them
_line_break = re.compile(r"[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]").search
_control = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]").search
_bad_filename = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029/\\]").search
_media_type = re.compile(
    r"([A-Za-z0-9!#$&^_.+-]{1,127})/[A-Za-z0-9!#$&^_.+-]{1,127}([ \t]*;[ \t]*[A-Za-z0-9!#$&^_.+-]+=([A-Za-z0-9!#$&^_.+/:'-]+|\"[ !#-\[\]-~]*\"))*"
).fullmatch
_content_id = re.compile(r"[!-;=?-~]{1,250}").fullmatch
_tag = re.compile(rf"[A-Za-z0-9_.:-]{{1,{MAX_TAG}}}").fullmatch


def read_request(raw: bytes | msgspec.Raw) -> EmailRequest:
    """A request's body, whose parts have the right types. Raises the 400 or 422 problem."""
    return _body.decode(raw)


def submission_of(request: EmailRequest, routes: Routes, settings: Settings) -> Submission:
    """The e-mail that a request describes. Raises InvalidEmail with every rule that it breaks."""
    violations = Violations()
    sender = _address(request.sender, "sender", violations, _parse_sender)
    recipients, shown = _recipients(request, routes, settings.max_recipients, violations)
    headers = read_headers(request.headers, violations) if request.headers else ()
    subject = request.subject or ""
    if subject:
        _check_subject(subject, violations)
    for field, text in (("body", request.body), ("html", request.html)):
        if text:
            _check_text(text, field, settings.max_body, violations)
    reply_to = _reply_to(request.reply_to, violations) if request.reply_to is not None else ()
    attachments = (
        _attachments(request.attachments, settings.max_attachments, violations)
        if request.attachments
        else ()
    )
    if request.tags:
        _check_tags(request.tags, violations)
    if request.metadata:
        _check_metadata(request.metadata, violations)
    send_at = _send_at(request.send_at, violations) if request.send_at is not None else None
    violations.check()
    content = Content(
        request.sender.strip(),
        subject,
        tuple(shown["to"]),
        tuple(shown["cc"]),
        tuple(shown["bcc"]),
        reply_to,
        headers,
        request.body,
        request.html,
        attachments,
    )
    tags = tuple(dict.fromkeys(request.tags)) if request.tags else ()
    return Submission(sender, recipients, content, tags, request.metadata or {}, send_at)


def _address(
    text: str, field: str, violations: Violations, parse: Callable[[str], Address] = parse_address
) -> str:
    """The bare address; empty where there is none."""
    try:
        return parse(text).email
    except ValueError as error:
        violations.add(field, sentence(error))
        return ""


def _recipients(
    request: EmailRequest, routes: Routes, limit: int, violations: Violations
) -> tuple[tuple[Recipient, ...], dict[RecipientKind, list[str]]]:
    """The envelope's recipients with their queues, and the addresses as given, by kind."""
    entries = (
        [*_listed("to", request.to, "to")] if request.to is not None else []
    )  # field, address, kind
    if request.cc is not None:
        entries += _listed("cc", request.cc, "cc")
    if request.bcc is not None:
        entries += _listed("bcc", request.bcc, "bcc")
    if request.recipients:
        entries += [
            (f"recipients[{index}].email", r.email, r.kind)
            for index, r in enumerate(request.recipients)
        ]
    shown: dict[RecipientKind, list[str]] = {"to": [], "cc": [], "bcc": []}
    if not entries:
        violations.add(
            "to", "There is no recipient: give at least one in to, cc, bcc or recipients."
        )
        return (), shown
    if len(entries) > 10 * limit:
        violations.add(
            entries[limit][0].partition("[")[0],
            f"There are {len(entries)} addresses; at most {limit} recipients are taken.",
        )
        return (), shown
    found: dict[str, Recipient] = {}
    seen: set[str] = set()
    over = ""
    for field, text, kind in entries:
        if text in seen:
            continue
        seen.add(text)
        email = _address(text, field, violations)
        if not email or email in found:
            continue
        if len(found) == limit:
            over = over or field.partition("[")[0]
        try:
            found[email] = Recipient(email, kind, routes.queue_for(email))
        except SettingsError as error:
            violations.add(field, sentence(error))
        shown[kind].append(text.strip())
    if over:
        violations.add(over, f"There are {len(found)} recipients; at most {limit} are taken.")
    return tuple(found.values()), shown


def _listed(
    field: str, given: Addresses, kind: RecipientKind
) -> Sequence[tuple[str, str, RecipientKind]]:
    if not given:
        return () if given is None or isinstance(given, list) else ((field, given, kind),)
    if isinstance(given, str):
        return ((field, given, kind),)
    return [(f"{field}[{index}]", text, kind) for index, text in enumerate(given)]


def _reply_to(given: str | list[str], violations: Violations) -> tuple[str, ...]:
    entries = _listed("reply_to", given, "to")
    if len(entries) > MAX_REPLY_TO:
        violations.add(
            "reply_to", f"There are {len(entries)} addresses; at most {MAX_REPLY_TO} are taken."
        )
        return ()
    for field, text, _ in entries:
        _address(text, field, violations)
    return tuple(text.strip() for _, text, _ in entries)


def _check_subject(subject: str, violations: Violations) -> None:
    if len(subject) > MAX_SUBJECT:
        violations.add(
            "subject",
            f"The subject has {len(subject)} characters; at most {MAX_SUBJECT} are taken.",
        )
    if subject.isprintable():  # as nearly all are
        return
    if _line_break(subject):
        violations.add("subject", "The subject must not hold line breaks.")
    elif _control(subject):
        violations.add("subject", "The subject must not hold control characters.")


def _check_text(text: str, field: str, limit: int, violations: Violations) -> None:
    if len(text) * 4 > limit and (size := len(text.encode())) > limit:
        violations.add(
            field, f"It has {size} bytes; at most {limit} are taken (setting max_body).", status=413
        )
    if "\0" in text:
        violations.add(field, "It must not hold NUL characters.")


def _attachments(
    given: list[AttachmentRequest], limit: int, violations: Violations
) -> tuple[Attachment, ...]:
    if len(given) > MAX_ATTACHMENTS:
        violations.add(
            "attachments",
            f"There are {len(given)} attachments; at most {MAX_ATTACHMENTS} are taken.",
            status=413,
        )
        return ()
    size = 0
    for index, a in enumerate(given):
        field = f"attachments[{index}]"
        size += len(a.content)
        if not a.filename or a.filename in (".", "..") or _bad_filename(a.filename):
            violations.add(
                f"{field}.filename",
                "A filename has at least one character, no path and no control characters.",
            )
        media_type = _media_type(a.content_type) if len(a.content_type) <= 255 else None
        if not media_type:
            violations.add(
                f"{field}.content_type",
                "A media type must be of the form type/subtype, parameters may follow.",
            )
        elif media_type[1].lower() in ("multipart", "message"):
            violations.add(
                f"{field}.content_type",
                f"{media_type[1]}/… can't be sent in base64; use application/octet-stream.",
            )
        if a.content_id is not None and not _content_id(a.content_id):
            violations.add(
                f"{field}.content_id",
                "A content id has 1 to 250 printable ASCII characters without spaces and angle brackets.",
            )
    if size > limit:
        violations.add(
            "attachments",
            f"The attachments have {size} bytes; at most {limit} are taken (setting max_attachments).",
            status=413,
        )
    return tuple(Attachment(a.filename, a.content_type, a.content, a.content_id) for a in given)


def _check_tags(tags: list[str], violations: Violations) -> None:
    if len(tags) > MAX_TAGS:
        violations.add("tags", f"There are {len(tags)} tags; at most {MAX_TAGS} are taken.")
    for index, tag in enumerate(tags[:MAX_TAGS]):
        if not _tag(tag):
            violations.add(
                f"tags[{index}]", f"A tag has 1 to {MAX_TAG} letters, digits and _ . : - only."
            )


def _check_metadata(metadata: dict[str, str], violations: Violations) -> None:
    if len(metadata) > MAX_METADATA:
        violations.add(
            "metadata", f"There are {len(metadata)} entries; at most {MAX_METADATA} are taken."
        )
    elif (
        size := sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items())
    ) > MAX_METADATA_BYTES:
        violations.add(
            "metadata",
            f"The metadata have {size} bytes; at most {MAX_METADATA_BYTES} are taken.",
            status=413,
        )


def _send_at(at: datetime, violations: Violations) -> datetime | None:
    now = utc_now()
    if at <= now:
        return None
    if at > now + MAX_AHEAD:
        violations.add("send_at", f"It lies more than {MAX_AHEAD.days} days ahead.")
        return None
    at = at.astimezone(now.tzinfo)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
