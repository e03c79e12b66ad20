"""E-mails for the load, as requests, and as the history remembers them."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from scripts.chaos.behaviours import ALWAYS, OF_MESSAGE, Behaviour, Kind
from scripts.chaos.digests import digest
from scripts.chaos.history import Mail, subject
from scripts.chaos.senders import HELD

# How many in a hundred recipients behave so.
_IN_A_HUNDRED: dict[Kind, int] = {
    "ok": 65,
    "slow": 2,
    "defer": 8,
    "defer-dot": 3,
    "grey": 4,
    "bounce": 4,
    "bounce-dot": 2,
    "stall": 1,
    "cut": 3,
    "cut-dot": 2,
    "late-bounce": 4,
    "complain": 2,
}
ERASED = "-erased"  # the local part of an address that will be erased ends so
# None whose mail comes back: that would bring the address back, too.
_OF_ERASED: tuple[tuple[Kind, int], ...] = (
    ("ok", 0),
    ("ok", 0),
    ("defer", 1),
    ("defer", ALWAYS),
    ("bounce", 0),
)
_HELD = 0.4  # the part of all e-mails that a held domain sends
_WORDS = ("mail", "that", "is", "lost", ".", "..", ".dot", "Grüße", "你好", "=3D", "--", "From")


@dataclass(frozen=True)
class Draft:
    """An e-mail that a client wants to send: the JSON of its request, and its entry of Asked."""

    request: dict[str, Any]
    mail: Mail


class Drafts:
    """Makes e-mails by chance. ``domains``: those of the relays.

    ``numbers``: of all e-mails of the run, so that marks are unique in it. ``holds``: whether the
    client that sends them holds the run's sending domains.
    """

    def __init__(
        self,
        random: Random,
        domains: Sequence[str],
        name: str,
        numbers: Iterator[int],
        *,
        holds: bool = True,
    ) -> None:
        self._holds = holds
        self._random, self.domains, self._name = random, domains, name
        self._numbers = numbers

    def one(self, *, now: float, send_in: float | None = None, size: int = 0) -> Draft:
        """To one recipient. ``now``: in seconds of the run. ``send_in``: seconds until it is due.

        ``size``: bytes of an attachment; none for 0.
        """
        number, mark = self._next()
        to = (self._address(mark, self._random.choice(self.domains), self._behaviour()),)
        return self._draft(number, mark, to, now, send_in, size)

    def to_many(self, count: int, *, now: float) -> Draft:
        """To ``count`` recipients of all relays, in to, cc and bcc."""
        number, mark = self._next()
        to = tuple(
            self._address(
                f"{mark}-{place}", self._random.choice(self.domains), self._behaviour(among=True)
            )
            for place in range(count)
        )
        return self._draft(number, mark, to, now, None, 0)

    def to_dead(self, name: str, place: int, *, now: float) -> Draft:
        """To an address that bounces, always the same one by this name; every third to a good one.

        ``place``: picks its domain.
        """
        number, mark = self._next()
        domain = self.domains[place % len(self.domains)]
        to = [self._address(name, domain, ("bounce", 0))]
        if number % 3 == 0:
            to.append(self._address(mark, self._random.choice(self.domains), ("ok", 0)))
        return self._draft(number, mark, tuple(to), now, None, 0)

    def to_erase(
        self, others: Sequence[str], *, now: float, send_in: float | None = None
    ) -> tuple[Draft, str]:
        """To an address that no other e-mail is for, and to one recipient in each other domain.

        Returns that address, too. The e-mail's metadata name it.
        """
        number, mark = self._next()
        domain = self._random.choice(self.domains)
        address = self._address(f"{mark}{ERASED}", domain, self._random.choice(_OF_ERASED))
        to = [
            self._address(f"{mark}-{place}", domain, self._behaviour(among=True))
            for place, domain in enumerate(others)
        ]
        to.insert(self._random.randrange(len(to) + 1), address)
        draft = self._draft(number, mark, tuple(to), now, send_in, 0)
        draft.request["metadata"] = {"about": address}
        return draft, address

    def to_each(self, domains: Sequence[str], *, now: float) -> Draft:
        """To one recipient in each of the domains."""
        number, mark = self._next()
        to = tuple(
            self._address(f"{mark}-{place}", domain, self._behaviour(among=True))
            for place, domain in enumerate(domains)
        )
        return self._draft(number, mark, to, now, None, 0)

    def _draft(
        self,
        number: int,
        mark: str,
        to: tuple[str, ...],
        now: float,
        send_in: float | None,
        size: int,
    ) -> Draft:
        random = self._random
        title, body = subject(f"Nr {number}", mark), self._body()
        files = [("data.bin", random.randbytes(size))] if size else []
        third = len(to) // 3
        kinds = {"to": to[: len(to) - 2 * third], "cc": to[len(to) - 2 * third : len(to) - third]}
        bcc = to[len(to) - third :] if third else ()
        request: dict[str, Any] = {
            "sender": f"chaos@{self._sender_domain()}",
            "subject": title,
            "body": body,
            **{name: list(its) for name, its in {**kinds, "bcc": bcc}.items() if its},
        }
        if files:
            request["attachments"] = [
                {"filename": name, "content": base64.b64encode(data).decode()}
                for name, data in files
            ]
        if send_in is not None:
            due = datetime.now(UTC) + timedelta(seconds=send_in)
            request["send_at"] = due.isoformat(timespec="milliseconds")
        due_at = None if send_in is None else now + send_in
        return Draft(request, Mail(mark, to, digest(title, body, files), bcc, due_at))

    def _sender_domain(self) -> str:
        """One that the client holds, with a DKIM key and a return path, or another one."""
        if not self._holds or self._random.random() >= _HELD:
            return "sender.example"
        below = "news." if self._random.random() < 0.2 else ""
        return f"{below}{self._random.choice(HELD)}"

    def _next(self) -> tuple[int, str]:
        """Number and mark of the next e-mail."""
        number = next(self._numbers)
        return number, f"{self._name}-{number}"

    def _address(self, mark: str, domain: str, behaviour: tuple[Kind, int]) -> str:
        return f"{Behaviour(*behaviour, mark).local_part()}@{domain}"

    def _behaviour(self, *, among: bool = False) -> tuple[Kind, int]:
        """``among`` others in one e-mail: none that concerns all of a message."""
        kinds, shares = tuple(_IN_A_HUNDRED), tuple(_IN_A_HUNDRED.values())
        kind = self._random.choices(kinds, shares)[0]
        if among and (kind in OF_MESSAGE or kind == "stall"):
            return "ok", 0
        if kind in ("ok", "slow", "grey", "bounce", "bounce-dot", "late-bounce", "complain"):
            return kind, 0
        if kind.startswith("defer") and self._random.random() < 0.1:
            return kind, ALWAYS
        return kind, 1 if kind in ("stall", "cut-dot") else self._random.choice((1, 1, 2))

    def _body(self) -> str:
        """Lines that begin with dots, are long, or are not ASCII are among them."""
        random = self._random
        lines = [" ".join(random.choices(_WORDS, k=random.randrange(1, 12))) for _ in range(8)]
        if random.random() < 0.1:
            lines.append("long " * 300)
        return "\n".join((*lines, ".", "..", "the end"))
