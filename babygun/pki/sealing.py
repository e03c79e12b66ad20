"""Seals secrets that etcd holds, so that neither etcd nor a backup of it has them in clear.

AES-256-GCM (NIST SP 800-38D) with a random nonce of 96 bits for each secret. The name of the
secret's key in etcd is authenticated, too: a sealed secret can't be put in another one's place.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from babygun.errors import SettingsError
from babygun.runtime.settings import Settings

KEY_BYTES = 32
_NONCE_BYTES = 12
_HOW = "32 random bytes in base64, as `openssl rand -base64 32` makes them"


class CannotOpen(ValueError):
    """A sealed secret can't be opened."""


class Sealer:
    """Seals with the first of its keys, and opens what any of them has sealed."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._ciphers = {key_id(key): AESGCM(key) for key in keys}
        self.key_id = key_id(keys[0])

    def seal(self, secret: bytes, name: bytes) -> bytes:
        """``name``: of what the secret is. :meth:`open` needs it again."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._ciphers[self.key_id].encrypt(nonce, secret, name)

    def has(self, key_id: str) -> bool:
        """Whether it has the key of this id, and so opens what that one has sealed."""
        return key_id in self._ciphers

    def open(self, sealed: bytes, sealed_by: str, name: bytes) -> bytes:
        """``sealed_by``: the id of the key that sealed it. Raises CannotOpen."""
        cipher = self._ciphers.get(sealed_by)
        if cipher is None:
            raise CannotOpen(
                f"it was sealed with the key {sealed_by}, which is not among"
                f" {', '.join(self._ciphers)}: add it to secrets_key_file or secrets_keys"
            )
        try:
            return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name)
        except (InvalidTag, ValueError):
            raise CannotOpen("it was changed, or is another secret's") from None


def load_sealer(settings: Settings) -> Sealer | None:
    """With the keys of the settings; None: there are none. Raises SettingsError."""
    path = settings.secrets_key_file
    if path and settings.secrets_keys:
        raise SettingsError("secrets_key_file and secrets_keys are both set: set one of them")
    if not path:
        keys = [_key(text, "secrets_keys") for text in settings.secrets_keys]
        return Sealer(keys) if keys else None
    try:
        lines = Path(path).read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"secrets_key_file: {path}: {error}") from None
    texts = [text for line in lines if (text := line.strip()) and not text.startswith("#")]
    if not texts:
        raise SettingsError(f"secrets_key_file: {path} has no key; a key is {_HOW}")
    return Sealer([_key(text, f"secrets_key_file: {path}") for text in texts])


def new_key() -> str:
    """A new random key, as the settings take it."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def key_id(key: bytes) -> str:
    """Names a key, and says nothing about it."""
    return hashlib.sha256(b"babygun sealing key\0" + key).hexdigest()[:8]


def _key(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:  # the text is not shown: it may be nearly a key
        raise SettingsError(f"{where}: a key can't be read; a key is {_HOW}")
    return key
