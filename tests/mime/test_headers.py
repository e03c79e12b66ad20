"""Header fields of any text and value, read back with the standard library's parsers."""

from __future__ import annotations

import re
from email import message_from_string
from email.header import decode_header, make_header
from email.utils import getaddresses
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from babygun.email.addresses import parse_address, quote
from babygun.mime.encoded_words import encoded_words
from babygun.mime.headers import address_field, custom_field, text_field

# Characters that are no line breaks and no controls: what acceptance lets in.
_CHARACTERS = st.one_of(
    st.sampled_from(' \t  ab=?_"\\,<>()@:;.é€\u00a0\u3000\u200d👩\u0301'),
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")),
)
TEXTS = st.text(_CHARACTERS, max_size=200)
LONG_TEXTS = st.lists(st.text(_CHARACTERS, min_size=1, max_size=30), max_size=60).map("".join)
PRINTABLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=120)
WHITE_SPACE = st.sampled_from([" ", "  ", "\t", " \t "])
generated = settings(max_examples=150, deadline=None, derandomize=True, database=None)


def unfolded(field: str) -> str:
    """The value, after a look at each line."""
    lines = field.split("\r\n")
    assert all(line.strip(" \t") and len(line.encode()) <= 998 for line in lines)
    assert all(line[0] in " \t" for line in lines[1:])
    for line in lines:
        assert len(line) <= 76 or "=?utf-8?" not in line
        # Longer only where nothing can be folded.
        assert len(line) <= 78 or not re.search(r"[^ \t][ \t]", line.partition(": ")[2] or line[1:])
    value = message_from_string(field + "\r\n\r\n").items()[0][1]
    return value.replace("\r\n", "").strip(" \t")


def decoded(value: str) -> str:
    """By the older reader: in Python 3.11 the newer one keeps the space between encoded words."""
    return str(make_header(decode_header(value)))


@generated
@given(TEXTS | LONG_TEXTS)
def test_text_field_of_any_text_is_read_as_written(text: str) -> None:
    assert decoded(unfolded(text_field("Subject", text))) == text.strip(" \t")


@generated
@given(LONG_TEXTS)
def test_custom_field_of_an_unknown_name_and_text_beyond_ascii_is_read_as_written(
    text: str,
) -> None:
    assume(not text.isascii())
    assert decoded(unfolded(custom_field("X-A", text))) == text.strip(" \t")


@generated
@given(TEXTS)
def test_address_field_of_any_name_is_read_as_written(text: str) -> None:
    try:
        name = parse_address(f"{quote(text)} <ann@example.org>").name
    except ValueError:
        assume(False)
    field = address_field("To", (f"{quote(text)} <ann@example.org>", "bob@example.org"), False)
    assert [(decoded(shown), email) for shown, email in getaddresses([unfolded(field)])] == [
        (name, "ann@example.org"),
        ("", "bob@example.org"),
    ]


@generated
@given(st.lists(st.tuples(WHITE_SPACE, PRINTABLE), min_size=1, max_size=60))
def test_custom_field_in_ascii_is_only_folded_at_white_space(parts: list[tuple[str, str]]) -> None:
    value = "".join(space + word for space, word in parts).strip(" \t")
    assert unfolded(custom_field("X-A", value)) == value


@generated
@given(st.lists(PRINTABLE, min_size=1, max_size=30), st.sampled_from([",", ", ", " , "]))
def test_custom_field_that_is_a_list_keeps_all_but_white_space_behind_commas(
    parts: list[str], comma: str
) -> None:
    value = comma.join(parts)
    read = unfolded(custom_field("List-Unsubscribe", value))
    assert re.sub(r",[ \t]+", ",", read) == re.sub(r",[ \t]+", ",", value)


@generated
@given(st.sampled_from(["List-Help", "Date", "References", "Message-ID", "Keywords", "X-A"]), TEXTS)
def test_custom_field_of_any_value_is_written_or_refused_with_a_sentence(
    name: str, value: str
) -> None:
    try:
        field = custom_field(name, value)
    except ValueError as error:
        assert str(error).startswith((name, "A header")) and str(error).endswith(".")
    else:
        unfolded(field)
        assert field.isascii()


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("References", "<", "@example.org>"),
        ("Message-ID", "<", "@example.org>"),
        ("List-Id", "Bücher <", ".example.org>"),
        ("Keywords", "Köln, ", ""),
        ("Disposition-Notification-To", "", "@example.org"),
        ("List-Unsubscribe", "<https://bücher.example/", ">"),
    ],
)
def test_custom_field_with_a_piece_that_fits_into_no_line_is_refused(
    name: str, start: str, end: str
) -> None:
    unfolded(custom_field(name, f"{start}x{end}"))
    with pytest.raises(ValueError, match=f"{name} has [0-9]+ bytes without white space."):
        custom_field(name, f"{start}{'x' * 1000}{end}")


@generated
@given(LONG_TEXTS)
def test_encoded_words_are_cut_only_where_75_columns_are_exceeded(text: str) -> None:
    words = encoded_words(text)
    assert decoded(" ".join(words)) == text
    assert all(len(word) <= 75 for word in words)
    assert all(len(a) + len(b) - len("=?utf-8?q??=") > 75 for a, b in pairwise(words))


@pytest.mark.parametrize(
    "whole", ["e\u0301", "👩\u200d👩\u200d👧\u200d👦", "👍🏽", "🇩🇪", "각", "क\u093f"]
)
def test_encoded_words_never_cut_what_a_person_sees_as_one_character(whole: str) -> None:
    for start in range(40):
        text = "x" * start + whole * 30
        for word in encoded_words(text):
            read = decoded(word).lstrip("x")
            assert read == whole * (len(read) // len(whole))


def test_encoded_words_cut_a_character_with_countless_accents() -> None:
    text = "e" + "\u0301" * 500
    assert decoded(" ".join(encoded_words(text))) == text
