"""Bounce messages that are no delivery status notifications: by the words of the programs.

Each form has phrases that it always holds, and a way in which it names the recipients and what was
said about them. A report in a form of its own counts as a bounce only if it quotes a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

from babygun.bounces.parts import Fields, Part
from babygun.bounces.quoted import quoted_reply
from babygun.bounces.reading import (
    MOST_FAILURES,
    Failure,
    Reading,
    address_in,
    distinct,
)

# Where a report ends and the message that it returns begins.
_RETURNED = re.compile(
    r"^[ \t]*(?:-{2,}[ >]*(?:Below this line is|This is a copy|Original message|Begin message"
    r"|Your (?:original )?message|Message (?:headers?|follows)|Unsent message|Forwarded message"
    r"|Included is|Returned message|The (?:header|body) of the original|Undelivered message).*"
    r"|(?:Original message headers|Message headers follow|Final-Recipient):.*)$",
    re.IGNORECASE | re.MULTILINE,
)
# A person's answer cites what it answers.
_CITED = re.compile(r"^[ \t]*>.*\n?", re.MULTILINE)
# <user@example.org>: and what was said, up to a blank line or the next such line.
_ANGLE = re.compile(r"^<([^<>\s]{1,320})>[ \t]*:?(.*)$", re.MULTILINE)
# user@example.org, alone on a line, and what was said below it, indented.
_INDENTED = re.compile(r"^[ \t]{1,8}<?([^\s<>()\"',;:@]{1,64}@[^\s<>()\"',;:@]{1,255})>?:?[ \t]*$")
_EXCHANGE = re.compile(
    r"^[ \t]*'?([^\s<>'\"]{1,64}@[^\s<>'\"]{1,255}?)'? on \d{1,4}[./-]\d{1,2}[./-]\d{1,4}.*$"
)


class Form(NamedTuple):
    """``phrases``: all of them are in the text, in any case. ``recipients``: finds the failures."""

    name: str
    phrases: tuple[str, ...]
    recipients: Callable[[str, Fields], Iterator[Failure]]


def read_nonstandard(fields: Fields, parts: list[Part]) -> Reading | None:
    """The bounce message in these parts; None: it is none that is known."""
    text = next((part.text for part in parts if part.kind == "text/plain" and part.text), "")
    text = text or next((part.text for part in parts if part.kind == "text/html"), "")
    said = _CITED.sub("", _RETURNED.split(text, maxsplit=1)[0])
    if not _from_a_server(fields):
        return None
    lower = " ".join(said.lower().split())
    if any(phrase in lower for phrase in _DELAYED) and not _gave_up(lower):
        return Reading("delayed", "warning")
    for form in _FORMS:
        if all(phrase in lower for phrase in form.phrases):
            failures = tuple(_first(form.recipients(said, fields)))
            return Reading("bounce", form.name, failures or (_whole(said, fields),))
    if "x-failed-recipients" in fields:
        failures = tuple(_first(_exim(said, fields)))
        return Reading("bounce", "x-failed-recipients", failures or (_whole(said, fields),))
    return _own_form(said, fields)


def _first(failures: Iterator[Failure]) -> Iterator[Failure]:
    return islice(failures, MOST_FAILURES)


def _qmail(text: str, fields: Fields) -> Iterator[Failure]:
    """Paragraphs that begin with ``<address>:``, as qmail-send writes them (its QSBMF)."""
    found = [match for match in _ANGLE.finditer(text) if "@" in match[1]]
    ends = [*(match.start() for match in found[1:]), len(text)]
    for match, end in zip(found, ends, strict=False):
        paragraph = re.split(r"\n[ \t]*\n", text[match.start(2) : end].strip("\n"))[0]
        yield _failure(match[1], paragraph)


def _exim(text: str, fields: Fields) -> Iterator[Failure]:
    """Addresses on lines of their own, with what was said below them."""
    blocks: list[tuple[str, list[str]]] = []
    for line in text.split("\n"):
        if found := _INDENTED.match(line):
            blocks.append((found[1], []))
        elif blocks:
            blocks[-1][1].append(line)
    named = [address_in(word) for word in fields.get("x-failed-recipients").split(",")]
    seen = {address.lower() for address, _ in blocks}
    for address, lines in blocks:
        yield _failure(address, "\n".join(lines) if any(map(str.strip, lines)) else text)
    for address in distinct(*named):
        if address.lower() not in seen:
            yield _failure(address, text)


def _exchange(text: str, fields: Fields) -> Iterator[Failure]:
    """``'user@example.org' on 2020-01-31 10:00`` and, on the lines below, why."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if found := _EXCHANGE.match(line):
            yield _failure(found[1], "\n".join(lines[number + 1 : number + 6]))


