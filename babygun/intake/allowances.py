"""The limits of clients, which count over all API processes: a rate, and recipients a day.

What counts is in etcd (:mod:`babygun.store.access.allowance`). A process takes e-mails and
recipients from there in blocks, about as large as what it accepts of the client in a second. So a
limit costs a process at most a few writes a second, and none an e-mail. A block that is not used
goes back.

Recipients of a client without a daily limit are counted too, later, so that it can be shown.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime
from typing import NamedTuple

from babygun.errors import (
    MAY_BE_WRITTEN,
    DailyLimitReached,
    EtcdError,
    EtcdUnavailable,
    OutcomeUnknown,
    RateExceeded,
)
from babygun.runtime.clock import utc_now
from babygun.store import Store
from babygun.store.access import allowance
from babygun.store.access.usage import change_usage
from babygun.store.records import Client, ClientUsage

INTERVAL = 10.0  # s, after which what is not used goes back
# s, for which a refusal is repeated without asking etcd. Meanwhile the bucket fills. After it a
# whole block has to be there. So at its limit, too, a busy client costs few writes.
_REFUSAL, _LEAST_REFUSAL = 1.0, 0.25
_LAST = 2.0  # s, that the end of the process waits for etcd
_AT_ONCE = 32  # clients whose counts are written together


class Block:
    """``left``: what was taken from a limit and not used yet. Times are monotonic seconds."""

    __slots__ = ("_before", "_since", "_used", "left", "used_at")

    def __init__(self) -> None:
        self.left = self._used = self._before = 0
        self._since = self.used_at = 0.0

    def pace(self, now: float) -> int:
        """About how many are used in a second, as in the last second or two."""
        if (elapsed := now - self._since) >= 1:
            self._before = math.ceil(self._used / elapsed)
            self._used, self._since = 0, now
        return max(self._before, self._used)

    def use(self, count: int, now: float) -> None:
        self.left -= count
        self._used += count
        self.used_at = now

    def unused(self, now: float) -> int:
        """Empties the block if it was not used for a while. Returns what was in it."""
        return self.emptied() if now - self.used_at >= INTERVAL else 0

    def emptied(self) -> int:
        left, self.left = self.left, 0
        return left


class Counted(NamedTuple):
    """So many recipients count on this day."""

    recipients: int = 0
    day: date | None = None


class _Refusal(NamedTuple):
    """It holds for so many and more until a time, in monotonic seconds."""

    least: int = 0
    until: float = 0.0
    error: RateExceeded | None = None

    def recent(self, now: float) -> bool:
        return now < self.until + _REFUSAL

    def check(self, count: int, now: float) -> None:
        """Refuses as before, so that etcd need not be asked. Raises RateExceeded."""
        if self.error is not None and now < self.until and count >= self.least:
            again = type(self.error)
            raise again(
                str(self.error),
                retry_after=self.error.retry_after,
                remaining=self.error.remaining,
            )


class _Account:
    """One client in this process. ``day``: of the block of recipients.

    ``later``: recipients that are still to be counted. ``refused``, ``used_up``: the last refusals,
    by the rate and by the daily limit.
    """

    __slots__ = ("client", "day", "emails", "later", "lock", "recipients", "refused", "used_up")

    def __init__(self, client: Client) -> None:
        self.client = client
        self.emails, self.recipients = Block(), Block()
        self.day: date | None = None
        self.later = 0
        self.lock = asyncio.Lock()
        self.refused = self.used_up = _Refusal()

    def has(self, recipients: int) -> bool:
        """Whether so many can be used today without asking etcd."""
        return self.recipients.left >= recipients and self.day == utc_now().date()

    def idle(self, now: float) -> bool:
        """Whether nothing is left here, and nobody takes anything."""
        left = self.emails.left or self.recipients.left or self.later or self.lock.locked()
        last = max(self.emails.used_at, self.recipients.used_at)
        return not left and now - last >= INTERVAL


class Allowances:
    """Run :meth:`run` as a task; call :meth:`close` at the end."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._accounts: dict[str, _Account] = {}

    async def take_emails(self, client: Client, emails: int) -> None:
        """Takes ``emails`` from the client's rate. Raises RateExceeded, EtcdUnavailable.

        0 takes nothing, and raises where one e-mail would be refused.
        """
        rate = client.rate
        if rate is None:
            return
        account, wanted = self._account(client), max(1, emails)
        if account.emails.left < wanted:
            async with account.lock:
                if account.emails.left < wanted:
                    await self._take_emails(account, rate, wanted)
        account.emails.use(emails, time.monotonic())

    async def _take_emails(self, account: _Account, rate: float, wanted: int) -> None:
        taken, block, began = 0, account.emails, time.monotonic()
        account.refused.check(wanted, began)
        held = block.emptied()  # nobody else uses it meanwhile

        more = min(block.pace(began), int(rate / 2))
        least = min(more, int(rate / 4)) if account.refused.recent(began) else 0

        def change(usage: ClientUsage, now: datetime) -> ClientUsage:
            nonlocal taken
            usage, taken = allowance.take_emails(
                usage, rate, wanted, now, held=held, more=more, least=least
            )
            return usage

        try:
            await self._change(account, change)
        except BaseException as error:
            block.left += held
            if isinstance(error, RateExceeded):
                seconds = min(_REFUSAL, max(_LEAST_REFUSAL, 1 / rate))
                account.refused = _Refusal(wanted, began + seconds, error)
            raise
        block.left += held + taken

    async def count(
        self, client: Client, recipients: int, idempotency_key: str | None = None
    ) -> Counted:
        """Counts recipients towards the client's daily limit, before their e-mail is stored.

        Returns how many are counted: none, where there is no limit. None, too, for a repeated call
        that the limit would refuse: it gets the first one's answer. Raises DailyLimitReached,
        EtcdUnavailable.
        """
        limit = client.recipients_per_day
        if limit is None:
            return Counted()
        account = self._account(client)
        if not account.has(recipients):
            async with account.lock:
                if not account.has(recipients):
                    try:
                        await self._take_recipients(account, limit, recipients)
                    except DailyLimitReached:
                        if not await self._is_known(client, idempotency_key):
                            raise
                        return Counted()
        account.recipients.use(recipients, time.monotonic())
        return Counted(recipients, account.day)

    async def _is_known(self, client: Client, idempotency_key: str | None) -> bool:
        """Whether a call with this Idempotency-Key has stored something."""
        if idempotency_key is None:
            return False
        key = self._store.keys.idempotency(client.identity, idempotency_key)
        return await self._store.client.get(key) is not None

    async def _take_recipients(self, account: _Account, limit: int, wanted: int) -> None:
        taken, day, block, began = 0, account.day, account.recipients, time.monotonic()
        account.used_up.check(wanted, began)
        held, more = block.emptied(), block.pace(began)

        def change(usage: ClientUsage, now: datetime) -> ClientUsage:
            nonlocal taken, day
            day = usage.day
            usage, taken = allowance.take_recipients(
                usage,
                limit,
                wanted,
                now,
                held=held if day == account.day else 0,
                more=more,
            )
            return usage

        try:
            await self._change(account, change)
        except BaseException as error:
            block.left += held
            if isinstance(error, DailyLimitReached):
                least = (error.remaining or 0) + 1
                account.used_up = _Refusal(least, began + _REFUSAL, error)
            raise
        if day != account.day:  # what is left of the day before is gone
            held, block.left, account.day = 0, 0, day
        block.left += held + taken

    def stored(self, client: Client, recipients: int, counted: Counted) -> None:
        """So many are stored, for which :meth:`count` has returned ``counted``."""
        if recipients == counted.recipients:
            return
        account = self._account(client)
        if counted.day is None:
            account.later += recipients
        elif counted.day == account.day:
            account.recipients.left += counted.recipients - recipients

    def failed(self, client: Client, error: Exception, counted: Counted) -> None:
        """Nothing is stored because of an error. Where that is not certain, it counts."""
        if not isinstance(error, OutcomeUnknown):
            self.stored(client, 0, counted)

    async def run(self) -> None:
        """Gives back and counts, every INTERVAL seconds, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self.settle(time.monotonic())

    async def close(self) -> None:
        """Gives back everything, and counts everything. Nothing may be taken any more.

        Where etcd does not answer soon, what was taken stays counted.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST):
                await self.settle(math.inf)

    async def settle(self, now: float) -> None:
        """Gives back what was not used for INTERVAL seconds, and counts what is to be counted.

        Where etcd does not answer, that is tried again later.
        """
        accounts = list(self._accounts.values())
        for start in range(0, len(accounts), _AT_ONCE):
            some = accounts[start : start + _AT_ONCE]
            await asyncio.gather(*(self._settle(account, now) for account in some))

    async def _settle(self, account: _Account, now: float) -> None:
        if account.idle(now):
            del self._accounts[account.client.identity]
            return
        async with account.lock:
            emails, recipients = account.emails.unused(now), account.recipients.unused(now)
            later, account.later = account.later, 0
            if emails or recipients or later:
                await self._give_back(account, emails, recipients, later)

    async def _give_back(self, account: _Account, emails: int, recipients: int, later: int) -> None:
        rate, day = account.client.rate, account.day

        def change(usage: ClientUsage, _: datetime) -> ClientUsage:
            if emails and rate:
                usage = allowance.give_emails_back(usage, rate, emails)
            unused = recipients if usage.day == day else 0
            return allowance.add_recipients(usage, later - unused)

        try:
            await change_usage(self._store, account.client.identity, change)
        except MAY_BE_WRITTEN:
            pass  # what was in the blocks counts, as if it was used
        except EtcdError:
            account.emails.left += emails
            account.recipients.left += recipients
            account.later += later

    async def _change(
        self, account: _Account, change: Callable[[ClientUsage, datetime], ClientUsage]
    ) -> None:
        try:
            await change_usage(self._store, account.client.identity, change)
        except OutcomeUnknown as error:  # a block may be lost, and no e-mail is stored
            raise EtcdUnavailable(str(error)) from None

    def _account(self, client: Client) -> _Account:
        account = self._accounts.get(client.identity)
        if account is None:
            account = self._accounts[client.identity] = _Account(client)
        account.client = client
        return account
