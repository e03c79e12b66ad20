"""Keys of DKIM: made, and read from their stored form."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_public_key,
)

from babygun.pki.dkim_keys import NewDkimKey, load_dkim_key, make_ed25519_key, make_rsa_key

TEXT = b"from:ann@example.org\r\n"
DIGEST = sha256(TEXT).digest()


def test_rsa_key_has_2048_bits_and_signs_the_digest_as_its_public_half_says() -> None:
    made = make_rsa_key()
    public = load_der_public_key(b64decode(made.public))
    assert isinstance(public, rsa.RSAPublicKey) and public.key_size == 2048
    signature = load_dkim_key(made.private)(DIGEST)
    public.verify(signature, TEXT, padding.PKCS1v15(), hashes.SHA256())


def test_ed25519_key_is_published_as_32_bytes_and_signs_the_digest_as_text() -> None:
    made = make_ed25519_key()
    public = Ed25519PublicKey.from_public_bytes(b64decode(made.public))
    public.verify(load_dkim_key(made.private)(DIGEST), DIGEST)


@pytest.mark.parametrize("make", [make_rsa_key, make_ed25519_key])
def test_signature_of_the_same_digest_is_the_same(make: Callable[[], NewDkimKey]) -> None:
    made = make()
    assert load_dkim_key(made.private)(DIGEST) == load_dkim_key(made.private)(DIGEST)


def test_key_of_another_kind_is_refused() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    private = other.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(ValueError, match="is of RSA or Ed25519"):
        load_dkim_key(private)
    with pytest.raises(ValueError):
        load_dkim_key(b"no key")
