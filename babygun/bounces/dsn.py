"""Delivery status notifications (RFC 3464, and RFC 6533 for addresses that are not ASCII).

They are recognised by their part ``message/delivery-status``, wherever it stands: not by the
sender, and not by ``multipart/report``, which gateways lose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from babygun.bounces.parts import Fields, Part
from babygun.bounces.quoted import quoted_reply
from babygun.bounces.reading import (
    MOST_FAILURES,
    Failure,
    Kind,
    Reading,
    address_in,
    distinct,
)

_KINDS = ("message/delivery-status", "message/global-delivery-status")
_TYPED = re.compile(r"([A-Za-z0-9-]{1,30})\s*;\s*(.*)", re.DOTALL).match
_STATUS = re.compile(r"\s*#?([245])\.(\d{1,3})\.(\d{1,3})").match
_ESCAPED = re.compile(r"\\x\{([0-9A-Fa-f]{2,6})\}|\+([0-9A-F]{2})")
_CLASSES: dict[str, Kind] = {"2": "relayed", "4": "delayed", "5": "bounce"}
_ACTIONS: dict[str, Kind] = {
    "failed": "bounce",
    "delayed": "delayed",
    "delivered": "relayed",
    "relayed": "relayed",
    "expanded": "relayed",
}


def read_dsn(parts: list[Part]) -> Reading | None:
    """The report in these parts; None: there is none."""
    statuses = [part for part in parts if part.kind in _KINDS]
    if not statuses:
        return None
    kinds: set[Kind] = set()
    failures: list[Failure] = []
    reporter = ""
    for part in statuses:
        for block in _blocks(part.text):
            reporter = reporter or _value(block.get("reporting-mta"))
            if kind := _kind(block):
                kinds.add(kind)
                if kind == "bounce" and len(failures) < MOST_FAILURES:
                    failures.append(_failure(block))
    if failures:
        return Reading("bounce", "dsn", tuple(failures), reporter)
    kind = next((each for each in ("delayed", "relayed") if each in kinds), None)
    return Reading(kind, "dsn", (), reporter) if kind else None


def _blocks(text: str) -> Iterator[Fields]:
    """The groups of fields, which blank lines separate."""
    for block in re.split(r"\n[ \t]*\n", text):
        if fields := Fields(block.lstrip("\n")):
            yield fields


def _kind(block: Fields) -> Kind | None:
    """What happened to the recipient of this block; None: it is about none.

    Some leave out the Action: then the status says what happened.
    """
    if not any(name in block for name in ("final-recipient", "original-recipient", "action")):
        return None
    action = block.get("action").partition(" ")[0].strip(";,.").lower()
    if known := _ACTIONS.get(action):
        return known
    status = _STATUS(block.get("status"))
    return _CLASSES[status[1]] if status else None


def _failure(block: Fields) -> Failure:
    """One recipient. What the remote server said counts more than the status beside it."""
    reply = quoted_reply(_value(block.get("diagnostic-code")))
    status = _STATUS(block.get("status"))
    stated = ".".join(status.groups()) if status and status[1] != "2" else ""
    addresses = distinct(
        *(
            address_in(_unescaped(_value(block.get(name))))
            for name in ("original-recipient", "final-recipient", "x-actual-recipient")
        )
    )
    return Failure(addresses, reply.code, reply.enhanced or stated, reply.text)


def _value(text: str) -> str:
    """A field's value without its type: ``smtp; 550 No``, ``rfc822;a@example.com``."""
    typed = _TYPED(text)
    return typed[2].strip() if typed else text.strip()


def _unescaped(text: str) -> str:
    """An address as people write it (RFC 3461, 4: xtext; RFC 6533, 3: unicode)."""
    if "+" in text and "@" in text:
        return text  # a plain address with a tag: xtext would have +40 for the @
    return _ESCAPED.sub(_character, text)


def _character(found: re.Match[str]) -> str:
    number = int(found[1] or found[2], 16)
    return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else ""
