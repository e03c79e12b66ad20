"""Mail that is sent all the time while a test breaks something.

Each call is repeated with the same Idempotency-Key until there is an answer.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from types import TracebackType
from typing import NamedTuple, Self

from tests.cluster.cluster import Cluster
from tests.cluster.containers import until

_SENDERS = 3
_PAUSE = 0.04  # s, between two e-mails of one sender
_WITHIN = 180.0  # s, for one e-mail to be accepted


class Outcome(NamedTuple):
    """``refusals``: answers after which a client repeated its call.

    ``broken``: connections without an answer. ``doubled``: arrivals beyond one per e-mail.
    """

    sent: int
    refusals: int
    broken: int
    doubled: int


class Flow:
    """``with Flow(cluster) as flow: …`` sends all the time. Then :meth:`settled` checks."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.mark = f"flow-{secrets.token_hex(6)}"
        self._ids: dict[str, str] = {}  # by subject
        self._stop = threading.Event()
        self._refusals = self._broken = 0
        self._failures: list[str] = []
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name=f"sender {number}")
            for number in range(_SENDERS)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.reach(5)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(_WITHIN + 20)
            assert not thread.is_alive()

    @property
    def accepted(self) -> int:
        return len(self._ids)

    def reach(self, more: int, *, within: float = 180) -> None:
        """Waits until so many more have been accepted, so mail flows."""
        wanted = self.accepted + more
        until(
            lambda: self.accepted >= wanted or self._failures,
            f"{more} more e-mails are accepted",
            within=within,
        )

    def settled(self, *, within: float = 180) -> Outcome:
        """Waits until all e-mails are complete and in the mailbox, each once."""
        assert not self._failures, self._failures
        wanted = set(self._ids.values())

        def over() -> bool:
            found = self._cluster.statuses(wanted)
            assert found.keys() == wanted, "an e-mail that was accepted is not in the list"
            assert set(found.values()) <= {"incomplete", "complete"}
            return "incomplete" not in found.values()

        until(over, f"all of {len(wanted)} e-mails end", within=within)
        assert len(wanted) == len(self._ids)  # no repeated call made a second e-mail
        arrived = Counter(self._cluster.arrivals(self.mark))
        assert arrived.keys() == self._ids.keys()
        return Outcome(
            len(self._ids), self._refusals, self._broken, sum(arrived.values()) - len(arrived)
        )

    def _run(self, number: int) -> None:
        count = 0
        while not self._stop.is_set() and not self._failures:
            self._one(f"{self.mark} {number}.{count}")
            count += 1
            time.sleep(_PAUSE)

    def _one(self, subject: str) -> None:
        email = {
            "sender": "shop@example.com",
            "to": "ann@example.org",
            "cc": ["bob@example.org"],
            "subject": subject,
            "body": "Hi\n" * 50,
        }
        deadline = time.monotonic() + _WITHIN
        answer: object = None
        while time.monotonic() < deadline:
            try:
                answer = found = self._cluster.call(
                    "POST",
                    "/emails",
                    email,
                    headers={"Idempotency-Key": subject.replace(" ", "-")},
                    timeout=10,
                )
            except OSError as error:
                self._broken += 1
                answer = error
            else:
                if found.status == 202:
                    self._ids[subject] = found.json["id"]
                    return
                if found.status not in (503, 409):
                    break
                self._refusals += 1
            time.sleep(0.1)
        self._failures.append(f"{subject} was not accepted: {answer!r}")
