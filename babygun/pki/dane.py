"""Whether a server's certificates are those that TLSA records name (RFC 7671, RFC 7672). Pure.

Usage 3 (DANE-EE) names the server's own certificate or key: its names and dates do not count. Usage
2 (DANE-TA) names an authority. It must have signed the server's certificate, directly or through a
chain, and names and dates count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from babygun.errors import BabygunError

# Usage, selector, matching type and data of a TLSA record (RFC 6698, 2.1).
Tlsa = tuple[int, int, int, bytes]

_AUTHORITY, _SERVER = 2, 3  # usages
_WHOLE = 0  # a selector; else the key alone
_EXACT = 0  # a matching type
_HASHES = {1: hashlib.sha256, 2: hashlib.sha512}
_VERSION = 0xA0  # the tag of a certificate's first field, which may be absent
_LONG = 0x80  # of an element's length: the next bytes say it
_MOST = 10  # certificates of a chain that are looked at
# What the library raises for a certificate that breaks its rules.
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


class NotNamed(BabygunError):
    """No TLSA record names the certificates. The text says why not.

    ``about``: what the records do not fit: the certificate's dates, its names, or all of it.
    """

    def __init__(self, text: str, about: Literal["dates", "names", "all"] = "all") -> None:
        super().__init__(text)
        self.about = about


def check_chain(
    records: Sequence[Tlsa], chain: Sequence[bytes], names: Sequence[str], now: datetime
) -> Literal["dane_ee", "dane_ta"]:
    """How the records name a server's certificates. Raises NotNamed.

    ``chain``: DER, the server's own first. ``names``: in lower case; DANE-TA wants one of them.
    """
    if not chain:
        raise NotNamed("the server showed no certificate")
    if _any_names([each for each in records if each[0] == _SERVER], chain[0]):
        return "dane_ee"
    authorities = [each for each in records if each[0] == _AUTHORITY]
    if not authorities:
        raise NotNamed("no TLSA record names the server's certificate")
    try:
        _check_authority(authorities, chain[:_MOST], names, now)
    except _UNREADABLE as error:
        raise NotNamed(f"the certificate can't be read: {error}") from None
    return "dane_ta"


def _any_names(records: Sequence[Tlsa], certificate: bytes) -> bool:
    return any(_names(record, certificate) for record in records)


def _names(record: Tlsa, certificate: bytes) -> bool:
    """Whether a record is for a certificate, given in DER."""
    _, selector, matching, data = record
    selected = certificate if selector == _WHOLE else _public_key(certificate)
    if matching == _EXACT:
        return selected == data
    return matching in _HASHES and _HASHES[matching](selected).digest() == data


def _check_authority(
    records: Sequence[Tlsa], chain: Sequence[bytes], names: Sequence[str], now: datetime
) -> None:
    """Follows the chain up to an authority that a record names. Raises NotNamed, _UNREADABLE.

    Others than the server's own are left out if they can't be read.
    """
    found, named = [x509.load_der_x509_certificate(chain[0])], [_any_names(records, chain[0])]
    whole = [each[3] for each in records if each[1:3] == (_WHOLE, _EXACT)]
    for der in (*chain[1:], *whole):
        with suppress(NotNamed, *_UNREADABLE):
            certificate, is_named = x509.load_der_x509_certificate(der), _any_names(records, der)
            found.append(certificate)
            named.append(is_named)
    rest = sorted(range(1, len(found)), key=lambda index: not named[index])
    current = 0
    below = 0  # authorities under the next one
    while True:
        certificate = found[current]
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise NotNamed("a certificate of the chain has expired, or is not valid yet", "dates")
        if named[current]:
            break
        signers = (index for index in rest if _signed(certificate, found[index], below))
        above = next(signers, None)
        if above is None:
            raise NotNamed("no TLSA record names an authority of the server's certificate")
        rest.remove(above)
        below += 1
        current = above
    if not any(_fits(own, name) for own in _names_of(found[0]) for name in names):
        raise NotNamed(f"the certificate does not name {' or '.join(names)}", "names")


def _signed(certificate: x509.Certificate, by: x509.Certificate, below: int) -> bool:
    """Whether an authority signed a certificate. ``below``: authorities under it in the chain."""
    try:
        certificate.verify_directly_issued_by(by)
        constraints = by.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (*_UNREADABLE, InvalidSignature, x509.ExtensionNotFound):
        return False
    most = constraints.path_length
    if not constraints.ca or (most is not None and most < below):
        return False
    try:
        return by.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


def _names_of(certificate: x509.Certificate) -> list[str]:
    """The host names of a certificate; its common name only where it has none (RFC 6125, 6.4.4)."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = extension.value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = []
    if not names:
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        names = [str(each.value) for each in common]
    return [name.lower().removesuffix(".") for name in names]


def _fits(own: str, name: str) -> bool:
    """Whether a certificate's name is ``name``. Its first label may be ``*`` for any one label."""
    if own.startswith("*."):
        return own[1:] == name[name.find(".") :]
    return own == name


def _public_key(certificate: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a certificate, byte for byte (RFC 5280, 4.1). Raises NotNamed.

    It is read by hand: keys of any kind count, also those that no library knows.
    """
    try:
        signed = next(_parts(certificate, *_value(certificate, 0, len(certificate))))
        fields = list(_parts(certificate, *_value(certificate, *signed)))
        has_version = certificate[fields[0][0]] == _VERSION
        start, end = fields[6 if has_version else 5]
        return certificate[start:end]
    except (IndexError, StopIteration):
        raise NotNamed("the certificate can't be read") from None


def _parts(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where each element of DER between two places begins and ends. Raises IndexError."""
    while start < end:
        _, after = _value(data, start, end)
        yield start, after
        start = after


def _value(data: bytes, start: int, end: int) -> tuple[int, int]:
    """Where the value of the element at ``start`` begins and ends. Raises IndexError."""
    length, begins = data[start + 1], start + 2
    if length & _LONG:
        size = length & ~_LONG
        length, begins = int.from_bytes(data[begins : begins + size]), begins + size
    if begins + length > end:
        raise IndexError("cut off")
    return begins, begins + length
