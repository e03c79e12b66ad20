"""Takes a message apart: its fields and, of a multipart message, its parts.

What comes back is often broken, and anybody can write it. So this does bounded work whatever the
bytes are, and never raises. The standard library's parser recurses into each nested part, and
compares each line with each boundary above it.
"""

from __future__ import annotations

import binascii
import html
import re
from collections.abc import Iterator
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from functools import cached_property
from quopri import decodestring

_MOST_FIELDS = 1000  # of one part
_LONGEST_HEAD = 128 << 10  # bytes
_LONGEST_WORDS = 2000  # characters of a field that may hold encoded words
_LONGEST_TEXT = 64 << 10  # characters of a part's text that are read
_MOST_PARTS, _DEEPEST = 50, 5

_field = re.compile(r"([!-9;-~]{1,200})[ \t]*:(.*)").fullmatch
_BOUNDARY = re.compile(r'\bboundary\s*=\s*(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_CHARSET = re.compile(r'\bcharset\s*=\s*"?([A-Za-z0-9._:-]{1,40})', re.IGNORECASE)
_ENCODED_WORD = re.compile(r"=\?[^?\s]{1,40}\?[bq]\?", re.IGNORECASE)
# HTML's own text is left out with what stands in it.
_UNSEEN = re.compile(r"<(style|script|head)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_BREAK = re.compile(r"<\s*/?\s*(?:br|p|div|tr|li|h\d)\b[^>]{0,500}>", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]{0,2000}>")


class Fields:
    """The fields of a head, in their order. Names are compared without case."""

    def __init__(self, text: str) -> None:
        """``text``: lines that end with a line feed; some may continue the line before."""
        self._by_name: dict[str, list[str]] = {}
        name, lines = "", list[str]()
        for line in text[:_LONGEST_HEAD].split("\n")[:_MOST_FIELDS]:
            if line[:1] in (" ", "\t") and name:
                lines.append(line.strip())
            elif found := _field(line):
                self._add(name, lines)
                name, lines = found[1].lower(), [found[2].strip()]
        self._add(name, lines)

    def _add(self, name: str, lines: list[str]) -> None:
        if name:
            self._by_name.setdefault(name, []).append(" ".join(filter(None, lines)))

    def __bool__(self) -> bool:
        return bool(self._by_name)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def get(self, name: str) -> str:
        """The first field of this name (in lower case), unfolded; empty if there is none."""
        return self._by_name.get(name, [""])[0]

    def words(self, name: str) -> str:
        """The same, with its encoded words decoded (RFC 2047)."""
        value = self.get(name)[:_LONGEST_WORDS]
        if not _ENCODED_WORD.search(value):
            return value
        try:
            return str(make_header(decode_header(value)))
        except (HeaderParseError, LookupError, ValueError):
            return value

    def values(self) -> Iterator[str]:
        """All values of all fields."""
        for values in self._by_name.values():
            yield from values


class Part:
    """A message, or one part of it. ``body``: its bytes, as they are encoded."""

    def __init__(self, data: bytes) -> None:
        """``data``: lines that end with a line feed."""
        if data.startswith(b"\n"):
            head, self.body = b"", data[1:]
        else:
            head, _, self.body = data.partition(b"\n\n")
        self.fields = Fields(head[:_LONGEST_HEAD].decode("utf-8", "replace"))

    @cached_property
    def kind(self) -> str:
        """Type and subtype in lower case, such as ``text/plain``."""
        named = self.fields.get("content-type").partition(";")[0].strip().lower()
        return named if "/" in named else "text/plain"

    @cached_property
    def content(self) -> bytes:
        """The body, without its transfer encoding."""
        encoding = self.fields.get("content-transfer-encoding").strip().lower()
        if encoding == "quoted-printable":
            return decodestring(self.body)
        if encoding == "base64":
            try:
                return binascii.a2b_base64(self.body)
            except binascii.Error:  # cut off, or no base64 at all
                kept = re.sub(rb"[^A-Za-z0-9+/]", b"", self.body)
                kept = kept[: len(kept) // 4 * 4]
                return binascii.a2b_base64(kept)
        return self.body

    @cached_property
    def text(self) -> str:
        """The content as text, with line feeds. That of HTML is what a person would see."""
        charset = _CHARSET.search(self.fields.get("content-type"))
        data = self.content[: 4 * _LONGEST_TEXT]
        try:
            text = data.decode(charset[1] if charset else "utf-8", "replace")
        except (LookupError, ValueError):
            text = data.decode("utf-8", "replace")
        text = text[:_LONGEST_TEXT].replace("\r\n", "\n")
        if self.kind == "text/html":
            text = html.unescape(_TAG.sub("", _BREAK.sub("\n", _UNSEEN.sub("", text))))
        return text

    def parts(self) -> Iterator[Part]:
        """The parts of a multipart message, and theirs. Messages inside are not opened."""
        left = [_MOST_PARTS]
        yield from _walk(self, left, _DEEPEST)


def take_apart(message: bytes) -> Part:
    """A message, whose lines may end in CRLF or in LF alone."""
    return Part(message.replace(b"\r\n", b"\n").lstrip(b"\n"))


def _walk(part: Part, left: list[int], depth: int) -> Iterator[Part]:
    """This part if it is a leaf, else the leaves in it. ``left``: how many more there may be."""
    if left[0] <= 0:
        return
    boundary = _BOUNDARY.search(part.fields.get("content-type"))
    if not part.kind.startswith("multipart/") or boundary is None or not depth:
        left[0] -= 1
        yield part
        return
    mark = re.escape((boundary[1] or boundary[2]).rstrip().encode("utf-8", "replace"))
    inner, start = part.body, None
    for found in re.finditer(rb"^--" + mark + rb"(--)?[ \t]*$", inner, re.MULTILINE):
        if start is not None:
            yield from _walk(Part(inner[start : max(start, found.start() - 1)]), left, depth - 1)
        start = None if found[1] else found.end() + 1
        if start is None or left[0] <= 0:
            return
    if start is not None:  # cut off before its end
        yield from _walk(Part(inner[start:]), left, depth - 1)
