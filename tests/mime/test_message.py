"""The rendering of e-mails, read back with the standard library's parser."""

from __future__ import annotations

import os
import random
import re
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import default
from email.utils import getaddresses

import pytest
from msgspec.structs import replace

from babygun.email.compose import new_email
from babygun.email.model import Attachment, Content
from babygun.mime import feedback_id, needs_smtputf8, render, with_unsubscribe_link

DATE = datetime(2026, 11, 25, 7, 5, 9, tzinfo=UTC)
MESSAGE_ID = "<0192f0c1-aaaa-7bbb-8ccc-0123456789ab@mail.example.org>"


def rendered(*, smtputf8: bool = False, eight_bit: bool = False, **fields) -> bytes:
    content = Content(
        **{"sender": "Alice <alice@example.org>", "to": ("bob@example.com",), **fields}
    )
    raw = render(content, message_id=MESSAGE_ID, date=DATE, smtputf8=smtputf8, eight_bit=eight_bit)
    _check_wire(raw, ascii_only=not (smtputf8 or eight_bit))
    return raw


def _check_wire(raw: bytes, *, ascii_only: bool) -> None:
    """What SMTP asks of any message."""
    assert raw.endswith(b"\r\n")
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)|\x00", raw)
    assert raw.isascii() or not ascii_only
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    head = raw.partition(b"\r\n\r\n")[0]
    for line in head.split(b"\r\n"):
        assert line.strip(), "a header line of white space alone"
        assert len(line) <= 76 or b"=?utf-8?" not in line, line
        assert all(len(word) <= 75 for word in re.findall(rb"=\?utf-8\?[qb]\?[^?]*\?=", line))


def read(raw: bytes) -> EmailMessage:
    message = message_from_bytes(raw, policy=default)
    assert isinstance(message, EmailMessage)
    for part in message.walk():
        assert part.defects == []
        for value in part.values():
            assert value.defects == (), value
    return message


def _body(message: EmailMessage, kind: str = "plain") -> str:
    part = message.get_body((kind,))
    assert part is not None
    content = part.get_content()
    assert isinstance(content, str)
    return content.replace("\r\n", "\n")


def _structure(message: EmailMessage) -> object:
    if message.is_multipart() and message.get_content_maintype() == "multipart":
        return message.get_content_type(), [_structure(part) for part in message.iter_parts()]
    return message.get_content_type()


# --- header ---


def test_render_plain_text_is_exactly_this():
    assert rendered(subject="Hello", body="Hi,\nthere\n").decode() == (
        "Date: Wed, 25 Nov 2026 07:05:09 +0000\r\n"
        "From: Alice <alice@example.org>\r\n"
        "To: bob@example.com\r\n"
        "Subject: Hello\r\n"
        f"Message-ID: {MESSAGE_ID}\r\n"
        "MIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: 7bit\r\n"
        "\r\n"
        "Hi,\r\nthere\r\n"
    )


SUBJECTS = [
    "Hello",
    "Grüße aus Köln",
    "one two  three   four",
    "日本語の件名です。とても長いので、折り返しが必要になります。" * 4,
    "Ein langer Betreff mit ein paar Ümläuten darin, der über mehr als eine Zeile geht, "
    "und noch ein bisschen weiter, bis hierher",
    "plain words to fold " * 20,
    "x" * 70,
    "x" * 200,
    "x" * 2000,
    "x" * 995,
    "y " + "x" * 2000 + " z",
    "ü" * 300,
    "👩‍🚀👍🏽" * 30,
    "=?utf-8?q?literally_this?= please",
    "a =?b c",
    "a ü" + " " * 80 + "ü b",
    "a" + " " * 500 + "b",
    "a" + " " * 1500 + "b",
    "a" + " " * 1500 + "ü",
    "tab\there",
    'Re: [list] 100% off? (really) <now> "quoted" back\\slash; a=b, c_d',
    "ü at the start and then many plain words until the line is full and folds somewhere here",
    "many plain words until the line is full and folds somewhere around here, and then one ü",
    ": colon",
]


@pytest.mark.parametrize("subject", SUBJECTS, ids=range(len(SUBJECTS)))
def test_render_subject_arrives_as_written(subject):
    raw = rendered(subject=subject, body="x")
    assert _subject(raw) == subject.strip()


def _subject(raw: bytes) -> str:
    return _decoded(_unfolded(raw, "Subject"))


def _mailboxes(raw: bytes, field: str) -> list[tuple[str, str]]:
    """(name, address) of a field, as written by a person."""
    return [(_decoded(name), email) for name, email in getaddresses([_unfolded(raw, field)])]


