"""The recipients of an e-mail: the forms in which a request gives them, their rules and queues."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from babygun.email.addresses import Address, parse_address
from babygun.email.model import Recipient, RecipientKind
from babygun.errors import SettingsError, sentence
from babygun.intake.broken_rules import BrokenRules
from babygun.routing.routes import Routes

Addresses = str | list[str] | None


class RecipientRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One recipient, in the form that the answer has too."""

    email: Annotated[str, Meta(description="An address, with or without a display name.")]
    kind: RecipientKind = "to"


class Entry(NamedTuple):
    """One address of a request. ``field``: its path; ``text``: as given."""

    field: str
    text: str
    kind: RecipientKind


class Recipients(NamedTuple):
    """``envelope``: each address once, with its queue. The others: addresses as given, by kind."""

    envelope: tuple[Recipient, ...]
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()


def check_recipients(
    entries: list[Entry], routes: Routes, limit: int, broken: BrokenRules
) -> Recipients:
    """Merges addresses that are given several times: the first kind counts."""
    if not entries:
        broken.report(
            "to", "There is no recipient: give at least one in to, cc, bcc or recipients."
        )
        return Recipients(())
    if len(entries) > 10 * limit:
        broken.report(
            _list_of(entries[limit]),
            f"There are {len(entries)} addresses; at most {limit} recipients are taken.",
        )
        return Recipients(())
    found: dict[str, Recipient] = {}
    given: dict[RecipientKind, list[str]] = {"to": [], "cc": [], "bcc": []}
    seen: set[str] = set()
    first_over: Entry | None = None
    for entry in entries:
        if entry.text in seen:
            continue
        seen.add(entry.text)
        email = check_address(entry.text, entry.field, broken)
        if not email or email in found:
            continue
        if len(found) == limit:
            first_over = first_over or entry
        try:
            found[email] = Recipient(email, entry.kind, routes.queue_for(email))
        except SettingsError as error:
            broken.report(entry.field, sentence(error))
        given[entry.kind].append(entry.text.strip())
    if first_over:
        broken.report(
            _list_of(first_over), f"There are {len(found)} recipients; at most {limit} are taken."
        )
    return Recipients(
        tuple(found.values()), tuple(given["to"]), tuple(given["cc"]), tuple(given["bcc"])
    )


def check_address(
    text: str, field: str, broken: BrokenRules, parse: Callable[[str], Address] = parse_address
) -> str:
    """The bare address; empty if it is not valid."""
    try:
        return parse(text).email
    except ValueError as error:
        broken.report(field, sentence(error))
        return ""


def entries_of(field: str, given: Addresses, kind: RecipientKind) -> list[Entry]:
    """The addresses of a field that takes one address or a list."""
    if given is None:
        return []
    if isinstance(given, str):
        return [Entry(field, given, kind)]
    return [Entry(f"{field}[{index}]", text, kind) for index, text in enumerate(given)]


def _list_of(entry: Entry) -> str:
    """``recipients[3].email`` is in ``recipients``."""
    return entry.field.partition("[")[0]
