"""Signs messages with the DKIM keys of sending domains, in threads: OpenSSL needs no GIL.

An e-mail is signed where its client holds a domain that covers the sender's. The keys are those
that signed when its first try could begin, as long as they may sign. With the same times in the
signature, each try sends the same bytes.

An API process whose clock is ahead gives an e-mail a time that is still to come. Receivers refuse a
signature of the future, so its time is then that of the try.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cache, partial

from babygun.email.model import Email
from babygun.email.sending_domains import DkimAlgorithm, signers
from babygun.errors import BabygunError, EtcdError, NoSealingKey, NotFound
from babygun.mime.dkim import DkimKey, expiry, signatures
from babygun.runtime.clock import utc_now
from babygun.runtime.logs import get_logger
from babygun.runtime.metrics import DKIM_SIGNATURES
from babygun.runtime.threads import Threads
from babygun.store import Store
from babygun.store.domains.dkim_keys import load_signer

log = get_logger("worker")

_READ_AGAIN = 0.5  # s, after a read that failed
_THREADS = 4  # a thread waits for the GIL, too: on two cores, two threads sign a third less
_TAGS: dict[DkimAlgorithm, str] = {"rsa2048": "rsa-sha256", "ed25519": "ed25519-sha256"}


class CannotSign(BabygunError):
    """A message is to be signed, and the key can't be used."""


class Signer:
    """Signs the messages of one try. The same message is signed once, however often it goes out."""

    def __init__(
        self, keys: Sequence[DkimKey], signed_at: int, expires_at: int, threads: Threads
    ) -> None:
        self._keys = [key._replace(sign=cache(key.sign)) for key in keys]
        self._signed_at, self._expires_at = signed_at, expires_at
        self._threads = threads

    async def sign(self, message: bytes) -> bytes:
        """The message with its signatures before it."""
        signed = await self._threads.call(partial(self._signed, message))
        DKIM_SIGNATURES["signed"].inc(len(self._keys))
        return signed

    def _signed(self, message: bytes) -> bytes:
        return signatures(message, self._keys, self._signed_at, self._expires_at) + message


class Signers:
    """Makes signers, and keeps the keys that it has read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys: dict[str, dict[str, DkimKey]] = {}  # by domain and selector
        self._reading = asyncio.Lock()
        self._threads = Threads(_THREADS, "dkim")
        store.domains.on_change.append(self._forget)

    def close(self) -> None:
        self._threads.close()

    async def of(self, email: Email) -> Signer | None:
        """None: the e-mail is not signed. Raises CannotSign.

        Waits for etcd: without it the results could not be written either.
        """
        domains = self._store.domains
        if not domains.ready.is_set():
            await domains.ready.wait()
        domain = domains.of_sender(email.client_id, email.sender)
        if domain is None:  # the usual case
            return None
        now = utc_now()
        begins = min(email.send_at or email.created_at, now)
        selectors = signers(domain, begins, now)
        if not selectors:
            return None
        keys = [await self._key(domain.name, one.name, one.algorithm) for one in selectors]
        signed_at = int(begins.timestamp())
        return Signer(keys, signed_at, expiry(signed_at, int(now.timestamp())), self._threads)

    async def _key(self, domain: str, selector: str, algorithm: DkimAlgorithm) -> DkimKey:
        keys = self._keys.setdefault(domain, {})
        if selector in keys:
            return keys[selector]
        async with self._reading:  # many e-mails want a new key at the same time
            while selector not in keys:
                try:
                    sign = await load_signer(self._store, domain, selector)
                    keys[selector] = DkimKey(domain, selector, _TAGS[algorithm], sign)
                except EtcdError as error:
                    log.warning("DKIM key not read", domain=domain, error=str(error))
                    await asyncio.sleep(_READ_AGAIN)
                except (NotFound, NoSealingKey, ValueError) as error:
                    DKIM_SIGNATURES["failed"].inc()
                    log.error("DKIM key unusable", domain=domain, error=str(error))
                    raise CannotSign(f"the message can't be signed: {error}") from None
        return keys[selector]

    def _forget(self, domain: str) -> None:
        """A domain has changed: keys that are still there are read again."""
        self._keys.pop(domain, None)
