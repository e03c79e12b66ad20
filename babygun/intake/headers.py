"""The custom headers of an e-mail: how many, how large, and which of them twice.

What a header may hold says :mod:`babygun.mime.header_table`. A header that can't be written is
refused, not left out: nothing is lost silently.
"""

from __future__ import annotations

from collections.abc import Iterator

from babygun.intake.broken_rules import BrokenRules
from babygun.mime.header_table import header_of
from babygun.mime.headers import custom_field

MAX_HEADERS = 100
# Names and values together. With Babygun's own fields a message stays below the 32 KiB that some
# mail servers take (Sendmail's MaxHeadersLength).
MAX_HEADERS_BYTES = 16 * 1024


def check_headers(
    given: dict[str, str] | list[str], broken: BrokenRules
) -> tuple[tuple[str, str], ...]:
    """Names and values in their order.

    ``given``: an object of names and values, or a list of ``Name: value`` lines.
    """
    if len(given) > MAX_HEADERS:
        broken.report(
            "headers", f"There are {len(given)} headers; at most {MAX_HEADERS} are taken."
        )
        return ()
    entries = list(_entries(given))
    size = sum(len(name) + len(value.encode()) + 4 for _, name, value in entries)
    if size > MAX_HEADERS_BYTES:
        broken.report(
            "headers",
            f"The headers have {size} bytes; at most {MAX_HEADERS_BYTES} are taken.",
            too_large=True,
        )
        return ()
    seen: set[str] = set()
    for field, name, value in entries:
        if fault := _fault(name, value, seen):
            broken.report(field, fault)
        elif name.lower() == "list-unsubscribe-post" and not _has_https_link(entries):
            broken.report(
                field,
                "List-Unsubscribe-Post needs a List-Unsubscribe with an https URI in angle"
                " brackets: one-click means a POST to it (RFC 8058).",
            )
    return tuple((name, value) for _, name, value in entries)


def _entries(given: dict[str, str] | list[str]) -> Iterator[tuple[str, str, str]]:
    """The field's path, name and value of each header. A line without a colon has no name."""
    if isinstance(given, dict):
        for name, value in given.items():
            yield f"headers.{name[:80]}", name, value.strip(" \t")
    else:
        for index, line in enumerate(given):
            name, colon, value = line.partition(":")
            yield f"headers[{index}]", name.rstrip(" \t") if colon else "", value.strip(" \t")


def _has_https_link(entries: list[tuple[str, str, str]]) -> bool:
    """Whether a List-Unsubscribe has an https URI (RFC 8058, 3.1)."""
    return any(
        name.lower() == "list-unsubscribe" and "<https://" in value.lower()
        for _, name, value in entries
    )


def _fault(name: str, value: str, seen: set[str]) -> str | None:
    """What is wrong with a header. ``seen``: the names so far, in lower case; it adds this one."""
    if not name:
        return "A header must be of the form Name: value."
    lower = name.lower()
    try:
        if lower in seen and header_of(name).once:
            return f"{name} can be given once only."
        custom_field(name, value)
    except ValueError as error:
        return str(error)
    seen.add(lower)
    return None
