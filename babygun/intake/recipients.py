"""The recipients of an e-mail: the forms in which a request gives them, their rules and queues."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from msgspec import Meta, Struct

from babygun.email.addresses import Address, comparable, parse_address
from babygun.email.model import Recipient, RecipientKind
from babygun.errors import SettingsError, sentence
from babygun.intake.broken_rules import BrokenRules
from babygun.routing.routes import Routes

Addresses = str | list[str] | None

# The most open kind first.
_RANK: dict[RecipientKind, int] = {"to": 0, "cc": 1, "bcc": 2}


class RecipientRequest(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One recipient, in the form that the answer has too."""

    email: Annotated[str, Meta(description="An address, with or without a display name.")]
    kind: RecipientKind = "to"


class Entry(Struct, frozen=True, gc=False):
    """One address of a request. ``field``: its path; ``text``: as given."""

    field: str
    text: str
    kind: RecipientKind


class Recipients(Struct, frozen=True, gc=False):
    """``envelope``: each mailbox once, with its queue. The others: addresses as given, by kind."""

    envelope: tuple[Recipient, ...]
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()


def check_recipients(
    entries: list[Entry], routes: Routes, limit: int, broken: BrokenRules
) -> Recipients:
    """Merges the addresses of one mailbox, in whatever form they are given.

    It stays what it is most openly: to before cc before bcc, and in the first form of that kind.
    """
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
    found: dict[str, tuple[Recipient, str]] = {}  # by mailbox; with the address as given
    seen: dict[str, int] = {}  # by text: the rank of its kind
    first_over: Entry | None = None
    for entry in entries:
        rank = _RANK[entry.kind]
        if seen.get(entry.text, rank + 1) <= rank:
            continue
        seen[entry.text] = rank
        email = check_address(entry.text, entry.field, broken)
        mailbox = comparable(email)
        known = found.get(mailbox)
        if not email or (known and _RANK[known[0].kind] <= rank):
            continue
        if not known and len(found) == limit:
            first_over = first_over or entry
        try:
            recipient = Recipient(email, entry.kind, routes.queue_for(email))
            found[mailbox] = recipient, entry.text.strip()
        except SettingsError as error:
            broken.report(entry.field, sentence(error))
    if first_over:
        broken.report(
            _list_of(first_over), f"There are {len(found)} recipients; at most {limit} are taken."
        )
    envelope: list[Recipient] = []
    shown: dict[RecipientKind, list[str]] = {"to": [], "cc": [], "bcc": []}
    for recipient, text in found.values():
        envelope.append(recipient)
        shown[recipient.kind].append(text)
    return Recipients(tuple(envelope), *map(tuple, shown.values()))


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
