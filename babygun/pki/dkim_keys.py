"""The keys of DKIM, made and loaded: RSA of 2048 bits, and Ed25519 (RFC 8463)."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa, utils

# RFC 8301: 1024 is too short, and what is longer than 2048 does not fit one string of a TXT record.
_RSA_BITS, _RSA_EXPONENT = 2048, 65537
_PADDING, _DIGEST = padding.PKCS1v15(), utils.Prehashed(hashes.SHA256())


class NewDkimKey(NamedTuple):
    """``private``: PKCS #8, in DER. ``public``: base64, as p= of the DNS record has it."""

    private: bytes
    public: str


def make_rsa_key() -> NewDkimKey:
    """It takes some 0.1 s of a core: call it in a thread."""
    key = rsa.generate_private_key(_RSA_EXPONENT, _RSA_BITS)
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return NewDkimKey(_private(key), base64.b64encode(public).decode())


def make_ed25519_key() -> NewDkimKey:
    """p= has the key's bare 32 bytes (RFC 8463, 4.2)."""
    key = ed25519.Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    return NewDkimKey(_private(key), base64.b64encode(public).decode())


def load_dkim_key(private: bytes) -> Callable[[bytes], bytes]:
    """What signs a SHA-256 digest with a private key (PKCS #8, in DER).

    We made the key, and it was sealed since. So the checks of an RSA key are left out: they take
    30 ms. Raises ValueError for what is no such key.
    """
    key = serialization.load_der_private_key(private, None, unsafe_skip_rsa_key_validation=True)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign  # the digest stands for the text (RFC 8463, 3)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError(f"a DKIM key is of RSA or Ed25519, not {type(key).__name__}")
    return lambda digest: key.sign(digest, _PADDING, _DIGEST)


def _private(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
