"""How many reports of a day a receiver gets."""

from __future__ import annotations

from babygun.tls_reports.receivers import Receivers
from babygun.tls_reports.record import ReportUri


def mail(address: str) -> ReportUri:
    return ReportUri("mailto", address)


def test_mailbox_counts_in_all_its_spellings() -> None:
    found = Receivers()
    taken = [found.add(mail(f"Ann+{number}@a.example")) for number in range(101)]
    assert taken[:100] == [""] * 100
    assert taken[100] == "100 reports of this day go to ann@a.example already"
    assert found.add(mail("bob@a.example")) == ""


def test_hosts_and_mail_domains_get_more_than_a_mailbox() -> None:
    found = Receivers()
    for number in range(1000):
        assert found.add(mail(f"x{number}@a.example")) == ""
        assert found.add(ReportUri("https", f"https://a.example:{number + 1}/{number}")) == ""
    assert "@a.example already" in found.add(mail("y@a.example"))
    assert "a.example already" in found.add(ReportUri("https", "https://A.example./"))
    assert found.add(ReportUri("https", "https://b.example/")) == ""
