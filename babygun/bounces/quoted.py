"""A server's reply as a report quotes it: ``550-5.1.1 No such 550 5.1.1 user``. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

_LONGEST = 4000  # characters that are read

# After a code comes a space, a hyphen, or nothing more. Parts of addresses and numbers are none.
_CODE = r"(?<![\w.:#\[/-])([2-5][0-5]\d)(?![\w.])"
_ENHANCED = r"#?([245]\.\d{1,3}\.\d{1,3})(?![\w.])"
_AT_START = re.compile(rf"\W{{0,3}}{_CODE}(?:[ -]+{_ENHANCED})?[ :-]*").match
_BOTH = re.compile(rf"{_CODE}[ -]+{_ENHANCED}[ :-]*")
_SAID = re.compile(
    r"(?:\bsaid:|\breturned:|\bwas:|\bresponded with:|\bresponse:|\brespond:"
    r"|\brejected (?:it|your message)[^:]{0,80}:|\bRCPT TO:<[^<>]{1,320}>:"
    r"|\b(?:MAIL FROM|DATA|end of data)[^:]{0,80}:|\(reason:|<<<)\s*",
    re.IGNORECASE,
)
_REFUSAL = re.compile(r"(?<![\w.:#\[/-])([45][0-5]\d)[ -]+(?=[A-Za-z<\"'])")
_ENHANCED_ALONE = re.compile(rf"(?<![\w.]){_ENHANCED}")


class Quoted(NamedTuple):
    """``code``: of SMTP; None: no code is quoted. ``enhanced``: of RFC 3463; empty for none."""

    code: int | None
    enhanced: str
    text: str


def quoted_reply(text: str) -> Quoted:
    """The reply in a text: where it stands at its beginning or is introduced, else the first one.

    A code of success is no reason for a bounce, so it is left out.
    """
    text = " ".join(text[:_LONGEST].split())
    found, begin = _AT_START(text), 0
    if found is None:
        for said in _SAID.finditer(text):
            if found := _AT_START(text, said.end()):
                break
    found = found or _BOTH.search(text)
    if found is None and (found := _REFUSAL.search(text)):
        return Quoted(int(found[1]), "", _once(text[found.end() :], found[1], ""))
    if found is None:
        alone = _ENHANCED_ALONE.search(text)
        return Quoted(None, alone[1] if alone else "", text)
    code, enhanced = int(found[1]), found[2] or ""
    begin = found.end()
    said_text = _once(text[begin:], found[1], enhanced) or text
    if code < 400:
        return Quoted(None, "", said_text)
    return Quoted(code, enhanced, said_text)


def _once(text: str, code: str, enhanced: str) -> str:
    """Without the codes that each further line of a reply begins with."""
    repeated = (
        rf"(?<![\w.]){code}(?:[ -]+{re.escape(enhanced)}|-)(?![\w.])\s*"
        if enhanced
        else (rf"(?<![\w.]){code}-\s*")
    )
    return re.sub(repeated, "", text).strip()
