"""Files of suppressions, cut into rows: CSV and NDJSON, good and bad."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from babygun.api.suppressions.csv_rows import LONGEST
from babygun.api.suppressions.row import BadFile, BadRow, Format, Row
from babygun.api.suppressions.rows import RowReader


def read(data: bytes | str, form: Format = "csv", *, step: int = 7) -> list[Row | BadRow]:
    """All rows of a file that arrives in pieces."""
    raw = data.encode() if isinstance(data, str) else data
    reader = RowReader(form)
    rows = [row for at in range(0, len(raw), step) for row in reader.feed(raw[at : at + step])]
    return [*rows, *reader.end()]


def emails(rows: Iterable[Row | BadRow]) -> list[str]:
    return [row.fields["email"] for row in rows if isinstance(row, Row)]


def faults(rows: Iterable[Row | BadRow]) -> dict[int, str]:
    return {row.line: row.detail for row in rows if isinstance(row, BadRow)}


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_csv_is_read_whatever_its_line_ends_quotes_and_byte_order_mark(step: int) -> None:
    text = '\ufeffEmail,Reason,"List"\r\n"ann@example.org",manual,news\r\n\r\nbob@example.org,,\r\n'
    assert read(text, step=step) == [
        Row(2, {"email": "ann@example.org", "reason": "manual", "list": "news"}),
        Row(4, {"email": "bob@example.org"}),
    ]
    assert read(text.replace("\r\n", "\n").rstrip("\n"), step=step)[-1] == Row(
        4, {"email": "bob@example.org"}
    )


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_of_a_spreadsheet_may_have_another_delimiter(delimiter: str) -> None:
    text = "email,reason\nann@example.org,complaint\n".replace(",", delimiter)
    assert read(text) == [Row(2, {"email": "ann@example.org", "reason": "complaint"})]


def test_addresses_alone_one_a_line_are_a_file_too() -> None:
    rows = read("ann@example.org\nbob@example.org,BOUNCE\n")
    assert rows == [
        Row(1, {"email": "ann@example.org"}),
        Row(2, {"email": "bob@example.org", "reason": "BOUNCE"}),
    ]


def test_columns_of_other_services_are_known_and_the_others_named() -> None:
    """Mailgun's bounces and unsubscribes, SES' list."""
    reader = RowReader("csv")
    rows = list(
        reader.feed(
            b"address,code,error,created_at\n"
            b'ann@example.org,550,"no such user, sorry","Fri, 21 Oct 2011 11:02:55 GMT"\n'
        )
    )
    since = "Fri, 21 Oct 2011 11:02:55 GMT"
    assert rows == [Row(2, {"email": "ann@example.org", "since": since})]
    assert reader.ignored == ["code", "error"]
    assert read("address,tags,created_at\nann@example.org,*,\n") == [
        Row(2, {"email": "ann@example.org", "list": "*"})
    ]
    line = json.dumps({"EmailAddress": "ann@example.org", "Reason": "BOUNCE", "Other": {}})
    assert read(line, "ndjson") == [Row(1, {"email": "ann@example.org", "reason": "BOUNCE"})]


def test_cell_with_line_breaks_is_one_row() -> None:
    rows = read('email,reply\nann@example.org,"550 no\nsuch ""user"""\nbob@example.org,x\n')
    assert rows == [
        Row(2, {"email": "ann@example.org", "reply": '550 no\nsuch "user"'}),
        Row(4, {"email": "bob@example.org", "reply": "x"}),
    ]


def test_quotation_mark_that_nobody_closes_spoils_its_own_line_only() -> None:
    many = "".join(f"u{number}@example.org,x\n" for number in range(100))
    for bad in ('"ann@example.org,x', 'ann"x@example.org,"y', 'a"nn@example.org,x'):
        rows = read(f"email,reply\n{bad}\n{many}", step=50)
        assert len(emails(rows)) >= 100 and set(faults(rows)) <= {2}
        rows = read(f"email,reply\n{bad}\nbob@example.org,x\n{bad}\ncy@example.org,x")
        assert emails(rows)[-1] == "cy@example.org" and "bob@example.org" in emails(rows)
        assert set(faults(rows)) <= {2, 4}


def test_bad_rows_are_named_by_their_line_and_the_good_ones_are_kept() -> None:
    data = (
        b"email,reason\nann@example.org,manual,more\nj\xf6rg@example.org,manual\n"
        + b"x" * (3 * LONGEST)
        + b"\nbob@example.org,manual\n"
    )
    for step in (100, len(data)):
        rows = read(data, step=step)
        assert emails(rows) == ["bob@example.org"]
        found = faults(rows)
        assert "3 cells, not 2" in found[2] and "UTF-8" in found[3] and "bytes" in found[4]
        assert rows[-1] == Row(5, {"email": "bob@example.org", "reason": "manual"})


def test_memory_of_a_line_without_an_end_is_bounded() -> None:
    reader = RowReader("ndjson")
    found = [row for _ in range(200) for row in reader.feed(b"x" * 5000)]
    assert len(found) == 1 and len(reader._rest) <= LONGEST
    assert list(reader.feed(b'y\n{"email": "ann@example.org"}\n')) == [
        Row(2, {"email": "ann@example.org"})
    ]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"name,age\nann,3\n", "no column email"),
        (b"email,address\n", "mean email"),
        ("email,reason\nann@example.org,x\n".encode("utf-16"), "UTF-16"),
        ("E-Mail,Gr\u00fcnde\n".encode("latin-1"), "UTF-8"),
        (b'"email,reason\n', "quotation mark"),
    ],
)
def test_file_that_is_of_no_use_is_refused_as_a_whole(data: bytes, said: str) -> None:
    with pytest.raises(BadFile, match=said):
        read(data)


def test_lines_that_are_no_json_object_of_texts_are_named() -> None:
    lines = [
        '{"email": "ann@example.org", "status_code": 550, "reply": null, "list": ""}',
        "[1]",
        "{",
        '{"email": ["ann@example.org"]}',
        '{"email": "a@example.org", "address": "b@example.org"}',
        '{"email": true}',
        "[" * 5000,
        "",
        '{"email": "bob@example.org"}',
    ]
    rows = read("\n".join(lines), "ndjson", step=1000)
    assert rows[0] == Row(1, {"email": "ann@example.org", "status_code": "550"})
    assert rows[-1] == Row(9, {"email": "bob@example.org"})
    assert set(faults(rows)) == {2, 3, 4, 5, 6, 7}
