"""DKIM signatures, verified by another implementation (dkimpy)."""

from __future__ import annotations

import random
import re
import time
from base64 import b64encode
from datetime import UTC, datetime
from hashlib import sha256

import dkim
import pytest

from babygun.email.model import Content
from babygun.mime import render
from babygun.mime.dkim import DkimKey, canonical_body, canonical_field, expiry, signatures
from babygun.pki.dkim_keys import load_dkim_key, make_ed25519_key, make_rsa_key
from tests.support.random_emails import random_fields

MADE = {"rsa-sha256": make_rsa_key(), "ed25519-sha256": make_ed25519_key()}
RSA, ED25519 = (
    DkimKey("example.org", name.partition("-")[0], name, load_dkim_key(made.private))
    for name, made in MADE.items()
)
DNS = {
    f"{name.partition('-')[0]}._domainkey.example.org.".encode(): (
        f"v=DKIM1; k={name.partition('-')[0]}; p={made.public}"
    ).encode()
    for name, made in MADE.items()
}
AT = int(time.time())  # dkimpy knows the time, too
UNTIL = AT + 14 * 86_400
HEAD = b"From: Ann <ann@example.org>\r\nTo: bob@example.com\r\nSubject: Hello\r\n"


def published(name: bytes, timeout: int = 5) -> bytes | None:
    """DNS, as dkimpy asks it."""
    return DNS.get(name)


def signed(message: bytes, *keys: DkimKey) -> bytes:
    return signatures(message, keys or (RSA,), AT, UNTIL) + message


def verifies(message: bytes, index: int = 0) -> bool:
    """Whether dkimpy finds the signature valid. ``index``: which one, from the top."""
    try:
        return bool(dkim.DKIM(message).verify(idx=index, dnsfunc=published))
    except dkim.ValidationError:
        return False


def tags(message: bytes) -> dict[str, str]:
    field = re.split(rb"\r\n(?![ \t])", message)[0].decode().partition(":")[2]
    pairs = (tag.partition("=") for tag in re.sub(r"\s", "", field).split(";"))
    return {name: value for name, _, value in pairs}


# --- what is signed ---


def test_signature_has_the_tags_that_were_decided() -> None:
    found = tags(signed(HEAD + b"\r\nHi\r\n"))
    assert {name: found[name] for name in ["v", "a", "c", "d", "s", "t", "x"]} == {
        "v": "1",
        "a": "rsa-sha256",
        "c": "relaxed/relaxed",
        "d": "example.org",
        "s": "rsa",
        "t": str(AT),
        "x": str(UNTIL),
    }
    assert "l" not in found


@pytest.mark.parametrize(
    "name",
    "From To Cc Subject Date Reply-To Message-ID MIME-Version Content-Type".split(" "),  # noqa: SIM905
)
def test_field_that_somebody_adds_breaks_the_signature(name: str) -> None:
    message = signed(HEAD + b"Content-Type: text/plain\r\n\r\nHi\r\n")
    assert verifies(message)
    assert not verifies(message.replace(b"\r\n\r\n", b"\r\n%b: x\r\n\r\n" % name.encode()))
    assert not verifies(message.replace(b"From: ", b"%b: x\r\nFrom: " % name.encode()))


@pytest.mark.parametrize("name", ["List-Unsubscribe", "List-Unsubscribe-Post", "Feedback-ID"])
def test_field_of_bulk_mail_is_signed_where_it_is_there(name: str) -> None:
    field = b"%b: <https://example.org/x>\r\n" % name.encode()
    message = signed(field + HEAD + b"\r\nHi\r\n")
    assert verifies(message)
    assert not verifies(message.replace(b"/x>", b"/y>"))
    assert name.lower() not in tags(signed(HEAD + b"\r\nHi\r\n"))["h"].split(":")


def test_field_that_is_not_signed_may_change() -> None:
    message = signed(b"X-Mailer: a\r\n" + HEAD + b"\r\nHi\r\n")
    assert verifies(message.replace(b"X-Mailer: a", b"X-Mailer: b"))


def test_text_that_somebody_appends_breaks_the_signature() -> None:
    message = signed(HEAD + b"\r\nHi\r\n")
    assert not verifies(message + b"Buy this\r\n")
    assert verifies(message + b"\r\n \r\n")


def test_fields_of_one_name_are_signed_each() -> None:
    twice = b"References: <a@b>\r\nReferences: <c@d>\r\n" + HEAD + b"\r\nHi\r\n"
    message = signed(twice)
    assert verifies(message)
    assert tags(message)["h"].split(":").count("references") == 2
    assert not verifies(message.replace(b"<a@b>", b"<x@b>"))


def test_each_key_signs_and_neither_signature_covers_the_other() -> None:
    message = signed(HEAD + b"\r\nHi\r\n", RSA, ED25519)
    assert verifies(message, 0) and verifies(message, 1)
    assert message.count(b"DKIM-Signature:") == 2
    one = message[message.index(b"DKIM-Signature:", 1) :]
    assert tags(one)["a"] == "ed25519-sha256" and verifies(one)


def test_signature_is_the_same_each_time_and_its_lines_are_short() -> None:
    message = HEAD + b"List-Unsubscribe: <https://example.org/x>\r\n\r\nHi\r\n"
    once = signatures(message, (RSA, ED25519), AT, UNTIL)
    assert once == signatures(message, (RSA, ED25519), AT, UNTIL)
    assert max(map(len, once.split(b"\r\n"))) <= 78 and once.isascii()


# --- canonical forms ---


