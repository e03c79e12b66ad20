"""The keys of links to unsubscribe."""

from __future__ import annotations

from babygun.store.secret_keys import SecretKeys
from babygun.store.store import Store
from babygun.store.unsubscribe.tokens import SECRET_BYTES


class UnsubscribeKeys(SecretKeys):
    """``unsubscribe-keys/``: kept for a year after the last use, by default."""

    def __init__(self, store: Store, calls: Store | None = None) -> None:
        super().__init__(
            store,
            store.keys.unsubscribe_keys,
            what="unsubscribe keys",
            secret_bytes=SECRET_BYTES,
            retention=store.settings.unsubscribe_retention,
            calls=calls,
        )
