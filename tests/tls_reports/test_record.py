"""Where domains want reports to go: their DNS records, well and badly written."""

from __future__ import annotations

import pytest

from babygun.tls_reports.record import ReportUri, understood, uris_of

MAIL, WEB = "mailto:tls@a.example", "https://a.example/tls?x=1"


@pytest.mark.parametrize(
    ("texts", "uris"),
    [
        ([f"v=TLSRPTv1;rua={MAIL}"], (MAIL,)),
        ([f"v=TLSRPTv1; rua={MAIL} , {WEB} ;"], (MAIL, WEB)),
        ([f"v=TLSRPTv1 ; more=1; rua={WEB}"], (WEB,)),
        ([f"v=TLSRPTv1; rua={MAIL},{MAIL},ftp://a.example,{WEB}"], (MAIL, WEB)),
        (["other", f"v=TLSRPTv1;rua={MAIL}"], (MAIL,)),
        ([f"v=TLSRPTv1;rua={MAIL}", f"v=TLSRPTv1;rua={WEB}"], ()),
        ([f"v=TLSRPTv2;rua={MAIL}"], ()),
        ([f"v=tlsrptv1;rua={MAIL}"], ()),
        ([f"rua={MAIL}; v=TLSRPTv1"], ()),
        (["v=TLSRPTv1"], ()),
        ([f"v=TLSRPTv1{' ' * 60_000}x"], ()),  # many spaces keep nobody busy
        ([f"v=TLSRPTv1;rua={WEB}{' ' * 60_000}x"], ()),
        ([f"v=TLSRPTv1; rua=mailto:tls@[127.0.0.1],{MAIL}"], (MAIL,)),
        (["v=TLSRPTv1;rua="], ()),
        ([], ()),
        (["v=TLSRPTv1;rua=" + ",".join(f"mailto:{n}@a.example" for n in range(50))], None),
    ],
)
def test_record_names_the_places(texts: list[str], uris: tuple[str, ...] | None) -> None:
    found = uris_of(texts)
    assert len(found) == 10 if uris is None else found == uris


@pytest.mark.parametrize(
    ("uri", "is_understood"),
    [
        ("mailto:tls%2Brpt@a.example?subject=x", ReportUri("mailto", "tls+rpt@a.example")),
        ("MAILTO:tls@a.example", ReportUri("mailto", "tls@a.example")),
        ("mailto:nobody", None),
        ("mailto:", None),
        (WEB, ReportUri("https", WEB)),
        ("https://a.example:8443/", ReportUri("https", "https://a.example:8443/")),
        ("http://a.example/", None),
        ("https:///path", None),
        ("https://a.example:99999/", None),
        ("https://[::1]/", None),
        ("https://127.0.0.1/", None),
        ("https://127.0.0.1./", None),
        ("https://127.1/", None),
        ("https://2130706433/", None),
        ("https://%31%32%37.0.0.1/", None),
        ("https://[v1.x]/", None),
        ("https://localhost/", None),
        ("https://0x7f.0.0.0x1/", None),
        ("https://a.xn--p1ai./", ReportUri("https", "https://a.xn--p1ai./")),
        ("mailto:tls@[127.0.0.1]", None),
        ("https://[bad/", None),
        ("https://ä.example/", None),
        ("https://a.example/\r\nx", None),
    ],
)
def test_place_is_an_address_or_a_host_with_a_name(
    uri: str, is_understood: ReportUri | None
) -> None:
    assert understood(uri) == is_understood