def _unfolded(raw: bytes, field: str) -> str:
    value = message_from_bytes(raw)[field]
    assert isinstance(value, str)
    return value.replace("\r\n", "").strip(" ")


def _decoded(text: str) -> str:
    """Read by the older of the standard library's two decoders.

    In Python 3.11 the newer one keeps the white space between encoded words.
    """
    return str(make_header(decode_header(text)))


@pytest.mark.parametrize("seed", range(4))
def test_render_random_subject_and_names_arrive_as_written(seed):
    rng = random.Random(seed)
    for _ in range(150):
        subject = _random_text(rng, rng.randint(0, 150))
        names = [_random_text(rng, rng.randint(0, 60)) for _ in range(rng.randint(1, 5))]
        to = tuple(
            '"' + name.replace("\\", "\\\\").replace('"', '\\"') + f'" <user{n}@example.com>'
            for n, name in enumerate(names)
        )
        raw = rendered(subject=subject, to=to, body="x")
        read(raw)
        assert _subject(raw) == subject
        assert _mailboxes(raw, "To") == [
            (name, f"user{n}@example.com") for n, name in enumerate(names)
        ]


def _random_text(rng: random.Random, length: int) -> str:
    text = "".join(rng.choices("abcdefgh   .,;:!?=_()<>@\"\\'-äöü€中文😀", k=length))
    return re.sub(" +", " ", text).strip()


@pytest.mark.parametrize("subject", ["", "   "])
def test_render_empty_subject_is_an_empty_field(subject):
    assert read(rendered(subject=subject, body="x")).get_all("Subject") == [""]


NAMES = [
    ("Bob", "Bob"),
    ("J. R. Bob", "J. R. Bob"),
    ('"Doe, Bob"', "Doe, Bob"),
    ('"a \\"b\\" \\\\ c"', 'a "b" \\ c'),
    ('"two  spaces"', "two  spaces"),
    ("Zoë", "Zoë"),
    ("山田 太郎", "山田 太郎"),
    ('"Müller, Jörg (Büro)"', "Müller, Jörg (Büro)"),
    ('"=?utf-8?q?x?="', "=?utf-8?q?x?="),
    ("word " * 30, ("word " * 30).strip()),
    ("w" * 400, "w" * 400),
    ("ü" * 400, "ü" * 400),
    ('"' + "a, " * 100 + 'b"', "a, " * 100 + "b"),
]


@pytest.mark.parametrize(("written", "name"), NAMES, ids=range(len(NAMES)))
def test_render_display_name_arrives_as_written(written, name):
    raw = rendered(
        sender=f"{written} <a@example.org>",
        to=(f"{written} <b@example.com>", "c@example.com"),
        body="x",
    )
    read(raw)
    assert _mailboxes(raw, "From") == [(name, "a@example.org")]
    assert _mailboxes(raw, "To") == [(name, "b@example.com"), ("", "c@example.com")]


def test_render_addresses_go_to_their_fields_and_bcc_nowhere():
    raw = rendered(
        to=("b@example.com", "C <c@example.com>"),
        cc=("d@example.com",),
        bcc=("secret@example.com",),
        reply_to=("r@example.org",),
        body="x",
    )
    message = read(raw)
    assert b"secret" not in raw
    assert b"bcc" not in raw.lower()
    assert (message["To"], message["Cc"], message["Reply-To"]) == (
        "b@example.com, C <c@example.com>",
        "d@example.com",
        "r@example.org",
    )


def test_render_blind_recipients_alone_names_no_one():
    message = read(rendered(to=(), bcc=("secret@example.com",), body="x"))
    assert message["To"] == "undisclosed-recipients:;"


def test_render_copy_recipients_alone_has_no_to():
    assert read(rendered(to=(), cc=("c@example.com",), body="x"))["To"] is None


def test_render_thousand_recipients_folds_between_them():
    to = tuple(f"Person {n} <person{n}@example.com>" for n in range(1000))
    raw = rendered(to=to, body="x")
    assert [str(address) for address in read(raw)["To"].addresses] == list(to)
    assert max(map(len, raw.split(b"\r\n"))) <= 76


def test_render_idn_domain_is_written_in_ascii():
    message = read(rendered(sender="a@bücher.example", to=("Ü <b@日本.example>",), body="x"))
    assert message["From"] == "a@xn--bcher-kva.example"
    assert message["To"].addresses[0].addr_spec == "b@xn--wgv71a.example"


