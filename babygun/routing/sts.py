"""MTA-STS (RFC 8461): reads a domain's TXT record and its policy, and matches host names. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Literal

import msgspec

from babygun.email.domains import ascii_domain

MOST_BYTES = 64 * 1024  # of a policy (RFC 8461, 3.3 lets us choose)
_LONGEST = 31_557_600  # s, the most that max_age may be (RFC 8461, 3.2)
_VERSION = re.compile(r"v=STSv1[ \t]*(;|$)")
_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_HOST = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\.)+[a-z0-9]([a-z0-9-]*[a-z0-9])?")

Mode = Literal["enforce", "testing", "none"]
_MODES: dict[str, Mode] = {"enforce": "enforce", "testing": "testing", "none": "none"}


class InvalidPolicy(ValueError):
    """A policy that can't be used, for the reason in the text."""


class StsPolicy(msgspec.Struct, frozen=True):
    """What a domain's policy says. ``mx``: names of hosts in lower case, or ``*.`` and a domain.

    ``max_age``: seconds for which it holds after it was fetched.
    """

    mode: Mode
    mx: tuple[str, ...]
    max_age: int

    def lines(self) -> tuple[str, ...]:
        """As the policy has them: a TLS report quotes it (RFC 8460, 4.4)."""
        return (
            "version: STSv1",
            f"mode: {self.mode}",
            *(f"mx: {each}" for each in self.mx),
            f"max_age: {self.max_age}",
        )

    def names(self, host: str) -> bool:
        """Whether the policy names a host (RFC 8461, 4.1). ``*`` stands for one label."""
        name = host.lower().removesuffix(".")
        wildcard = f"*.{name.partition('.')[2]}"
        return name in self.mx or wildcard in self.mx


def policy_id(texts: Iterable[str]) -> str:
    """The id in the TXT records of ``_mta-sts.<domain>``; empty: they announce no policy.

    Several records of this version are as none (RFC 8461, 3.1).
    """
    ours = [text for text in texts if _VERSION.match(text)]
    if len(ours) != 1:
        return ""
    for part in ours[0].split(";"):
        name, _, value = part.strip(" \t").partition("=")
        if name == "id":
            return value if _ID.fullmatch(value) else ""
    return ""


def parse_policy(text: str) -> StsPolicy:
    """Reads a policy as it was fetched (RFC 8461, 3.2). Raises InvalidPolicy."""
    fields: dict[str, str] = {}
    hosts: list[str] = []
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        name, value = name.strip(" \t"), value.strip(" \t")
        if name == "mx":
            hosts.append(value)
        elif colon:
            fields.setdefault(name, value)  # the first one of several counts
    if fields.get("version") != "STSv1":
        raise InvalidPolicy("it has no line 'version: STSv1'")
    mode = _MODES.get(fields.get("mode", ""))
    if mode is None:
        raise InvalidPolicy(f"it has no line 'mode:' with one of {', '.join(_MODES)}")
    max_age = fields.get("max_age", "")
    if not re.fullmatch(r"[0-9]{1,10}", max_age):
        raise InvalidPolicy(f"its max_age is {max_age[:40]!r}, which is no number of seconds")
    mx = host_patterns(hosts)
    if mode != "none" and not mx:
        raise InvalidPolicy(f"its mode is {mode}, but no line mx names a host")
    return StsPolicy(mode, mx, min(int(max_age), _LONGEST))


def host_patterns(given: Iterable[str]) -> tuple[str, ...]:
    """Those that can match a host, as they are compared. An IP address matches none."""
    return tuple(dict.fromkeys(filter(None, map(_pattern, given))))


def _pattern(given: str) -> str:
    star, name = ("*.", given[2:]) if given.startswith("*.") else ("", given)
    try:
        pattern = star + ascii_domain(name).lower().removesuffix(".")
    except ValueError:
        return ""
    return pattern if _HOST.fullmatch(pattern) and not _is_address(name) else ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
