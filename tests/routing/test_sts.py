"""MTA-STS: what a TXT record announces, what a policy says, and which hosts it names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babygun.routing.sts import InvalidPolicy, StsPolicy, host_patterns, parse_policy, policy_id

GOOD = "version: STSv1\r\nmode: enforce\r\nmx: mx.example.com\r\nmax_age: 86400\r\n"


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        (["v=STSv1;id=a1"], "a1"),
        (["v=STSv1 ; other=x; id=a1 ;"], "a1"),
        (["v=spf1 -all", "v=STSv1; id=a1"], "a1"),
        ([], ""),
        (["v=spf1 -all"], ""),
        (["v=STSv1; id=a1", "v=STSv1; id=a2"], ""),  # RFC 8461, 3.1: as if there was none
        (["v=STSv1"], ""),
        (["v=STSv10; id=a1"], ""),
        (["id=a1; v=STSv1"], ""),
        (["v=STSv1; id="], ""),
        (["v=STSv1; id=with-hyphen"], ""),
        ([f"v=STSv1; id={'a' * 33}"], ""),
    ],
)
def test_id_is_that_of_the_only_record_of_this_version(texts: list[str], found: str) -> None:
    assert policy_id(texts) == found


def test_policy_has_mode_hosts_and_age() -> None:
    assert parse_policy(GOOD) == StsPolicy("enforce", ("mx.example.com",), 86400)


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        (GOOD.replace("\r\n", "\n"), StsPolicy("enforce", ("mx.example.com",), 86400)),
        (GOOD + "mode: none\r\n", StsPolicy("enforce", ("mx.example.com",), 86400)),
        (GOOD + "later: x\r\n", StsPolicy("enforce", ("mx.example.com",), 86400)),
        (GOOD.replace("86400", "9999999999"), StsPolicy("enforce", ("mx.example.com",), 31557600)),
        (
            "version:STSv1\nmode:testing\nmx:*.Example.COM.\nmx: 192.0.2.1\nmax_age:1",
            StsPolicy("testing", ("*.example.com",), 1),
        ),
        ("version: STSv1\nmode: none\nmax_age: 0", StsPolicy("none", (), 0)),
        (
            GOOD + "mx: mx.bücher.example",
            StsPolicy("enforce", ("mx.example.com", "mx.xn--bcher-kva.example"), 86400),
        ),
    ],
)
def test_policy_may_be_written_in_several_ways(text: str, policy: StsPolicy | None) -> None:
    found = parse_policy(text)
    assert found == (
        policy or StsPolicy("enforce", (*found.mx[:1], "mx.xn--bcher-kva.example"), 86400)
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "version"),
        ("<html>", "version"),
        (GOOD.replace("STSv1", "STSv2"), "version"),
        (GOOD.replace("enforce", "strict"), "mode"),
        (GOOD.replace("mode: enforce\r\n", ""), "mode"),
        (GOOD.replace("86400", "a day"), "max_age"),
        (GOOD.replace("86400", "-1"), "max_age"),
        (GOOD.replace("max_age: 86400", ""), "max_age"),
        (GOOD.replace("mx: mx.example.com", ""), "names a host"),
        (GOOD.replace("mx.example.com", "192.0.2.1"), "names a host"),
        (GOOD.replace("mx.example.com", "*"), "names a host"),
        (GOOD.replace("mx.example.com", "mx*.example.com"), "names a host"),
    ],
)
def test_policy_that_lacks_something_is_refused(text: str, why: str) -> None:
    with pytest.raises(InvalidPolicy, match=why):
        parse_policy(text)


@pytest.mark.parametrize(
    ("pattern", "host", "named"),
    [
        ("mx.example.com", "MX.example.com.", True),
        ("mx.example.com", "mx2.example.com", False),
        ("*.example.com", "mx.example.com", True),
        ("*.example.com", "a.mx.example.com", False),  # RFC 8461, 4.1: one label only
        ("*.example.com", "example.com", False),
        ("*.example.com", "mx.example.com.evil.example", False),
    ],
)
def test_pattern_names_hosts(pattern: str, host: str, named: bool) -> None:
    assert StsPolicy("enforce", host_patterns([pattern]), 0).names(host) is named


def test_lines_of_a_policy_make_the_same_policy() -> None:
    policy = StsPolicy("testing", ("a.example", "*.b.example"), 604800)
    assert parse_policy("\n".join(policy.lines())) == policy


@given(st.text(max_size=400) | st.text("versionmdxag_:STv1 \r\n*.0", max_size=200))
def test_any_text_is_a_policy_or_is_refused(text: str) -> None:
    try:
        parse_policy(text)
    except InvalidPolicy as error:
        assert len(str(error)) < 200
    policy_id([text])
