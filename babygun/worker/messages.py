"""The messages of an e-mail: one for all recipients, or copies with a link to unsubscribe each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache

from babygun.email.model import Content, Email
from babygun.errors import EtcdError
from babygun.mime import feedback_id, message_id, render, with_unsubscribe_link
from babygun.runtime.logs import get_logger
from babygun.store.secret_keys import SecretKey
from babygun.store.unsubscribe.keys import UnsubscribeKeys
from babygun.store.unsubscribe.tokens import make_token

log = get_logger("worker")

_READ_AGAIN = 0.5  # s, after a read that failed

Message = Callable[[bool, bool], bytes]
"""Renders a message. Its arguments: whether the server offers 8BITMIME, and SMTPUTF8."""


class Messages:
    """``link_keys``: of links to unsubscribe. ``sender_id``: for Feedback-ID; empty: none."""

    def __init__(self, link_keys: UnsubscribeKeys, sender_id: str) -> None:
        self._link_keys, self._sender_id = link_keys, sender_id

    def message(
        self, email: Email, content: Content, *, seven_bit: bool, asked: Callable[[], None]
    ) -> Message:
        """``seven_bit``: whatever the server offers. ``asked`` is called when it is rendered."""
        identity = message_id(email)
        feedback = feedback_id(email, self._sender_id) if self._sender_id else ""

        def rendered(eight_bit: bool, smtputf8: bool) -> bytes:
            asked()
            return render(
                content,
                message_id=identity,
                date=email.created_at,
                smtputf8=smtputf8,
                eight_bit=eight_bit and not seven_bit,
                feedback_id=feedback,
            )

        return rendered

    async def copies(
        self, email: Email, content: Content, message: Message
    ) -> Callable[[str], Message]:
        """What makes the copy for an address: ``message``, with a link if it has links.

        ``message`` is rendered once for all copies.
        """
        link, render_once = content.unsubscribe, cache(message)
        key = await self._link_key(link.kid) if link else None

        def copy_for(address: str) -> Message:
            if link is None or key is None:
                return render_once
            token = make_token(key.kid, key.secret, email.client_id, email.list, address)
            url = f"{link.url}/{token}"
            return lambda eight_bit, smtputf8: with_unsubscribe_link(
                render_once(eight_bit, smtputf8), url
            )

        return copy_for

    async def _link_key(self, kid: str) -> SecretKey:
        """Waits for etcd: without it the results could not be written either."""
        while True:
            try:
                return await self._link_keys.find(kid)
            except EtcdError as error:
                log.warning("unsubscribe key not read", error=str(error))
                await asyncio.sleep(_READ_AGAIN)
