"""Random identifiers: of processes, tokens, keys, requests and tries."""

from __future__ import annotations

import os
import re


def new_process_id(hostname: str, kind: str) -> str:
    """A new process id: the host's name for people (else its ``kind``), and 40 random bits."""
    host = re.sub(r"[^a-z0-9-]+", "-", hostname.lower()).strip("-")[:40] or kind
    return f"{host}-{os.urandom(5).hex()}"


def new_token(nbytes: int = 16) -> str:
    """Random hex digits, for client ids, token ids (``jti``) and key ids."""
    return os.urandom(nbytes).hex()


def new_short_id() -> str:
    """16 random hex digits, for e-mails, requests and tries."""
    return os.urandom(8).hex()
