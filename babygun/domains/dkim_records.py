"""The record of a DKIM key (RFC 6376, 3.6.1; RFC 8463), compared with the key that signs."""

from __future__ import annotations

from babygun.dns import Resolver
from babygun.domains.tags import parse_tags, without_space
from babygun.domains.texts import judged, missing, texts
from babygun.email.sending_domains import DnsRecord

_CUT = 100  # characters at least of a key that seems to be cut


async def check_dkim(resolver: Resolver, record: DnsRecord, domain: str) -> DnsRecord:
    """A record without ``value``: any key is right. Raises LookupFailed."""
    found = await texts(resolver, record.name)
    if not found:
        return await missing(resolver, record, domain)
    if len(found) > 1:
        return judged(
            record,
            "wrong",
            f"there are {len(found)} TXT records, and receivers take any of them: leave this one"
            " alone there",
            found,
        )
    problem = _problem(found[0], parse_tags(record.value))
    if problem:
        return judged(record, "wrong", problem, found)
    testing = "y" in parse_tags(found[0]).get("t", "").split(":")
    note = "t=y says that the domain only tests: receivers may ignore its signatures"
    return judged(record, "verified", note if testing else "", found)


def _problem(found: str, wanted: dict[str, str]) -> str:
    """What is wrong with the record; empty: nothing."""
    if '"' in found or "\\" in found:
        return "the text has quotation marks or backslashes in it: enter it without them"
    try:
        tags = parse_tags(found)
    except ValueError as error:
        return f"it can't be read: {error}"
    if "p" not in tags:
        return "it is no DKIM key: p= is missing, or the semicolon before it"
    if tags.get("v", "DKIM1") != "DKIM1" or ("v" in tags and next(iter(tags)) != "v"):
        return "v=DKIM1 has to come first"
    if tags.get("k", "rsa") != wanted.get("k", tags.get("k", "rsa")):
        return f"k= has to be {wanted['k']}, and is {tags.get('k', 'rsa')}"
    if "sha256" not in tags.get("h", "sha256").split(":"):
        return "h= has to allow sha256: leave h= out"
    if not {"*", "email"} & set(tags.get("s", "*").split(":")):
        return "s= has to allow email: leave s= out"
    found_key = without_space(tags["p"])
    return _problem_of_key(found_key, wanted.get("p", found_key))


def _problem_of_key(found: str, wanted: str) -> str:
    if not found:
        return "p= is empty: that revokes the key, and all of its signatures fail"
    if found == wanted:
        return ""
    if len(found) >= _CUT and (wanted.startswith(found) or wanted.endswith(found)):
        return (
            f"the key is cut: {len(found)} of {len(wanted)} characters are there. One string of a"
            " TXT record has at most 255 characters: enter the value as several strings"
        )
    return "p= is another key: replace the record"
