"""Sending domains: their names, what they cover, and how their selectors change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from babygun.email.sending_domains import (
    KEPT,
    SIGNS_ON,
    DnsRecord,
    Selector,
    SendingDomain,
    Verified,
    is_within,
    looked_up,
    name_and_parents,
    rotated,
    sending_domain_name,
    signers,
    without_client,
)

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def selector(name: str = "a", **fields: Any) -> Selector:
    values = {"algorithm": "rsa2048", "public": "MIIB", "state": "new", "created_at": NOW}
    return Selector(name, **(values | fields))


def signing(name: str, since: datetime, **fields: Any) -> Selector:
    return selector(name, state="signing", seen_at=since, signing_since=since, **fields)


def old(name: str, since: datetime, until: datetime, **fields: Any) -> Selector:
    return selector(
        name, state="old", seen_at=since, signing_since=since, old_since=until, **fields
    )


def domain(*selectors: Selector, clients: tuple[str, ...] = ("shop:1",)) -> SendingDomain:
    return SendingDomain("example.com", clients, NOW, NOW, selectors)


def look(at: datetime) -> Verified:
    return Verified(at, "verified")


def names(selectors: tuple[Selector, ...]) -> list[str]:
    return [one.name for one in selectors]


def states(of: SendingDomain) -> dict[str, str]:
    return {one.name: one.state for one in of.selectors}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("example.com", "example.com"),
        ("  Example.COM. ", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("ｅxample．com", "example.com"),
        ("a-b.c1.example.co.uk", "a-b.c1.example.co.uk"),
    ],
)
def test_name_in_any_form_becomes_lower_case_ascii_without_last_dot(text: str, name: str) -> None:
    assert sending_domain_name(text) == name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "dot"),
        ("com", "no domain of one owner"),
        ("com.", "no domain of one owner"),
        ("[192.0.2.1]", "not an IP address"),
        ("192.0.2.1", "ends with a number"),
        ("a..example", "two in a row"),
        ("-a.example", "hyphen"),
        ("under_score.example", "_"),
        ("a/b.example", "/"),
        ("*.example", r"\*"),
        ("a" * 64 + ".example", "label"),
        (".".join(["a" * 60] * 4), "octets"),
        ("ann@example.com", "@"),
    ],
)
def test_name_that_nobody_can_hold_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        sending_domain_name(text)


def test_domain_is_covered_by_itself_and_its_parents_the_longest_first() -> None:
    assert name_and_parents("a.b.example.com") == [
        "a.b.example.com",
        "b.example.com",
        "example.com",
    ]
    assert name_and_parents("com") == []
    assert is_within("a.example.com", "example.com") and is_within("example.com", "example.com")
    assert not is_within("badexample.com", "example.com")


def test_new_selector_signs_nothing_before_it_is_seen() -> None:
    assert signers(domain(selector()), NOW, NOW) == ()


def test_selector_that_is_seen_signs_and_the_one_before_is_old() -> None:
    rotating = domain(signing("a", NOW), selector("b"))
    unseen = looked_up(rotating, look(NOW + DAY), {"a"})
    assert states(unseen) == {"a": "signing", "b": "new"}
    seen = looked_up(unseen, look(NOW + 2 * DAY), {"a", "b"})
    assert states(seen) == {"a": "old", "b": "signing"}
    assert seen.selectors[0].old_since == seen.selectors[1].signing_since == NOW + 2 * DAY
    assert seen.verified == look(NOW + 2 * DAY)


def test_selector_that_is_seen_leaves_the_other_algorithm_as_it_is() -> None:
    rotating = domain(signing("a", NOW), selector("b", algorithm="ed25519"))
    assert states(looked_up(rotating, look(NOW + DAY), {"b"})) == {"a": "signing", "b": "signing"}


def test_look_that_sees_nothing_takes_no_signing_selector_away() -> None:
    assert states(looked_up(domain(signing("a", NOW)), look(NOW), ())) == {"a": "signing"}


def test_tries_of_one_email_have_the_same_selector_after_a_rotation() -> None:
    rotation = NOW + 10 * DAY
    rotated_then = domain(old("a", NOW, rotation), signing("b", rotation))
    before, after = rotation - DAY, rotation + timedelta(seconds=1)
    assert names(signers(rotated_then, before, before)) == ["a"]
    assert names(signers(rotated_then, before, rotation + DAY)) == ["a"]
    assert names(signers(rotated_then, after, rotation + DAY)) == ["b"]


def test_old_selector_signs_no_more_after_its_time() -> None:
    rotation = NOW + 10 * DAY
    late = rotation + SIGNS_ON
    assert names(signers(domain(old("a", NOW, rotation), signing("b", rotation)), NOW, late)) == [
        "b"
    ]


def test_email_from_before_the_first_key_is_signed_by_the_one_that_signs_now() -> None:
    assert names(signers(domain(signing("a", NOW)), NOW - DAY, NOW)) == ["a"]


def test_old_selector_alone_does_not_sign_what_came_later() -> None:
    assert signers(domain(old("a", NOW, NOW + DAY)), NOW + 2 * DAY, NOW + 2 * DAY) == ()


def test_each_algorithm_signs_once_rsa_first() -> None:
    both = domain(signing("e", NOW, algorithm="ed25519"), signing("r", NOW))
    assert names(signers(both, NOW, NOW)) == ["r", "e"]


def test_old_selector_is_kept_until_its_mail_has_arrived() -> None:
    rotation = NOW + DAY
    rotated_then = domain(old("a", NOW, rotation), signing("b", rotation))
    just_before = looked_up(rotated_then, look(rotation + KEPT - timedelta(seconds=1)), {"b"})
    assert states(just_before) == {"a": "old", "b": "signing"}
    assert states(looked_up(rotated_then, look(rotation + KEPT), {"b"})) == {"b": "signing"}
    assert KEPT > SIGNS_ON + 5 * DAY, "after its last signature, a server may try for five days"


def test_rotation_drops_a_selector_that_has_never_signed() -> None:
    twice = rotated(
        rotated(domain(signing("a", NOW)), [selector("b")], NOW), [selector("c")], NOW + DAY
    )
    assert states(twice) == {"a": "signing", "c": "new"}
    assert twice.updated_at == NOW + DAY


def test_domain_stays_with_its_other_clients_and_goes_with_the_last() -> None:
    shared = domain(clients=("shop:1", "crm:2"))
    rest = without_client(shared, "shop:1", NOW + DAY)
    assert rest and rest.clients == ("crm:2",) and rest.updated_at == NOW + DAY
    assert without_client(rest, "crm:2", NOW) is None


def test_record_is_verified_only_as_the_last_look_found_it() -> None:
    found = (DnsRecord("return_path", "MX", "b.example.com", "10 m.", "verified"),)
    checked = replace(domain(), verified=Verified(NOW, "failed", found))
    assert checked.is_verified("return_path") and not checked.is_verified("spf")
    assert checked.status == "failed" and domain().status == "pending"
    assert not domain().is_verified("return_path")
