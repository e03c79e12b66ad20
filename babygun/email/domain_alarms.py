"""Domain alarms: a server says that mail of a sending domain is not authenticated. Pure.

Its replies speak of SPF (RFC 7208), DKIM (RFC 6376) or DMARC (RFC 7489), by the codes of RFC 7372
and those that Google and Microsoft use.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Literal, get_args

import msgspec

# What is wrong with the domain's mail:
#   spf              SPF does not allow the address that it comes from
#   dkim             it has no signature that fits
#   dmarc            the domain has no DMARC record, or one without a policy
#   alignment        neither SPF nor DKIM speaks for the domain in From
#   null_mx          the domain says that it takes no mail (RFC 7505)
#   unauthenticated  the server does not say which of SPF and DKIM it misses
Cause = Literal["spf", "dkim", "dmarc", "alignment", "null_mx", "unauthenticated"]
CAUSES: tuple[Cause, ...] = get_args(Cause)

REPEATED = timedelta(hours=1)
"""A refusal is written, and logged, once in that time."""
KEPT = timedelta(days=1)
"""An alarm ends so long after the last refusal that was written."""

_BY_CODE: dict[str, Cause] = {
    **dict.fromkeys(("7.20", "7.21", "7.22", "7.30"), "dkim"),
    **dict.fromkeys(("7.23", "7.24"), "spf"),
    **dict.fromkeys(("7.31", "7.40"), "dmarc"),
    **dict.fromkeys(("7.32", "7.509"), "alignment"),
    **dict.fromkeys(("7.26", "7.515"), "unauthenticated"),
}
# Asked in this order where the code says nothing. Google says 7.27 of SPF, and RFC 7505 of a null
# MX.
_BY_TEXT: tuple[tuple[Cause, str], ...] = (
    ("null_mx", r"null mx"),
    ("dmarc", r"dmarc record|no policy record"),
    ("unauthenticated", r"\bspf or dkim\b|\bdkim or spf\b"),
    ("alignment", r"dmarc|\balign"),
    ("dkim", r"dkim"),
    ("spf", r"spf|sender policy framework"),
)
_SENTENCES: dict[Cause, str] = {
    "spf": "SPF does not allow our address. Repair the spf and return_path records of {domain}",
    "dkim": "No DKIM signature fits. Repair the dkim records of {domain}",
    "dmarc": "There is no DMARC policy. Repair the dmarc record: _dmarc.{domain}",
    "alignment": (
        "Neither SPF nor DKIM speaks for the domain in From. Repair the dkim and return_path"
        " records of {domain}"
    ),
    "null_mx": "A null MX says that the domain takes no mail. Repair the MX record of {domain}",
    "unauthenticated": (
        "The server misses SPF and DKIM. Repair the spf, dkim and return_path records of {domain}"
    ),
}


class DomainAlarm(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """``domain-alarms/<domain>/<cause>``, on a lease that ends at ``until``.

    ``domain``: a sending domain. ``site``, the codes and ``text``: of the refusal that was written
    last, ``at`` that time. ``since``: when the first one was written.
    """

    domain: str
    cause: Cause
    site: str
    code: int | None = None
    enhanced_code: str | None = None
    text: str = ""
    since: datetime
    at: datetime
    until: datetime

    @property
    def name(self) -> str:
        """As its key ends."""
        return f"{self.domain}/{self.cause}"


def cause_of(enhanced: str | None, text: str) -> Cause:
    """What a refusal misses. ``enhanced``: such as ``5.7.26``."""
    if cause := _BY_CODE.get((enhanced or "").partition(".")[2]):
        return cause
    text = text.lower()
    return next((cause for cause, words in _BY_TEXT if re.search(words, text)), "unauthenticated")


def remedy(cause: Cause, domain: str) -> str:
    """What is wrong, what to repair, and what says more."""
    return f"{sentence_of(cause, domain)}. `babygun doctor domain {domain}` says what is wrong."


def sentence_of(cause: Cause, domain: str) -> str:
    """What is wrong, and which record to repair; without a full stop."""
    return _SENTENCES[cause].format(domain=domain)
