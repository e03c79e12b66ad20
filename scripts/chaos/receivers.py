"""The receiving side: SMTP servers that record every message in the history.

What happens to a recipient is said by its local part: see ``scripts.chaos.behaviours``.
"""

from __future__ import annotations

from scripts.chaos.history import Recorder


class Receiver:
    """The mail server of one relay.

    What the whole server does, for faults; each counts from the next reply on:
    ``greeting``: instead of 220, such as "554 5.3.2 no service"; then it hangs up.
    ``mail_reply``: instead of 250 to MAIL. ``rubbish``: bytes sent instead of every reply.
    ``silent``: it takes connections and says nothing.
    """

    def __init__(self, name: str, recorder: Recorder) -> None:
        self.name = name
        self.greeting = self.mail_reply = ""
        self.rubbish = b""
        self.silent = False

    async def start(self) -> int:
        """Listens on loopback; returns the port."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Breaks all connections."""

    def cut(self) -> None:
        """Breaks all connections that are there."""

    def normal(self) -> None:
        """Undoes what faults changed."""
        self.greeting = self.mail_reply = ""
        self.rubbish = b""
        self.silent = False