@pytest.mark.parametrize(
    ("body", "canonical"),
    [
        (b"", b""),
        (b"\r\n", b""),
        (b"\r\n\r\n\r\n", b""),
        (b" \r\n", b""),
        (b"\t \r\n \r\n", b""),
        (b"a\r\n", b"a\r\n"),
        (b"a\r\n\r\n\r\n", b"a\r\n"),
        (b"a\r\n \r\n\t\r\n", b"a\r\n"),
        (b"a \t\r\n", b"a\r\n"),
        (b"\r\n\r\na\r\n", b"\r\n\r\na\r\n"),
        (b"  a\t \tb   c\r\n", b" a b c\r\n"),
        (b"a\x0c\x0c\r\n\x0b\r\n", b"a\x0c\x0c\r\n\x0b\r\n"),
        (b"a\xa0 \xa0\r\n", b"a\xa0 \xa0\r\n"),
        (b" \r\n \r\nx", b"\r\n\r\nx\r\n"),
    ],
)
def test_canonical_body_keeps_text_and_evens_white_space(body: bytes, canonical: bytes) -> None:
    assert canonical_body(body) == canonical


@pytest.mark.parametrize(
    ("field", "canonical"),
    [
        (b"Subject: a b", b"subject:a b"),
        (b"Subject:\r\n a", b"subject:a"),
        (b"SUBJECT \t:  a \t b\r\n\t c  ", b"subject:a b c"),
        (b"Subject:", b"subject:"),
        (b"Subject: \r\n \r\n ", b"subject:"),
        (b"Subject: a\x0cb\x0b", b"subject:a\x0cb\x0b"),
        (b"Subject: a: b", b"subject:a: b"),
    ],
)
def test_canonical_field_keeps_text_and_evens_white_space(field: bytes, canonical: bytes) -> None:
    assert canonical_field(field) == canonical


def test_body_hash_of_an_empty_body_is_that_of_no_bytes() -> None:
    """RFC 6376, 3.4.4."""
    empty = b64encode(sha256(b"").digest()).decode()
    assert tags(signed(HEAD + b"\r\n"))["bh"] == empty
    assert tags(signed(HEAD + b"\r\n \r\n\r\n"))["bh"] == empty


# Traps that others fell into, each a body or a field.
BODIES = {
    "empty": b"",
    "an empty line": b"\r\n",
    "white space only": b" \t\r\n \r\n",
    "ends with lines of white space": b"Hi\r\n \r\n\t\r\n  \r\n",
    "ends with empty lines": b"Hi\r\n\r\n\r\n",
    "form feeds": b"Hi\x0c there\r\n\x0c\r\n",
    "vertical tabs": b"Hi\x0b \x0bthere\r\n",
    "white space in runs": b"a \t  b\t\tc    \r\n    d\r\n",
    "dots": b".\r\n..\r\n.a\r\n",
    "octets above 127": "Grüße\xa0\r\n".encode(),
}
FIELDS = {
    "folded behind the colon": b"Subject:\r\n a long one\r\n",
    "folded with tabs": b"Subject: a\r\n\tb\r\n \t c\r\n",
    "empty": b"Subject:\r\n",
    "white space at its end": b"Subject: a \t \r\n",
    "no white space behind the colon": b"Subject:a\r\n",
    "form feed": b"Subject: a\x0cb\r\n",
    "UTF-8": "Subject: Grüße\r\n".encode(),
}


@pytest.mark.parametrize("key", [RSA, ED25519], ids=["rsa", "ed25519"])
@pytest.mark.parametrize("trap", BODIES)
def test_trap_of_the_body_verifies(trap: str, key: DkimKey) -> None:
    assert verifies(signed(HEAD + b"\r\n" + BODIES[trap], key))


@pytest.mark.parametrize("trap", FIELDS)
def test_trap_of_a_field_verifies(trap: str) -> None:
    assert verifies(signed(FIELDS[trap] + b"From: ann@example.org\r\n\r\nHi\r\n"))


# --- generated messages ---


def content(chance: random.Random) -> Content:
    return Content(
        chance.choice(["ann@example.org", "Ann <ann@example.org>", "Änne <a@example.org>"]),
        to=tuple(f"r{n}@example.com" for n in range(chance.randrange(9))),
        **random_fields(chance),
    )


@pytest.mark.parametrize("eight_bit", [True, False])
def test_signature_of_generated_messages_verifies(eight_bit: bool) -> None:
    chance = random.Random(26)
    for number in range(150):
        message = render(
            content(chance),
            message_id=f"<{number}@example.org>",
            date=datetime(2026, 11, 29, tzinfo=UTC),
            eight_bit=eight_bit,
        )
        key = chance.choice([RSA, ED25519])
        assert verifies(signed(message, key)), message


# --- times ---


@pytest.mark.parametrize(
    ("days_later", "days"), [(-1, 14), (0, 14), (6.9, 14), (7, 28), (20.9, 28), (21, 42)]
)
def test_signature_ends_two_weeks_later_and_never_within_a_week(
    days_later: float, days: int
) -> None:
    assert expiry(AT, AT + int(days_later * 86_400)) == AT + days * 86_400


def test_sign_gets_the_digest_of_the_fields_and_of_the_signature_itself() -> None:
    seen: list[bytes] = []

    def sign(digest: bytes) -> bytes:
        seen.append(digest)
        return b"signature"

    made = signatures(HEAD + b"\r\nHi\r\n", [RSA._replace(sign=sign)], AT, UNTIL)
    field = canonical_field(made.removesuffix(b"c2lnbmF0dXJl\r\n"))
    fields = b"subject:Hello\r\nto:bob@example.com\r\nfrom:Ann <ann@example.org>\r\n"
    assert seen == [sha256(fields + field).digest()]
