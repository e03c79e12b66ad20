"""E-mails with links to unsubscribe, and the links in their messages."""

from __future__ import annotations

from collections.abc import Iterable
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any, cast

from msgspec import structs

from babygun.email.model import UnsubscribeLink
from babygun.store.emails.acceptance import accept
from babygun.store.emails.new_email import prepare
from babygun.store.unsubscribe.keys import UnsubscribeKeys
from babygun.store.unsubscribe.tokens import Subscription, read_token
from tests.support.rig import Rig
from tests.support.smtp_server import Message

LINK = "https://mail.example.com/unsubscribe"


async def send_news(rig: Rig, *to: str, shown: tuple[str, ...] = (), **content: Any) -> str:
    """Accepts an e-mail of the list ``news`` as the API does; returns its id.

    ``shown``: the addresses in the message, if they are others.
    """
    key = await UnsubscribeKeys(rig.store).current()
    email, body = rig.email(*to, unsubscribe=UnsubscribeLink(LINK, key.kid), **content)
    if shown:
        body = structs.replace(body, to=shown)
    new = prepare(rig.store, structs.replace(email, list="news"), body)
    return (await accept(rig.store, "client", new)).email_id


def parsed(message: Message) -> EmailMessage:
    return cast(EmailMessage, BytesParser(policy=policy.default).parsebytes(message.data))


def token_of(message: Message) -> str:
    """The token in the header of a message."""
    field = str(parsed(message)["List-Unsubscribe"])
    assert field.startswith(f"<{LINK}/") and field.endswith(">")
    return field[len(LINK) + 2 : -1]


async def subscriptions(rig: Rig, messages: Iterable[Message]) -> dict[str, Subscription | None]:
    """What the link in each message stands for, by its only recipient."""
    keys = UnsubscribeKeys(rig.store)
    await keys.current()
    found = {}
    for message in messages:
        [recipient] = message.recipients
        found[recipient] = read_token(token_of(message), keys.secret_of)
    return found
