"""The names of attached files: what may stand in one, and the name of a file that has none."""

from __future__ import annotations

import re

MAX_FILENAME = 255  # characters

# Marks that turn the direction of text, with which "exe.pdf" can be shown for "fdp.exe".
_bidirectional = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_control = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]").search

_EXTENSIONS = {
    "application/epub+zip": "epub",
    "application/gzip": "gz",
    "application/ics": "ics",
    "application/json": "json",
    "application/msword": "doc",
    "application/pdf": "pdf",
    "application/rtf": "rtf",
    "application/vnd.ms-excel": "xls",
    "application/vnd.ms-powerpoint": "ppt",
    "application/vnd.oasis.opendocument.presentation": "odp",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/x-zip-compressed": "zip",
    "application/xml": "xml",
    "application/zip": "zip",
    "audio/mpeg": "mp3",
    "image/jpeg": "jpg",
    "image/jpg": "jpg",
    "image/svg+xml": "svg",
    "image/tiff": "tif",
    "message/global": "eml",
    "message/rfc822": "eml",
    "text/calendar": "ics",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "text/vcard": "vcf",
    "text/x-vcard": "vcf",
    "text/xml": "xml",
}
_SUBTYPES = frozenset(  # that are the extension, too
    ["avif", "bmp", "css", "gif", "heic", "mp4", "ogg", "png", "wav", "webm", "webp"]
)


def tidy_filename(given: str | None) -> str:
    """The name without marks of direction and without white space at its ends, or empty.

    Raises ValueError with a sentence.
    """
    if not given:
        return ""
    if _control(given):
        raise ValueError("A filename must not hold line breaks and other control characters.")
    name = _bidirectional.sub("", given).strip()
    if "/" in name or "\\" in name:
        raise ValueError("Give the filename without its path: it must not hold / and \\.")
    if name and not name.strip("."):
        raise ValueError("A filename must not consist of dots only.")
    return name


def new_filename(kind: str, taken: set[str]) -> str:
    """A name that says the type, such as ``attachment.pdf`` or ``attachment-2.pdf``.

    ``kind``: a type in lower case. ``taken``: names in lower case; the new one is added.
    """
    extension, number = _extension(kind), 1
    name = f"attachment.{extension}"
    while name in taken:
        number += 1
        name = f"attachment-{number}.{extension}"
    taken.add(name)
    return name


def _extension(kind: str) -> str:
    if known := _EXTENSIONS.get(kind):
        return known
    _, _, subtype = kind.partition("/")
    if subtype in _SUBTYPES:
        return subtype
    suffix = subtype.rpartition("+")[2]  # RFC 6839
    if suffix != subtype and suffix in ("json", "xml", "zip"):
        return suffix
    return "txt" if kind.startswith("text/") else "bin"
