"""Mail beside the attacks: a hostile mail server must harm no other queue."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from scripts.attack.bombs import MB
from scripts.attack.floods import Figures, Target
from scripts.attack.mail_servers import Hostile
from scripts.bench.systems.babygun import Babygun

HOSTILE = "hostile.example"  # recipients here go to the hostile server
IN_TIME = 60.0  # s for mail to the server that takes it
MOST_TAKEN = 32 * MB  # of a flood: mostly buffers of the two sockets


class Mail:
    """Sends through a stack and waits for the ends."""

    def __init__(self, stack: Babygun) -> None:
        self._stack = stack

    async def beside_a_hostile_server(self, hostile: Hostile, count: int) -> Figures:
        """``count`` e-mails to the hostile server, and as many to the other."""
        worker = Target(self._stack.worker_urls[0], self._stack.roles["worker"][0])
        figures = Figures(f"{count} e-mails to a mail server that floods, drips or reads nothing")
        with worker.probed(figures):
            await asyncio.gather(*(self._accepted(HOSTILE) for _ in range(count)))
            await self._delivered(figures, count)
            until = time.monotonic() + IN_TIME
            while not hostile.sessions and time.monotonic() < until:  # noqa: ASYNC110 (rare)
                await asyncio.sleep(0.1)
        if not hostile.sessions:
            figures.fault = "no e-mail reached the hostile server"
        elif hostile.taken > MOST_TAKEN:
            figures.fault = f"the worker took {hostile.taken // MB} MiB of a flood"
        return figures

    async def after_all(self, target: Target, count: int) -> Figures:
        """``count`` e-mails once the attacks are over."""
        figures = Figures(f"{count} e-mails after all of this")
        with target.probed(figures):
            await self._delivered(figures, count)
        return figures

    async def _delivered(self, figures: Figures, count: int) -> None:
        ids = await asyncio.gather(*(self._accepted("example.org") for _ in range(count)))
        until = time.monotonic() + IN_TIME
        while True:
            emails = [await asyncio.to_thread(self._stack.call, f"/emails/{each}") for each in ids]
            figures.answers = Counter(email["status"] for email in emails)
            if figures.answers["complete"] == count:
                return
            if time.monotonic() > until:
                figures.fault = "mail to another server was not delivered in time"
                return
            await asyncio.sleep(0.1)

    async def _accepted(self, domain: str) -> str:
        email = {"sender": "a@example.com", "to": f"b@{domain}", "subject": "x", "body": "x"}
        answer = await asyncio.to_thread(self._stack.call, "/emails", email)
        return str(answer["id"])