def test_render_with_smtputf8_keeps_addresses_in_utf8():
    raw = rendered(
        sender="Zoë <zoë@bücher.example>", to=("用户@例子.example",), body="x", smtputf8=True
    )
    assert (
        "From: =?utf-8?q?Zo=C3=AB?= <zoë@bücher.example>\r\nTo: 用户@例子.example\r\n".encode()
        in raw
    )


def test_render_utf8_sender_without_smtputf8_is_refused():
    with pytest.raises(ValueError, match="only be written where the server offers SMTPUTF8"):
        rendered(sender="zoë@example.org", body="x")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, False),
        ({"sender": "Zoë <a@bücher.example>", "subject": "ü", "headers": (("X-A", "ü"),)}, False),
        ({"sender": "zoë@example.org"}, True),
        ({"cc": ("Bob <zoë@example.org>",)}, True),
        ({"bcc": ("zoë@example.org",)}, False),
    ],
)
def test_needs_smtputf8_for_local_parts_that_are_shown(fields, expected):
    assert needs_smtputf8(Content(**{"sender": "a@b.c", **fields})) is expected


def test_render_custom_headers_keep_their_order_and_spelling():
    headers = (
        ("X-Campaign-ID", "42"),
        ("List-Unsubscribe", "<https://example.org/u?id=1>"),
        ("x-other", "Grüße  an alle"),
        ("X-Campaign-ID", "43"),
    )
    message = read(rendered(headers=headers, body="x"))
    assert [
        (name, value) for name, value in message.items() if name.lower().startswith(("x-", "list-"))
    ] == list(headers)


@pytest.mark.parametrize("name", ["Message-ID", "message-id", "DATE"])
def test_render_custom_date_or_message_id_replaces_ours(name):
    value = (
        "<mine@example.org>" if name.lower() == "message-id" else "Mon, 01 Jan 2024 00:00:00 +0000"
    )
    assert read(rendered(headers=((name, value),), body="x")).get_all(name) == [value]


@pytest.mark.parametrize(
    "header",
    [
        ("Bcc", "secret@example.com"),
        ("Resent-Bcc", "secret@example.com"),
        ("From", "other@example.net"),
        ("subject", "Theirs"),
        ("Content-Type", "text/html"),
        ("MIME-Version", "2.0"),
        ("X Bad", "v"),
        ("X-Bad:", "v"),
        ("X-Bad\r\nX-Evil", "v"),
        ("", "v"),
        ("X-Value", "a\r\nBcc: evil@example.net"),
        ("X-Value", "a\x00b"),
    ],
)
def test_render_header_that_acceptance_refuses_is_not_dropped_but_refused(header):
    with pytest.raises(ValueError, match=r"can't be set here|must not hold|name has 1 to 76"):
        rendered(headers=(header,), body="x")


@pytest.mark.parametrize("value", ["a\r\nBcc: evil@example.net", "a\rX-Evil: 1", "a\r\n\r\nbody"])
def test_render_line_break_in_a_subject_makes_no_header(value):
    message = read(rendered(subject=value, body="x"))
    assert message["X-Evil"] is None
    assert message["Bcc"] is None
    assert _body(message) == "x\n"


def test_render_custom_ascii_value_stays_as_it_is_but_folded():
    references = " ".join(f"<{n}.message@mail.example.org>" for n in range(30))
    raw = rendered(
        headers=(("References", references), ("X-Encoded", "=?utf-8?q?Gr=C3=BC=C3=9Fe?=")), body="x"
    )
    assert b"X-Encoded: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n" in raw
    head = raw.partition(b"\r\n\r\n")[0]
    assert f"References: {references}" in re.sub(rb"\r\n(?=[ \t])", b"", head).decode()
    assert max(map(len, head.split(b"\r\n"))) <= 76


def test_render_custom_address_header_keeps_its_address():
    message = read(
        rendered(
            headers=(
                ("Disposition-Notification-To", "Zoë <z@example.org>, Ü <u@example.org>"),
                ("Errors-To", "Bounces <e@example.org>"),
            ),
            body="x",
        )
    )
    assert [
        (_decoded(name), email)
        for name, email in getaddresses([message["Disposition-Notification-To"]])
    ] == [("Zoë", "z@example.org"), ("Ü", "u@example.org")]
    assert message["Errors-To"] == "Bounces <e@example.org>"


