"""Durations and sizes: how they are read and written."""

from __future__ import annotations

import pytest

from babygun.runtime.setting_types import (
    PUBLIC_URL,
    SENDER_ID,
    parse_duration,
    parse_size,
    write_duration,
    write_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("0", 0), ("250ms", 0.25), ("10m", 600), ("1.5h", 5400), (" 7d ", 604800)],
)
def test_duration_of_each_unit_is_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("65536B", 65536),
        ("512KiB", 524288),
        ("25MiB", 26214400),
        ("1.5g", 1610612736),
        ("8 GB", 8589934592),
    ],
)
def test_size_of_each_unit_is_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["7", "1.5", " 90 "])
def test_duration_and_size_without_a_unit_are_refused(text: str) -> None:
    for parse in (parse_duration, parse_size):
        with pytest.raises(ValueError, match=r"has no unit: write \d"):
            parse(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.25, "250ms"),
        (1.5, "1500ms"),
        (90, "90s"),
        (600, "10m"),
        (86400, "1d"),
        (12345678, "12345678s"),
        (0.0001, "0.1ms"),
    ],
)
def test_duration_is_written_in_the_largest_whole_unit(seconds: float, text: str) -> None:
    assert write_duration(seconds) == text
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (1000, "1000B"),
        (1024, "1KiB"),
        (25 << 20, "25MiB"),
        (8 << 30, "8GiB"),
        ((8 << 30) + 1, "8589934593B"),
    ],
)
def test_size_is_written_in_the_largest_whole_unit(count: int, text: str) -> None:
    assert write_size(count) == text
    assert parse_size(text) == count


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", ""),
        (" https://mail.example.com/ ", "https://mail.example.com"),
        ("https://mail.example.com:8443/a/b/", "https://mail.example.com:8443/a/b"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_public_url_is_https_or_this_machines_own(text: str, url: str) -> None:
    assert PUBLIC_URL.parse(text) == url


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://mail.example.com", "is not https"),
        ("mail.example.com", "is no URL"),
        ("ftp://mail.example.com", "is no URL"),
        ("https://", "is no URL"),
        ("https://mail.example.com/?a=1", "is no URL"),
        ("https://mail.example.com/#x", "is no URL"),
        ("https://user@mail.example.com", "is no URL"),
        ("https://mail.example.com:x", "is no URL"),
        ("https://bücher.example", "is no URL"),
        ("https://mail.example.com/a b", "is no URL"),
        ("https://mail.example.com/>", "is no URL"),
        ("https://mail.example.com/" + "a" * 200, "the most is 200"),
    ],
)
def test_public_url_that_no_link_can_be_made_of_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PUBLIC_URL.parse(text)


def test_sender_id_is_as_gmail_takes_it_in_a_feedback_id() -> None:
    assert SENDER_ID.parse(" example.org ") == "example.org"
    assert SENDER_ID.parse("") == ""
    for text in ("abcd", "a" * 16, "exa:mple", "exämple"):
        with pytest.raises(ValueError, match="is not 5 to 15"):
            SENDER_ID.parse(text)
