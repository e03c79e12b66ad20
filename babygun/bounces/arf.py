"""Complaints in the Abuse Reporting Format (RFC 5965), and those of Microsoft's JMRP.

They come from feedback loops, at a fixed address. What they are about says the head of the message
that they quote.
"""

from __future__ import annotations

from babygun.bounces.parts import Fields, Part
from babygun.bounces.reading import Complaint, Kind, Reading, address_in, distinct

_MESSAGES = ("message/rfc822", "text/rfc822-headers", "message/rfc822-headers", "message/global")
_LONGEST_HEAD = 64 << 10
# Nobody complained: the person said that it is no spam, or a domain's owner watches who uses it.
_NO_COMPLAINTS: dict[str, Kind] = {"not-spam": "unknown", "auth-failure": "unknown"}
# In the messages that JMRP sends back; the report itself says nothing.
_JMRP_RECIPIENT = "x-hmxmroriginalrecipient"


def read_complaint(parts: list[Part]) -> Reading | None:
    """The complaint in these parts; None: there is none."""
    head = next((_head(part) for part in parts if part.kind in _MESSAGES), "")
    report = next((part for part in parts if part.kind == "message/feedback-report"), None)
    quoted = Fields(head)
    if report is None:
        if _JMRP_RECIPIENT not in quoted:
            return None
        who = distinct(address_in(quoted.get(_JMRP_RECIPIENT)))
        return Reading("complaint", "jmrp", complaint=Complaint("abuse", "JMRP", who, head))
    fields = Fields(report.text)
    kind = fields.get("feedback-type").strip().lower() or "abuse"
    if kind in _NO_COMPLAINTS:
        return Reading(_NO_COMPLAINTS[kind], f"arf:{kind}")
    who = distinct(
        address_in(fields.get("original-rcpt-to")),
        address_in(quoted.get(_JMRP_RECIPIENT)),
    )
    reporter = fields.get("user-agent") or fields.get("reporting-mta")
    return Reading(
        "complaint",
        "arf",
        complaint=Complaint(kind, reporter, who, f"{report.text}\n{head}"[:_LONGEST_HEAD]),
    )


def _head(part: Part) -> str:
    """The head of a message that is a part."""
    data = part.content.lstrip(b"\n").partition(b"\n\n")[0]
    return data[:_LONGEST_HEAD].decode("utf-8", "replace")