def test_render_date_keeps_its_zone():
    date = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=-3, minutes=-30)))
    raw = render(Content(sender="a@b.c", to=("d@e.f",)), message_id="bare@example.org", date=date)
    assert b"Date: Fri, 02 Jan 2026 03:04:05 -0330\r\n" in raw
    assert b"Message-ID: <bare@example.org>\r\n" in raw


# --- texts ---

BODIES = {
    "empty": "",
    "plain": "Hello\nthere\n",
    "no last line end": "Hello",
    "dots": ".\n..\n.hidden\n",
    "From": "From here\n",
    "trailing spaces": "a  \nb\t\n \n\t",
    "utf-8 mostly ascii": "Grüße aus Köln, und viel Text, der nicht kodiert werden muss.\n" * 20,
    "utf-8 mostly not": "日本語のテキスト\n" * 50,
    "long ascii line": "x" * 5000 + "\nshort\n",
    "line of 998": "x" * 998 + "\n",
    "line of 999": "x" * 999 + "\n",
    "long utf-8 line": "ü" * 3000,
    "equals": "a=b=c==\n=20\n" * 300 + "ü",
    "form feed": "a\x0cb\x0b\x1b[0m\n",
    "nul": "a\x00b\n",
    "line separators": "a\u2028b\x85c\n",
    "long line of equals": "=" * 2000,
}


@pytest.mark.parametrize("eight_bit", [False, True])
@pytest.mark.parametrize("name", BODIES)
def test_render_body_arrives_as_written(name, eight_bit):
    text = BODIES[name]
    message = read(rendered(body=text, eight_bit=eight_bit))
    assert message.get_payload(decode=True).decode() == (
        text if text.endswith("\n") else text + "\n"
    ).replace("\n", "\r\n")


@pytest.mark.parametrize(
    ("name", "eight_bit", "encoding"),
    [
        ("plain", False, "7bit"),
        ("line of 998", False, "7bit"),
        ("line of 999", False, "quoted-printable"),
        ("utf-8 mostly ascii", False, "quoted-printable"),
        ("utf-8 mostly ascii", True, "8bit"),
        ("utf-8 mostly not", False, "base64"),
        ("utf-8 mostly not", True, "8bit"),
        ("long utf-8 line", True, "base64"),
        ("long line of equals", False, "base64"),
        ("nul", True, "quoted-printable"),
    ],
)
def test_render_body_gets_the_encoding_that_suits_it(name, eight_bit, encoding):
    assert (
        read(rendered(body=BODIES[name], eight_bit=eight_bit))["Content-Transfer-Encoding"]
        == encoding
    )


@pytest.mark.parametrize("text", ["a\nb\n", "a\r\nb\r\n", "a\rb\r", "a\nb"])
def test_render_line_ends_of_any_kind_become_crlf(text):
    assert rendered(body=text).endswith(b"\r\n\r\na\r\nb\r\n")


def test_render_lone_surrogate_does_not_break_it():
    assert _body(read(rendered(body="a\ud800b", subject="c\ud800d"))) == "a?b\n"


@pytest.mark.parametrize("seed", range(4))
def test_render_random_body_arrives_as_written(seed):
    rng = random.Random(seed)
    for _ in range(100):
        alphabet = rng.choice(["ab =.\t\n", "abü=\n ", "中文\n", "a" * 200 + "ü\n"])
        text = "".join(rng.choices(alphabet, k=rng.randint(0, 3000)))
        html = "".join(rng.choices(alphabet, k=rng.randint(1, 300)))
        message = read(rendered(body=text + "\n", html=html + "\n", eight_bit=rng.random() < 0.5))
        assert _body(message) == text + "\n"
        assert _body(message, "html") == html + "\n"


# --- structure ---

PDF = Attachment("report.pdf", "application/pdf", b"%PDF-1.7 \x00\xff\r\n\n\r", None)
IMAGE = Attachment("logo.png", "image/png", bytes(range(256)), "logo@example.org")
SHOWN = "<img src='cid:logo@example.org'>"
RELATED = ("multipart/related", ["text/html", "image/png"])


