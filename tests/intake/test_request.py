"""The other fields of a request, and how broken rules are collected."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

from babygun.email.model import Content
from babygun.runtime.clock import utc_now
from tests.intake.requests import SETTINGS, broken, checked, fields, refusal


def test_good_request_becomes_content_and_envelope() -> None:
    email = checked(
        sender=" Shop <shop@EXAMPLE.com> ",
        reply_to="help@example.com",
        html="<p>Hi</p>",
        tags=["order", "order", "a:b"],
        metadata={"order": "1"},
    )
    assert email.content == Content(
        "Shop <shop@EXAMPLE.com>",
        "Hello",
        ("ann@example.org",),
        reply_to=("help@example.com",),
        body="Hi Ann\n",
        html="<p>Hi</p>",
    )
    assert (email.sender, email.tags, email.metadata, email.send_at) == (
        "shop@example.com",
        ("order", "a:b"),
        {"order": "1"},
        None,
    )


def test_every_broken_rule_is_named_in_the_order_of_the_fields() -> None:
    assert fields(sender="x", to=["a@example.org", "y"], subject="\n", tags=["!"]) == [
        "sender",
        "to[1]",
        "subject",
        "tags[0]",
    ]


def test_first_broken_rule_says_whether_the_email_is_too_large() -> None:
    settings = replace(SETTINGS, max_body=10)
    assert refusal(settings, body="a" * 11, tags=["!"]).too_large
    assert not refusal(settings, subject="\n", body="a" * 11).too_large


def test_subject_with_a_line_break_or_a_control_character_is_refused() -> None:
    for subject in ("a\r\nBcc: b@example.org", "a\u2029b"):
        assert broken(subject=subject) == [("subject", "The subject must not hold line breaks.")]
    assert broken(subject="a\0") == [("subject", "The subject must not hold control characters.")]
    assert checked(subject="Grüße\t№ 1").content.subject == "Grüße\t№ 1"


def test_subject_longer_than_the_limit_is_refused() -> None:
    assert broken(subject="a" * 2001) == [
        ("subject", "The subject has 2001 characters; at most 2000 are taken.")
    ]


def test_text_with_a_nul_is_refused() -> None:
    assert broken(body="a\0") == [("body", "It must not hold NUL characters.")]
    assert broken(html="a\0") == [("html", "It must not hold NUL characters.")]


def test_text_over_its_size_is_refused_as_too_large() -> None:
    settings = replace(SETTINGS, max_body=1000)
    assert checked(settings, body="ä" * 500)
    for changes in ({"body": "a" * 1001}, {"body": "ä" * 501}, {"html": "a" * 1001}):
        error = refusal(settings, **changes)
        assert error.too_large and [v.field for v in error.violations] == list(changes)


def test_more_reply_to_addresses_than_the_limit_are_refused() -> None:
    assert broken(reply_to=["a@example.org"] * 101) == [
        ("reply_to", "There are 101 addresses; at most 100 are taken.")
    ]


def test_more_tags_than_the_limit_are_refused() -> None:
    assert broken(tags=[str(n) for n in range(11)]) == [
        ("tags", "There are 11 tags; at most 10 are taken.")
    ]


def test_tag_of_other_characters_or_of_no_length_is_refused() -> None:
    for tag in ("b c", "", "a" * 65):
        assert fields(tags=["a", tag]) == ["tags[1]"]


def test_metadata_over_their_limits_are_refused() -> None:
    assert broken(metadata={str(n): "" for n in range(51)}) == [
        ("metadata", "There are 51 entries; at most 50 are taken.")
    ]
    error = refusal(metadata={"a": "b" * 4096})
    assert error.too_large and [v.field for v in error.violations] == ["metadata"]


def test_send_at_is_kept_in_whole_milliseconds_of_utc() -> None:
    at = utc_now() + timedelta(hours=2, microseconds=999)
    given = at.astimezone(timezone(timedelta(hours=5))).isoformat()
    assert checked(send_at=given).send_at == at - timedelta(microseconds=999)
    send_at = checked(send_at=given).send_at
    assert send_at is not None and send_at.tzinfo is UTC


def test_send_at_in_the_past_means_now() -> None:
    for past in ("2001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"):
        assert checked(send_at=past).send_at is None


def test_send_at_too_far_ahead_is_refused() -> None:
    assert broken(send_at=datetime(2999, 1, 1, tzinfo=UTC)) == [
        ("send_at", "It lies more than 366 days ahead.")
    ]


# --- links to unsubscribe ---

REACHED = replace(SETTINGS, public_url="https://mail.example.com")


def test_link_to_unsubscribe_is_wanted_from_a_list_or_from_all_mail() -> None:
    assert checked(REACHED, unsubscribe={"list": "news.2026-11"}).list == "news.2026-11"
    assert checked(REACHED, unsubscribe=True).list == "*"
    assert checked(REACHED, unsubscribe={"list": "*"}).list == "*"
    for nothing in (False, None):
        assert checked(unsubscribe=nothing).list == ""


def test_link_to_unsubscribe_without_a_public_url_names_the_setting() -> None:
    [(field, detail)] = broken(unsubscribe=True)
    assert field == "unsubscribe" and "setting public_url" in detail and "operator" in detail


def test_link_to_unsubscribe_beside_a_header_of_the_clients_own_is_refused() -> None:
    for headers in (
        {"List-Unsubscribe": "<https://shop.example.com/off>"},
        [
            "list-unsubscribe-post: List-Unsubscribe=One-Click",
            "List-Unsubscribe: <https://shop.example.com/off>",
        ],
    ):
        for field, detail in broken(REACHED, unsubscribe=True, headers=headers):
            assert field == "unsubscribe" and "leave one out" in detail
    assert not checked(headers={"List-Unsubscribe": "<https://shop.example.com/off>"}).list


def test_list_with_a_bad_name_is_refused() -> None:
    for name in ("", "a b", "a/b", "ü", "x" * 65, "**"):
        [(field, detail)] = broken(REACHED, unsubscribe={"list": name})
        assert field == "unsubscribe.list" and detail.startswith("A list's name has 1 to 64 ")
