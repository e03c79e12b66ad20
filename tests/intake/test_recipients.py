"""Recipients: their forms, their rules, their queues."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from babygun.email.addresses import parse_address
from babygun.runtime.settings import Settings
from tests.intake.requests import SETTINGS, broken, checked, fields
from tests.support.field import rows

THOUSAND = [f"a{n}@example.org" for n in range(1000)]
INNER = {"url": "smtp://127.0.0.1:2525", "domains": ["example.org"]}


def test_recipients_of_all_forms_keep_their_kinds_and_order() -> None:
    email = checked(
        to=["Ann <ann@example.org>", "bob@example.org"],
        cc="carl@example.org",
        bcc=["dora@example.org"],
        recipients=[{"email": "Eve <eve@example.org>"}, {"email": "f@example.org", "kind": "bcc"}],
    )
    assert [(r.email, r.kind, r.queue) for r in email.recipients] == [
        ("ann@example.org", "to", "default"),
        ("bob@example.org", "to", "default"),
        ("carl@example.org", "cc", "default"),
        ("dora@example.org", "bcc", "default"),
        ("eve@example.org", "to", "default"),
        ("f@example.org", "bcc", "default"),
    ]
    content = email.content
    assert content.to == ("Ann <ann@example.org>", "bob@example.org", "Eve <eve@example.org>")
    assert (content.cc, content.bcc) == (
        ("carl@example.org",),
        ("dora@example.org", "f@example.org"),
    )


def test_address_given_several_times_counts_once_with_its_first_kind() -> None:
    email = checked(
        to=["ann@example.org"] * 1001, cc="Ann <ann@EXAMPLE.org>", bcc=["bob@example.org"]
    )
    assert [(r.email, r.kind) for r in email.recipients] == [
        ("ann@example.org", "to"),
        ("bob@example.org", "bcc"),
    ]
    assert (email.content.to, email.content.cc) == (("ann@example.org",), ())


@pytest.mark.parametrize("row", rows("addresses", "same"), ids=lambda row: row["forms"][0])
def test_mailbox_in_several_forms_is_one_recipient_in_the_first(row: dict[str, Any]) -> None:
    first, *others = row["forms"]
    email = checked(to=["bob@example.org", first], cc=others, bcc=row["forms"])
    assert [(r.email, r.kind) for r in email.recipients] == [
        ("bob@example.org", "to"),
        (parse_address(first).email, "to"),
    ]
    content = email.content
    assert (content.to, content.cc, content.bcc) == (("bob@example.org", first), (), ())


@pytest.mark.parametrize("row", rows("addresses", "distinct"), ids=lambda row: row["forms"][0])
def test_mailboxes_that_look_alike_are_recipients_of_their_own(row: dict[str, Any]) -> None:
    assert [r.email for r in checked(to=row["forms"]).recipients] == row["forms"]


def test_mailbox_of_several_kinds_is_the_most_open_one_in_its_first_form() -> None:
    email = checked(
        to=None,
        recipients=[
            {"email": "ann@BÜCHER.example", "kind": "bcc"},
            {"email": "bob@example.org", "kind": "cc"},
            {"email": "Ann <ann@xn--bcher-kva.example>", "kind": "cc"},
            {"email": "Ann Lee <Ann@bücher.example>", "kind": "to"},
            {"email": "ANN@bücher.example", "kind": "to"},
        ],
    )
    assert [(r.email, r.kind) for r in email.recipients] == [
        ("Ann@bücher.example", "to"),
        ("bob@example.org", "cc"),
    ]
    content = email.content
    assert (content.to, content.cc) == (("Ann Lee <Ann@bücher.example>",), ("bob@example.org",))
    assert content.bcc == ()


@pytest.mark.parametrize("row", rows("addresses", "refused"), ids=lambda row: row["text"])
def test_address_of_the_field_that_is_none_is_refused_in_each_field(row: dict[str, Any]) -> None:
    says = f"{row['says'][0].upper()}{row['says'][1:]}."
    for field in ("sender", "to", "reply_to"):
        assert broken(**{field: row["text"]}) == [(field, says)]


@pytest.mark.parametrize("row", rows("addresses", "taken"), ids=lambda row: row["text"])
def test_address_of_the_field_is_taken_in_each_field(row: dict[str, Any]) -> None:
    text = row["text"].strip()
    content = checked(to=[text], reply_to=[text]).content
    assert (content.to, content.reply_to) == ((text,), (text,))
    if row.get("sender") != "refused":
        email = checked(sender=text)
        assert (email.sender, email.content.sender) == (row["email"], text)


def test_recipients_go_into_the_queues_of_their_relays() -> None:
    settings = replace(SETTINGS, relays={"inner": INNER})
    email = checked(settings, to=["a@example.org", "b@example.net"])
    assert [r.queue for r in email.recipients] == ["inner", "default"]


def test_recipient_that_no_relay_takes_is_refused() -> None:
    settings = Settings(relays={"inner": INNER})
    assert broken(settings, to=["a@example.org", "b@example.net"]) == [
        ("to[1]", "No route takes mail for example.net.")
    ]


def test_recipients_that_no_relay_takes_go_into_the_queues_of_their_domains() -> None:
    settings = Settings(routes={"inner": INNER}, default="mx")
    addresses = ["a@example.org", "b@Bücher.example", "c@example.net", "d@xn--bcher-kva.example"]
    assert [r.queue for r in checked(settings, to=addresses).recipients] == [
        "inner",
        "mx:xn--bcher-kva.example",
        "mx:example.net",
        "mx:xn--bcher-kva.example",
    ]


def test_recipient_at_an_address_literal_is_refused_unless_a_relay_takes_it() -> None:
    assert broken(Settings(default="mx"), to=["a@example.org", "b@[192.0.2.1]"]) == [
        (
            "to[1]",
            "Mail to an address literal such as [192.0.2.1] is not sent: give the name of a domain,"
            " or let a relay take it.",
        )
    ]
    assert checked(Settings(relay_url="smtp://x"), to="b@[192.0.2.1]").recipients


def test_email_without_a_recipient_is_refused() -> None:
    for changes in ({"to": None}, {"to": [], "cc": [], "recipients": []}):
        assert broken(**changes) == [
            ("to", "There is no recipient: give at least one in to, cc, bcc or recipients.")
        ]


def test_email_of_as_many_recipients_as_the_limit_is_accepted() -> None:
    assert len(checked(to=THOUSAND).recipients) == 1000


def test_recipients_over_the_limit_are_refused_where_they_pass_it() -> None:
    one_more = {"email": "r@example.org"}
    assert broken(to=[*THOUSAND, "b@example.org"]) == [
        ("to", "There are 1001 recipients; at most 1000 are taken.")
    ]
    assert fields(to=THOUSAND[:999], cc="c@example.org", recipients=[one_more]) == ["recipients"]


def test_many_times_more_addresses_than_the_limit_are_refused_unread() -> None:
    assert broken(cc=["no address"] * 10_001) == [
        ("cc", "There are 10002 addresses; at most 1000 recipients are taken.")
    ]


def test_address_that_is_not_valid_is_named_by_its_place() -> None:
    assert fields(sender="shop") == fields(sender="") == ["sender"]
    assert fields(to="") == fields(to="a@example.org, b@example.org") == ["to"]
    assert fields(to=["a@example.org", "b@@example.org"]) == ["to[1]"]
    assert fields(cc="nobody") == ["cc"]
    assert fields(bcc=["x@"]) == ["bcc[0]"]
    assert fields(recipients=[{"email": "@example.org"}]) == ["recipients[0].email"]
    assert fields(reply_to="help") == ["reply_to"]


def test_address_with_a_line_break_is_refused() -> None:
    assert fields(to="a@example.org\r\nBcc: b@example.org") == ["to"]
    assert fields(sender="A\r\nBcc: b@example.org <a@example.org>") == ["sender"]


def test_each_bad_address_is_named_up_to_a_limit() -> None:
    assert fields(to=[f"x{n}" for n in range(1000)]) == [f"to[{n}]" for n in range(50)]