@pytest.mark.parametrize(
    ("fields", "structure"),
    [
        ({}, "text/plain"),
        ({"body": "t"}, "text/plain"),
        ({"html": "<p>"}, "text/html"),
        ({"body": "", "html": "<p>"}, "text/html"),
        ({"body": "t", "html": "<p>"}, ("multipart/alternative", ["text/plain", "text/html"])),
        (
            {"body": "t", "attachments": (PDF,)},
            ("multipart/mixed", ["text/plain", "application/pdf"]),
        ),
        ({"attachments": (PDF,)}, ("multipart/mixed", ["application/pdf"])),
        ({"html": SHOWN, "attachments": (IMAGE,)}, RELATED),
        (
            {"body": "t", "html": SHOWN, "attachments": (IMAGE,)},
            ("multipart/alternative", ["text/plain", RELATED]),
        ),
        (
            {"body": "t", "html": SHOWN, "attachments": (IMAGE, PDF)},
            (
                "multipart/mixed",
                [("multipart/alternative", ["text/plain", RELATED]), "application/pdf"],
            ),
        ),
        (
            {"html": SHOWN, "attachments": (PDF, IMAGE)},
            ("multipart/mixed", [RELATED, "application/pdf"]),
        ),
        ({"body": "t", "attachments": (IMAGE,)}, ("multipart/mixed", ["text/plain", "image/png"])),
    ],
)
def test_render_parts_are_nested_as_they_belong(fields, structure):
    assert _structure(read(rendered(**fields))) == structure


def test_render_attachments_arrive_octet_for_octet():
    message = read(rendered(body="t", html=SHOWN, attachments=(IMAGE, PDF)))
    (pdf,) = [part for part in message.walk() if part.get_content_type() == "application/pdf"]
    (image,) = [part for part in message.walk() if part.get_content_type() == "image/png"]
    assert (pdf.get_content(), pdf.get_filename(), pdf.get_content_disposition()) == (
        PDF.content,
        "report.pdf",
        "attachment",
    )
    assert (image.get_content(), image.get_filename(), image.get_content_disposition()) == (
        IMAGE.content,
        "logo.png",
        "inline",
    )
    assert image["Content-ID"] == "<logo@example.org>"


@pytest.mark.parametrize("size", [0, 1, 2, 3, 56, 57, 58, 114, 1000])
def test_render_attachment_of_any_size_arrives(size):
    content = os.urandom(size)
    message = read(
        rendered(body="t", attachments=(Attachment("a.bin", "application/octet-stream", content),))
    )
    (part,) = message.iter_attachments()
    assert part.get_content() == content


@pytest.mark.parametrize(
    "filename",
    [
        "a.pdf",
        'a "b" \\ c; d=e.pdf',
        "Rechnung für März.pdf",
        "請求書.pdf",
        "请" * 80 + ".pdf",
        "long name " * 20 + ".pdf",
        "50% 'off'*.pdf",
        "x" * 50,
        "x" * 51,
        "👩‍🚀.png",
    ],
)
def test_render_filename_arrives_as_written(filename):
    raw = rendered(body="t", attachments=(Attachment(filename, "application/pdf", b"x"),))
    (part,) = read(raw).iter_attachments()
    assert part.get_filename() == filename
    assert max(map(len, raw.split(b"\r\n"))) <= 78


@pytest.mark.parametrize("filename", ["a\r\nX-Evil: 1", "a\x00b", 'a"\r\n\r\nbody'])
def test_render_filename_with_a_line_break_makes_no_header(filename):
    (part,) = read(
        rendered(body="t", attachments=(Attachment(filename, "application/pdf", b"x"),))
    ).iter_attachments()
    assert part["X-Evil"] is None
    assert part.get_content() == b"x"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("application/pdf", "application/pdf"),
        ("text/csv; charset=iso-8859-1", 'text/csv; charset="iso-8859-1"'),
        ('text/x-a; a="b; c"; d=e', 'text/x-a; a="b; c"; d="e"'),
        ("", "application/octet-stream"),
        ("pdf", "application/octet-stream"),
        ("text/plain\r\nX-Evil: 1", "application/octet-stream"),
        ("multipart/mixed; boundary=x", "application/octet-stream"),
        ("application/" + "x" * 600, "application/octet-stream"),
    ],
)
def test_render_content_type_is_kept_if_it_is_one(given, expected):
    (part,) = read(
        rendered(body="t", attachments=(Attachment("a", given, b"x"),))
    ).iter_attachments()
    assert part["Content-Type"] == expected


@pytest.mark.parametrize(
    ("content_id", "expected"),
    [
        ("logo", "<logo>"),
        ("<logo@x>", "<logo@x>"),
        ("a b", "<a%20b>"),
        ("ü\r\nX: y", "<%C3%BC%0D%0AX%3A%20y>"),
    ],
)
def test_render_content_id_stands_in_angle_brackets(content_id, expected):
    raw = rendered(html="<p>", attachments=(Attachment("a.png", "image/png", b"x", content_id),))
    assert f"\r\nContent-ID: {expected}\r\n".encode() in raw


