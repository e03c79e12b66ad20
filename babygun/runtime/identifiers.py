"""Random identifiers: of processes, tokens, keys, requests and attempts."""

from __future__ import annotations

import os
import re

_AT_ONCE = 256  # short ids that one call of the system brings: a call for each would cost as much as the id does


def new_process_id(hostname: str, kind: str) -> str:
    """A new process id: the host's name for people (else its ``kind``), and 40 random bits."""
    host = re.sub(r"[^a-z0-9-]+", "-", hostname.lower()).strip("-")[:40] or kind
    return f"{host}-{os.urandom(5).hex()}"


def new_token(nbytes: int = 16) -> str:
    """Random hex digits, for client ids, token ids (``jti``) and key ids."""
    return os.urandom(nbytes).hex()


_spare: list[str] = []


def new_short_id() -> str:
    """16 random hex digits, for what comes by the thousand: e-mails, requests, attempts."""
    try:
        return _spare.pop()
    except IndexError:
        digits = os.urandom(8 * _AT_ONCE).hex()
        _spare.extend(digits[i : i + 16] for i in range(16, len(digits), 16))
        return digits[:16]


os.register_at_fork(after_in_child=_spare.clear)  # else two processes would make the same ids