def _anywhere(text: str, fields: Fields) -> Iterator[Failure]:
    """``<address>`` with what was said, else the addresses on lines of their own."""
    failures = list(_first(_qmail(text, fields))) or list(_first(_exim(text, fields)))
    yield from failures


def _failure(address: str, text: str) -> Failure:
    reply = quoted_reply(text)
    return Failure(distinct(address_in(address)), reply.code, reply.enhanced, reply.text)


def _whole(text: str, fields: Fields) -> Failure:
    """The failure where no recipient is named in a way that is known."""
    named = fields.get("x-failed-recipients") or text
    return _failure(named, text)


_DELAYED = (
    "this is a warning message only",
    "you do not need to resend your message",
    "no action is required on your part",
    "delivery to the following recipient has been delayed",
    "delivery to the following recipients has been delayed",
    "has not yet been delivered",
    "will continue to be attempted",
    "will retry for",
    "could not send message for past",
)
_GIVEN_UP = (
    "permanent error",
    "permanent fatal error",
    "i've given up",
    "failed permanently",
    "could not be delivered",
    "delivery has failed",
    "will not be retried",
)
_FORMS = (
    Form("qmail", ("hi. this is the",), _qmail),
    Form("yahoo", ("unable to deliver message to the following address",), _qmail),
    Form("yahoo", ("we were unable to deliver your message to the following address",), _qmail),
    Form("gmail", ("delivery to the following recipient", "failed permanently"), _exim),
    Form("exim", ("created automatically by mail delivery software", "could not be"), _exim),
    Form("exchange", ("your message did not reach some or all of the intended",), _exchange),
    Form("sendmail", ("following addresses had permanent", "errors"), _anywhere),
    Form("postfix", ("this is the mail system at host", "could not be delivered"), _qmail),
)
_SERVERS = re.compile(
    r"\b(?:mailer[-_.]?daemon|mail[-_.]?daemon|postmaster|mail delivery (?:sub)?system"
    r"|mail admin\w*|mdaemon)\b",
    re.IGNORECASE,
)
_SUBJECTS = re.compile(
    r"\b(?:undeliver(?:able|ed)|non[- ]?remis|unzustellbar|returned mail|mail delivery failed"
    r"|delivery (?:status )?(?:notification )?(?:failure|failed|error)|failure notice"
    r"|delivery status notification|failed delivery|could not be delivered|mail system error"
    r"|non délivré|no se pudo entregar|não entregue)\b",
    re.IGNORECASE,
)


def _gave_up(lower: str) -> bool:
    return any(phrase in lower for phrase in _GIVEN_UP)


def _from_a_server(fields: Fields) -> bool:
    """Whether a program wrote it that reports on mail, as its sender or its subject says."""
    return bool(
        "x-failed-recipients" in fields
        or _SERVERS.search(fields.words("from"))
        or _SUBJECTS.search(fields.words("subject"))
    )


def _own_form(text: str, fields: Fields) -> Reading | None:
    """A report in a form of its own. Only a refusal that it quotes makes it a bounce."""
    failures = tuple(f for f in _first(_anywhere(text, fields)) if _refuses(f))
    if not failures and _refuses(whole := _whole(text, fields)):
        failures = (whole,)
    return Reading("bounce", "own", failures) if failures else None


def _refuses(failure: Failure) -> bool:
    """Whether a reply is quoted that is a refusal for good (RFC 5321, 4.2.1; RFC 3463, 2)."""
    if failure.code is not None:
        return failure.code >= 500
    return failure.enhanced.startswith("5.")