def test_render_attached_message_is_not_encoded():
    inner = b"From: a@example.org\nSubject: inner\n\nHello\n"
    raw = rendered(body="t", attachments=(Attachment("mail.eml", "message/rfc822", inner),))
    (part,) = read(raw).iter_attachments()
    assert (part["Content-Transfer-Encoding"], part.get_content()["Subject"]) == ("7bit", "inner")
    assert inner.replace(b"\n", b"\r\n") in raw


@pytest.mark.parametrize(
    ("eight_bit", "kind"), [(False, "application/octet-stream"), (True, "message/rfc822")]
)
def test_render_attached_message_with_eight_bits_needs_8bitmime(eight_bit, kind):
    inner = (
        "From: a@example.org\r\nSubject: inner\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n"
    ).encode()
    raw = rendered(
        body="t",
        attachments=(Attachment("mail.eml", "message/rfc822", inner),),
        eight_bit=eight_bit,
    )
    (part,) = read(raw).iter_attachments()
    assert part.get_content_type() == kind
    assert (inner in raw) == eight_bit
    assert eight_bit or part.get_content() == inner


def test_render_multipart_declares_8bit_within():
    message = read(rendered(body="Grüße", html="<p>x", attachments=(PDF,), eight_bit=True))
    assert [part["Content-Transfer-Encoding"] for part in message.walk()] == [
        "8bit",
        "8bit",
        "8bit",
        "7bit",
        "base64",
    ]


def test_render_boundary_never_stands_in_a_part():
    first = read(rendered(body="t", html="<p>"))
    boundary = first.get_boundary()
    assert boundary
    text = f"--{boundary}\n--{boundary}--\n{boundary[:-1]}\n"
    second = read(rendered(body=text, html="<p>"))
    assert second.get_boundary() != boundary
    assert _body(second) == text
    inner = Attachment("a.eml", "message/rfc822", b"Subject: x\r\n\r\n" + text.encode())
    assert _structure(read(rendered(body="t", html="<p>", attachments=(inner,)))) == (
        "multipart/mixed",
        [("multipart/alternative", ["text/plain", "text/html"]), "message/rfc822"],
    )


def test_render_twice_gives_the_same_bytes():
    fields = {"body": "t", "html": "<p>", "attachments": (IMAGE, PDF)}
    assert rendered(**fields) == rendered(**fields)


def test_render_five_megabytes_arrive_octet_for_octet():
    content = os.urandom(5 << 20)
    message = read(
        rendered(
            body="t", attachments=(Attachment("big.bin", "application/octet-stream", content),)
        )
    )
    (part,) = message.iter_attachments()
    assert part.get_content() == content


def test_copy_with_a_link_has_both_fields_of_one_click_and_else_the_same() -> None:
    plain = rendered(subject="News", body="Grüße\n", headers=(("X-Order", "4711"),))
    url = "https://mail.example.com/unsubscribe/" + "A" * 900
    raw = with_unsubscribe_link(plain, url)
    _check_wire(raw, ascii_only=True)
    message = read(raw)
    assert message["List-Unsubscribe"] == f"<{url}>"  # RFC 2369: in angle brackets, in one piece
    assert message.get_all("List-Unsubscribe-Post") == ["List-Unsubscribe=One-Click"]
    del message["List-Unsubscribe"], message["List-Unsubscribe-Post"]
    assert message.items() == read(plain).items()
    assert raw.endswith(plain)


def test_feedback_id_has_tag_list_client_and_sender_as_far_as_there_are_such() -> None:
    email = new_email(
        "0192f0c1-aaaa-7bbb-8ccc-0123456789ab",
        client_id="shop:4711",
        sender="alice@example.org",
        subject="",
        recipients=(),
        now=DATE,
    )
    assert feedback_id(email, "example") == "shop:example"
    assert feedback_id(replace(email, list="*"), "example") == "shop:example"
    news = replace(email, list="news", tags=("welcome:2", "other"))
    assert feedback_id(news, "example") == "welcome.2:news:shop:example"


def test_feedback_id_is_written_unless_the_client_gives_one() -> None:
    for headers, found in (((), ["a:b"]), ((("feedback-id", "mine"),), ["mine"])):
        content = Content("alice@example.org", to=("bob@example.com",), headers=headers)
        raw = render(content, message_id=MESSAGE_ID, date=DATE, feedback_id="a:b")
        assert read(raw).get_all("Feedback-ID") == found
