"""Which e-mail a complaint is about: by what its providers left of our message's head. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from babygun.bounces.parts import Fields
from babygun.email.ids import is_email_id
from babygun.email.return_path import PREFIX, ReturnPath, hash_of_recipient

_MOST = 10  # return paths that are looked at

# They stand in Return-Path, in Received, and in what SPF and DMARC checks note.
_RETURN_PATH = re.compile(re.escape(PREFIX) + r"[a-z2-7.]{56}(?=@)", re.IGNORECASE)
_MESSAGE_ID = re.compile(r"<([0-9a-f-]{36})@[^<>\s]{1,255}>", re.IGNORECASE)


def return_paths(
    head: str, addresses: Sequence[str], read: Callable[[str], ReturnPath | None]
) -> Iterator[ReturnPath]:
    """The e-mails that a complaint names, each once; mostly one.

    ``head``: the fields of our message. ``addresses``: who complained. ``read``: reads a local part
    and checks its mac. Without a return path, the Message-ID and the address name the e-mail: only
    who had the message knows its id.
    """
    texts = dict.fromkeys(found[0].lower() for found in _RETURN_PATH.finditer(head))
    found = dict.fromkeys(path for text in list(texts)[:_MOST] if (path := read(text)))
    if found:
        yield from found
        return
    message_id = _MESSAGE_ID.match(Fields(head).get("message-id"))
    if message_id and is_email_id(email_id := message_id[1].lower()):
        for address in addresses[:1]:
            yield ReturnPath(email_id, hash_of_recipient(email_id, address), 0, "")
