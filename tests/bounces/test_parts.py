"""Messages taken apart: fields, parts, encodings, and what is broken in them."""

from __future__ import annotations

import base64

from babygun.bounces.parts import Fields, take_apart


def test_fields_are_unfolded_and_known_without_case() -> None:
    fields = Fields("Subject: one\n two\nsubject: other\nrubbish\nX-Empty:\n\tlate\n")
    assert fields.get("subject") == "one two"
    assert fields.get("x-empty") == "late"
    assert fields.get("none") == "" and "none" not in fields


def test_field_with_encoded_words_is_decoded_and_a_broken_one_kept() -> None:
    fields = Fields("A: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nB: =?no-such?q?x?=\nC: =?utf-8?b?!?=")
    assert fields.words("a") == "Grüße"
    assert fields.words("b") == "=?no-such?q?x?="
    assert isinstance(fields.words("c"), str)


def test_parts_are_the_leaves_and_enclosed_messages_stay_closed() -> None:
    message = take_apart(
        b'Content-Type: multipart/mixed; boundary="a b"\r\n\r\npreamble\r\n--a b\r\n'
        b"Content-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n\r\nplain\r\n--c\r\n"
        b"Content-Type: text/html\r\n\r\n<p>a&amp;b<br>c</p>\r\n--c--\r\n--a b\r\n"
        b"Content-Type: message/rfc822\r\n\r\nContent-Type: multipart/mixed; boundary=d\r\n\r\n"
        b"--d\r\n\r\ninner\r\n--d--\r\n--a b--\r\nepilogue\r\n"
    )
    parts = list(message.parts())
    assert [part.kind for part in parts] == ["text/plain", "text/html", "message/rfc822"]
    assert parts[0].text == "plain"
    assert parts[1].text.split() == ["a&b", "c"]


def test_content_is_decoded_and_what_is_cut_off_is_kept() -> None:
    text = "Grüße, größer als ein Block".encode()
    encoded = base64.b64encode(text)
    head = b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n"
    assert take_apart(head + encoded).text == text.decode()
    assert take_apart(head + encoded[:-3]).text == text.decode()[:-1]
    quoted = b"Content-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=C3=9Fe=\n!"
    assert take_apart(quoted).text == "Grüße!"


def test_text_of_an_unknown_charset_is_read_as_well_as_it_goes() -> None:
    assert take_apart(b"Content-Type: text/plain; charset=no-such\n\nhello").text == "hello"
    assert take_apart(b"Content-Type: text/plain; charset=latin-1\n\ngr\xfc\xdfe").text == "grüße"


def test_message_without_a_head_is_text() -> None:
    assert take_apart(b"\n\nhello").kind == "text/plain"
    assert next(iter(take_apart(b"").parts())).text == ""
