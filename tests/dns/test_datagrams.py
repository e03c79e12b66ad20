"""One question in one datagram: which answers are taken, and which ones are plain."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from babygun.dns import LookupFailed, Resolver
from babygun.dns.datagrams import Question
from tests.support.dns_servers import scripted

NAME = dns.name.from_text("a.example.")


def answer_to_a(*records: tuple[str, str, str], authority: str = "") -> dns.message.Message:
    """An answer about the addresses of a.example; records: owner, kind and text."""
    answer = dns.message.make_response(dns.message.make_query(NAME, "A"))
    for owner, kind, text in records:
        answer.answer.append(dns.rrset.from_text(owner, 60, "IN", kind, text))
    if authority:
        answer.authority.append(dns.rrset.from_text("example.", 900, "IN", "SOA", authority))
    return answer


def read(answer: dns.message.Message) -> tuple[list[str], int] | None:
    found = Question(NAME, dns.rdatatype.A).plain_answer(answer.to_wire())
    return found and ([each.to_text() for each in found.records], found.ttl)


def test_plain_answer_has_the_records_and_their_ttl() -> None:
    answer = answer_to_a(("a.example.", "A", "192.0.2.1"), ("a.example.", "A", "192.0.2.2"))
    assert read(answer) == (["192.0.2.1", "192.0.2.2"], 60)


def test_answer_without_records_holds_as_long_as_the_zone_says() -> None:
    answer = answer_to_a(authority="ns.example. host.example. 1 3600 600 86400 300")
    assert read(answer) == ([], 300)


def test_answer_with_an_alias_is_not_plain() -> None:
    answer = answer_to_a(("a.example.", "CNAME", "b.example."), ("b.example.", "A", "192.0.2.1"))
    assert read(answer) is None


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.NXDOMAIN])
def test_answer_with_an_error_is_not_plain(rcode: dns.rcode.Rcode) -> None:
    answer = answer_to_a(("a.example.", "A", "192.0.2.1"))
    answer.set_rcode(rcode)
    assert read(answer) is None


def test_cut_answer_is_not_plain() -> None:
    answer = answer_to_a(("a.example.", "A", "192.0.2.1"))
    answer.flags |= dns.flags.TC
    assert read(answer) is None


def test_referral_is_not_plain() -> None:
    answer = answer_to_a()
    answer.authority.append(dns.rrset.from_text("example.", 900, "IN", "NS", "ns.example."))
    assert read(answer) is None


async def test_answer_to_another_question_is_not_taken() -> None:
    def forged(query: dns.message.QueryMessage, _: bool) -> dns.message.Message:
        other = dns.message.make_query("b.example", "A", id=query.id)
        answer = dns.message.make_response(other)
        answer.answer.append(dns.rrset.from_text("b.example.", 60, "IN", "A", "192.0.2.9"))
        return answer

    async with scripted(forged) as server:
        with pytest.raises(LookupFailed):
            await Resolver([server], timeout=0.3).lookup("a.example", "A")
