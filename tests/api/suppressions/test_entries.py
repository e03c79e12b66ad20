"""What goes on a list, from the fields of a row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from babygun.api.suppressions.entries import Defaults, entry_of
from babygun.email.suppression import SuppressionReason

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def ends(reason: SuppressionReason) -> datetime | None:
    return NOW + timedelta(days=90) if reason == "hard_bounce" else None


DEFAULTS = Defaults(NOW, ends, by="shop")


def test_row_with_an_address_alone_is_put_on_the_list_of_all_mail_by_hand() -> None:
    new = entry_of({"email": "Ann <Ann@Example.org>"}, DEFAULTS)
    assert (new.address, new.list) == ("Ann@example.org", "*")
    assert (new.suppression.reason, new.suppression.since) == ("manual", NOW)
    assert (new.suppression.until, new.suppression.by) == (None, "shop")


@pytest.mark.parametrize(
    ("word", "reason"),
    [("BOUNCE", "hard_bounce"), ("Hard-Bounce", "hard_bounce"), ("complaint", "complaint")],
)
def test_reasons_of_other_services_are_known(word: str, reason: str) -> None:
    new = entry_of({"email": "ann@example.org", "reason": word}, DEFAULTS)
    assert new.suppression.reason == reason
    assert (new.suppression.until is None) == (reason == "complaint")


def test_reason_and_list_for_all_rows_take_the_place_of_what_rows_say() -> None:
    given = Defaults(NOW, ends, "shop", reason="hard_bounce", list="news")
    row = {"email": "ann@example.org", "reason": "550 no such user", "list": "no list"}
    new = entry_of(row, given)
    assert (new.suppression.reason, new.list) == ("hard_bounce", "news")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2011-10-21T11:02:55Z", datetime(2011, 10, 21, 11, 2, 55, tzinfo=UTC)),
        ("2011-10-21 11:02:55", datetime(2011, 10, 21, 11, 2, 55, tzinfo=UTC)),
        ("2011-10-21", datetime(2011, 10, 21, tzinfo=UTC)),
        ("Fri, 21 Oct 2011 11:02:55 GMT", datetime(2011, 10, 21, 11, 2, 55, tzinfo=UTC)),
        ("1319194975", datetime(2011, 10, 21, 11, 2, 55, tzinfo=UTC)),
        ("2050-01-01T00:00:00Z", NOW),
    ],
)
def test_time_since_when_may_be_written_in_several_ways(text: str, at: datetime) -> None:
    new = entry_of({"email": "ann@example.org", "since": text}, DEFAULTS)
    assert new.suppression.since == at


def test_reply_of_a_bounce_goes_along_and_its_length_is_bounded() -> None:
    row = {"email": "ann@example.org", "status_code": "550", "enhanced_code": "5.1.1"}
    kept = entry_of(row | {"reply": "x" * 5000}, DEFAULTS).suppression
    assert (kept.status_code, kept.enhanced_code, len(kept.reply or "")) == (550, "5.1.1", 512)
    odd = entry_of(row | {"status_code": "soon", "enhanced_code": "bad"}, DEFAULTS).suppression
    assert (odd.status_code, odd.enhanced_code) == (None, None)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({}, "no address"),
        ({"email": "ann"}, "no @"),
        ({"reason": "550 no such user"}, "give one for all rows"),
        ({"list": "a/b"}, "list"),
        ({"until": "2029-12-31T00:00:00Z"}, "in the past"),
        ({"until": "soon"}, "until is no time"),
        ({"since": "999999999999999"}, "since is no time"),
        ({"since": "9999-99-99"}, "since is no time"),
    ],
)
def test_row_that_makes_no_sense_is_refused_with_what_is_wrong(
    row: dict[str, str], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        entry_of(({"email": "ann@example.org"} if row else {}) | row, DEFAULTS)
