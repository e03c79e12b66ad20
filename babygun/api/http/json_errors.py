"""Says in our own words why JSON can't be read, or does not fit. The decoder's are for programmers.

A message of the decoder that no row knows gets a general answer. The tests make the decoder say
each of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from babygun.api.http.unknown_names import no_such

Names = Mapping[str, tuple[str, ...]]

_UNKNOWN = re.compile(r"Object contains unknown field `(.*?)`(?: - at `\$\.?(.*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*?)`(?: - at `\$\.?(.*)`)?", re.DOTALL)
_AT = re.compile(r"(.*) - at `(?:key in )?\$\.?(.*)`", re.DOTALL)
_INDEX = re.compile(r"\[(?:\d+|\.\.\.)\]")
# A surrogate without the other half of its pair, where no backslash is escaped.
_HALF_OF_A_PAIR = re.compile(
    rb"\\u[dD](?:[89abAB]..(?!\\u[dD][c-fC-F])|[c-fC-F](?<!\\u[dD][89abAB]..\\u[dD].))"
)
_SEARCHED = 4 << 20  # bytes of a body, for such a half: it takes some milliseconds
# msgspec's names of JSON's types.
_TYPES = {
    "str": "a text",
    "bytes": "a text in base64",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
    "datetime": "a time",
}
_BOUNDS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
_UNITS = {
    "array": ("entry", "entries"),
    "object": ("entry", "entries"),
    "str": ("character", "characters"),
    "bytes": ("byte", "bytes"),
}
_TIME = "Give a time with an offset (RFC 3339), such as 2030-01-31T08:00:00Z."
_NO_CHOICE = "It is none of the values that are taken here."
_UNFIT = "Its value is not taken here: the OpenAPI document says what is."
# What the decoder says of a value, and what is answered.
_VALUES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (
        re.compile(r"Expected `([a-z |]+)`, got `([a-z]+)`"),
        lambda found: f"It must be {_type(found[1])}, and is {_type(found[2])}.",
    ),
    (
        re.compile(r"Expected `(array|object|str|bytes)` of length (>=|<=) (\d+)"),
        lambda found: (
            f"It must have {_BOUNDS[found[2]]} {found[3]} {_UNITS[found[1]][found[3] != '1']}."
        ),
    ),
    (
        re.compile(r"Expected `(?:int|float)` (>=|<=|>|<) (-?[\d.e+]+)"),
        lambda found: f"It must be {_BOUNDS[found[1]]} {found[2].removesuffix('.0')}.",
    ),
    (re.compile(r"Integer value out of range|Number out of range"), lambda _: "It is too large."),
    (
        re.compile(r"Invalid RFC3339 .*|Expected `datetime` with .*|Timestamp is out of range"),
        lambda _: _TIME,
    ),
    (re.compile(r"Invalid base64 .*"), lambda _: "It is not base64."),
    (re.compile(r"Invalid (enum )?value .*", re.DOTALL), lambda _: _NO_CHOICE),
    (re.compile(r"Expected `str` matching .*", re.DOTALL), lambda _: "It has another form."),
)
# What the decoder says of JSON, and what is answered. Longer beginnings stand first.
_SYNTAX = {
    "expected ',' or ']'": "in a list, a comma or ] is missing",
    "expected ',' or '}'": "in an object, a comma or } is missing",
    "expected ':'": "behind a name, the colon is missing",
    "expected '\"'": "a name in quotation marks is missing",
    "object keys must be strings": "a name is not in quotation marks",
    "trailing comma in array": "a list ends with a comma",
    "trailing comma in object": "an object ends with a comma",
    "trailing characters": "something follows its end",
    "invalid number": "a number is not in JSON's form",
    "number out of range": "a number is too large",
    "invalid escape": "a backslash is before a character that needs none",
    "invalid character in unicode escape": r"\u needs four hex digits",
    "unexpected end of hex escape": r"\u needs four hex digits",
    "invalid character": "a character is not allowed there",
}


def explain(message: str, choices: Names, fields: Names) -> tuple[str, str]:
    """Why JSON does not fit, as a sentence, and the path of the field (``to[2]``).

    ``message``: the decoder's. ``choices``: the values of fields that take only some. ``fields``:
    the names of fields. Both by path.
    """
    unknown = _UNKNOWN.fullmatch(message)
    if match := unknown or _MISSING.fullmatch(message):
        name, parent = match[1][:100], match[2] or ""
        known = fields.get(_INDEX.sub("[]", parent), ())
        words = no_such("field", name, known) if unknown else "This field is required."
        return words, f"{parent}.{name}" if parent else name
    said, path = (match[1], match[2]) if (match := _AT.fullmatch(message)) else (message, "")
    field = path.replace("[...]", "") or "body"
    if said.startswith("Invalid enum value") and (values := choices.get(_INDEX.sub("[]", path))):
        return f"It must be one of {', '.join(values)}.", field
    for pattern, words_of in _VALUES:
        if match := pattern.fullmatch(said):
            return words_of(match), field
    return _UNFIT, field


def malformed(raw: bytes, said: str) -> str:
    """What is wrong with JSON, as a sentence. ``said``: by the decoder."""
    if not raw:
        return "The body is empty."
    # msgspec takes half of a surrogate pair at the end of a text for JSON that is cut off.
    if "surrogate" in said or "truncated" in said:
        at = _half_of_a_pair(raw)
        if at is None:
            return "The body ends in the middle of its JSON."
        return f"The body has half of a surrogate pair, which stands for no character (byte {at})."
    said = said.removeprefix("JSON is malformed: ").lower()
    words = next((ours for theirs, ours in _SYNTAX.items() if said.startswith(theirs)), "")
    place = f" (byte {match[1]})" if (match := re.search(r"\(byte (\d+)\)$", said)) else ""
    return f"The body is not JSON: {words or 'it can not be read'}{place}."


def _type(names: str) -> str:
    return " or ".join(_TYPES.get(name, name) for name in names.split(" | "))


def _half_of_a_pair(raw: bytes) -> int | None:
    """Where the first surrogate without the other half of its pair is escaped, near the start."""
    margin = 12  # the other half may stand behind
    found = _HALF_OF_A_PAIR.search(raw[: _SEARCHED + margin].replace(rb"\\", b"  "))
    return found.start() if found and found.start() < _SEARCHED else None
