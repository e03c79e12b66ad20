"""TLSA records against chains of certificates, without a network."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from babygun.pki.dane import NotNamed, Tlsa, check_chain

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HOST = "mx1.example.org"
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class Made(NamedTuple):
    certificate: x509.Certificate
    key: Key

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def spki(self) -> bytes:
        public = self.certificate.public_key()
        return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def make(
    name: str,
    by: Made | None = None,
    *,
    ca: bool = True,
    below: int | None = None,
    hosts: tuple[str, ...] = (),
    ends: timedelta = DAY,
    key: Key | None = None,
    signs: bool = True,
) -> Made:
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(
        by.certificate.subject if by else subject,
        subject,
        key.public_key(),
        x509.random_serial_number(),
        NOW - DAY,
        NOW + ends,
    ).add_extension(x509.BasicConstraints(ca, below), True)
    if ca:
        use = x509.KeyUsage(True, False, False, False, False, signs, True, False, False)
        builder = builder.add_extension(use, True)
    if hosts:
        names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
        builder = builder.add_extension(names, False)
    signer = by.key if by else key
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Made(builder.sign(signer, algorithm), key)


def record(usage: int, selector: int, matching: int, of: Made) -> Tlsa:
    data = of.spki if selector else of.der
    digest = {0: bytes, 1: sha256, 2: sha512}[matching]
    return usage, selector, matching, digest(data)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def sha512(data: bytes) -> bytes:
    return hashlib.sha512(data).digest()


ROOT = make("root")
MIDDLE = make("middle", ROOT, below=0)
SERVER = make("server", MIDDLE, ca=False, hosts=(HOST,))
CHAIN = [SERVER.der, MIDDLE.der, ROOT.der]


def check(records: list[Tlsa], chain: list[bytes], *names: str) -> str:
    return check_chain(records, chain, names or (HOST,), NOW)


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
def test_record_names_the_servers_certificate_or_key(selector: int, matching: int) -> None:
    right = record(3, selector, matching, SERVER)
    assert check([right], CHAIN) == "dane_ee"
    assert check([record(3, 1, 1, ROOT), right], CHAIN[:1]) == "dane_ee"
    with pytest.raises(NotNamed, match="no TLSA record names the server's certificate"):
        check([record(3, selector, matching, MIDDLE)], CHAIN)


def test_names_and_dates_do_not_count_for_the_servers_own_certificate() -> None:
    old = make("old", ca=False, hosts=("other.example",), ends=-DAY / 2)
    assert check([record(3, 1, 1, old)], [old.der]) == "dane_ee"


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048), None])
def test_key_of_any_kind_is_found_in_the_certificate(key: Key | None) -> None:
    made = make("any", key=key or ed25519.Ed25519PrivateKey.generate())
    assert check([record(3, 1, 0, made)], [made.der]) == "dane_ee"


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
@pytest.mark.parametrize("authority", [MIDDLE, ROOT])
def test_record_names_an_authority_of_the_chain(
    selector: int, matching: int, authority: Made
) -> None:
    assert check([record(2, selector, matching, authority)], CHAIN) == "dane_ta"


def test_whole_authority_of_a_record_need_not_be_in_the_chain() -> None:
    assert check([record(2, 0, 0, ROOT)], CHAIN[:2]) == "dane_ta"
    with pytest.raises(NotNamed, match="no TLSA record names an authority"):
        check([record(2, 0, 1, ROOT)], CHAIN[:2])


def test_certificate_of_the_chain_that_can_not_be_read_is_left_out() -> None:
    chain = [SERVER.der, b"\x30\x03abc", *CHAIN[1:]]
    assert check([record(2, 1, 1, ROOT)], chain) == "dane_ta"


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@pytest.mark.parametrize("number", [0, 1, 2])
def test_chain_with_a_changed_byte_is_never_taken_and_never_crashes(number: int) -> None:
    own, root = record(3, 0, 1, SERVER), record(2, 0, 1, ROOT)
    for place in range(0, len(CHAIN[number]), 2):
        changed = bytearray(CHAIN[number])
        changed[place] ^= 1 << place // 2 % 8
        for der in (bytes(changed), CHAIN[number][:place]):
            chain = [*CHAIN[:number], der, *CHAIN[number + 1 :]]
            with pytest.raises(NotNamed):
                check([root], chain)
            if number == 0:
                with pytest.raises(NotNamed):
                    check([own], chain)
            else:
                assert check([root, own], chain) == "dane_ee"


def test_order_of_the_chain_and_strangers_in_it_do_not_matter() -> None:
    stranger = make("stranger")
    chain = [SERVER.der, stranger.der, ROOT.der, MIDDLE.der, SERVER.der]
    assert check([record(2, 1, 1, ROOT)], chain) == "dane_ta"
    with pytest.raises(NotNamed, match="no TLSA record names an authority"):
        check([record(2, 1, 1, stranger)], chain)


def test_authority_that_did_not_sign_is_not_enough() -> None:
    forged = make("server", make("middle"), ca=False, hosts=(HOST,))  # another key, the same name
    with pytest.raises(NotNamed, match="no TLSA record names an authority"):
        check([record(2, 1, 1, ROOT)], [forged.der, MIDDLE.der, ROOT.der])


@pytest.mark.parametrize(
    "between",
    [
        make("between", ROOT, ca=False),  # a server's certificate signs another one
        make("between", ROOT, signs=False),
    ],
    ids=["no authority", "may not sign"],
)
def test_certificate_that_may_not_sign_others_is_no_authority(between: Made) -> None:
    server = make("server", between, ca=False, hosts=(HOST,))
    with pytest.raises(NotNamed, match="no TLSA record names an authority"):
        check([record(2, 1, 1, ROOT)], [server.der, between.der, ROOT.der])


def test_authority_signs_no_longer_chain_than_it_may() -> None:
    root = make("root", below=0)
    middle = make("middle", root)
    server = make("server", middle, ca=False, hosts=(HOST,))
    chain = [server.der, middle.der, root.der]
    assert check([record(2, 1, 1, middle)], chain) == "dane_ta"
    with pytest.raises(NotNamed, match="no TLSA record names an authority"):
        check([record(2, 1, 1, root)], chain)


@pytest.mark.parametrize(
    ("own", "name", "fits"),
    [
        ("*.example.org", HOST, True),
        ("MX1.Example.Org", HOST, True),
        ("*.example.org", "a.mx1.example.org", False),
        ("*.example.org", "example.org", False),
        ("mx*.example.org", HOST, False),
        ("example.org", HOST, False),
        ("*.org", HOST, False),
    ],
)
def test_authoritys_certificate_must_name_the_host(own: str, name: str, fits: bool) -> None:
    server = make("server", MIDDLE, ca=False, hosts=(own,))
    chain = [server.der, *CHAIN[1:]]
    if fits:
        assert check([record(2, 1, 1, ROOT)], chain, "other.example", name) == "dane_ta"
    else:
        with pytest.raises(NotNamed, match="does not name") as found:
            check([record(2, 1, 1, ROOT)], chain, name)
        assert found.value.about == "names"


def test_common_name_counts_where_the_certificate_has_no_other() -> None:
    server = make(HOST, MIDDLE, ca=False)
    assert check([record(2, 1, 1, ROOT)], [server.der, *CHAIN[1:]]) == "dane_ta"
    server = make(HOST, MIDDLE, ca=False, hosts=("other.example",))
    with pytest.raises(NotNamed, match="does not name"):
        check([record(2, 1, 1, ROOT)], [server.der, *CHAIN[1:]])


@pytest.mark.parametrize("expired", ["server", "middle", "root"])
def test_expired_certificate_of_the_chain_is_refused(expired: str) -> None:
    ends = {name: -DAY / 2 if name == expired else DAY for name in ("server", "middle", "root")}
    root = make("root", ends=ends["root"])
    middle = make("middle", root, ends=ends["middle"])
    server = make("server", middle, ca=False, hosts=(HOST,), ends=ends["server"])
    with pytest.raises(NotNamed, match="expired") as found:
        check([record(2, 1, 1, root)], [server.der, middle.der, root.der])
    assert found.value.about == "dates"


@pytest.mark.parametrize(
    "der", [b"", b"\x30", b"\x30\x82", b"\x30\x84\xff\xff\xff\xff", SERVER.der[:200], b"x" * 300]
)
def test_certificate_that_can_not_be_read_is_refused(der: bytes) -> None:
    for known in (record(3, 1, 1, SERVER), record(2, 1, 1, ROOT), record(2, 0, 0, ROOT)):
        with pytest.raises(NotNamed):
            check([known], [der, *CHAIN[1:]])


def test_server_without_a_certificate_is_refused() -> None:
    with pytest.raises(NotNamed, match="no certificate"):
        check([record(3, 1, 1, SERVER)], [])
