"""Bounce messages and complaints about e-mails of tests."""

from __future__ import annotations

from babygun.email.return_path import local_part, of_recipient
from babygun.store import Store
from babygun.store.return_path_keys import ReturnPathKeys
from scripts.chaos.returned_mail import bounce_message, complaint


async def return_path(
    store: Store, email_id: str, recipient: str, *, client: str = "client"
) -> str:
    """The return path of a recipient that no client has retried."""
    key = await ReturnPathKeys(store).current()
    path = of_recipient(email_id, recipient, 0, client)
    return f"{local_part(path, key.secret)}@bounces.example.com"


def report(recipient: str, *, action: str = "failed", status: str = "5.1.1") -> bytes:
    return bounce_message(recipient, action=action, status=status).encode()


def feedback(recipient: str, message: bytes) -> bytes:
    """A complaint about a message, as its server has it."""
    head = message.replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode()
    return complaint(recipient, head).encode()
