"""The e-mails of one batch: each is checked on its own, and each gets a result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from babygun.email.ids import created_ms, email_ids
from babygun.errors import (
    BabygunError,
    EtcdUnavailable,
    InvalidEmail,
    InvalidRequest,
    NotAcknowledged,
    OutcomeUnknown,
    Violation,
)
from babygun.intake.acceptance import BatchItem
from babygun.intake.request import EmailRequest
from babygun.runtime.clock import at_ms
from babygun.runtime.event_loop import Turns
from babygun.store.emails.batches import BatchOutcome
from babygun.store.emails.new_email import NewEmail
from babygun.store.records import BatchRecord

MAX_ERRORS = 1000  # that a refusal lists; beyond that each e-mail still has its first


class Batch:
    """``refused``: by index, why an e-mail can't be accepted. Its fields are paths in the batch.

    ``ready``: makes an e-mail ready to be stored, given its id and time. Raises InvalidEmail.
    ``keyed``: the batch has an Idempotency-Key.
    """

    def __init__(
        self,
        entries: Sequence[EmailRequest | InvalidRequest],
        ready: Callable[[EmailRequest, str, datetime], NewEmail],
        *,
        keyed: bool,
    ) -> None:
        self._entries, self._ready, self._keyed = entries, ready, keyed
        self._emails: list[NewEmail | None] = []
        self.refused: dict[int, InvalidEmail] = {}

    async def prepare(self, record: BatchRecord) -> list[NewEmail | None]:
        """The e-mails with the ids that ``record`` stands for; None for those that are refused."""
        self._emails, self.refused = [], {}
        turns = Turns()
        ids = email_ids(record.count, record.at_ns, record.seed)
        for index, (email_id, entry) in enumerate(zip(ids, self._entries, strict=True)):
            try:
                if isinstance(entry, InvalidRequest):
                    raise entry
                self._emails.append(self._ready(entry, email_id, _created_at(email_id)))
            except InvalidRequest as error:
                self._emails.append(None)
                self.refused[index] = _within(index, error)
            await turns.offer()
        return self._emails

    def refusal(self) -> InvalidEmail:
        """Why no e-mail of the batch is accepted, with the broken rules of each."""
        violations: list[Violation] = []
        for error in self.refused.values():
            fits = len(violations) + len(error.violations) <= MAX_ERRORS
            violations += error.violations if fits else error.violations[:1]
        first = next(iter(self.refused.values()))
        return InvalidEmail(
            violations,
            too_large=first.too_large,
            message=f"Nothing of the batch was accepted: {len(self.refused)} of "
            f"{len(self._entries)} e-mails are invalid. The first error: {first}",
        )

    def items(self, outcome: BatchOutcome) -> list[BatchItem]:
        """What became of each e-mail, given what the store did."""
        items: list[BatchItem] = []
        for index, (email_id, email) in enumerate(zip(outcome.ids, self._emails, strict=True)):
            if email_id is None:
                items.append(BatchItem(error=self._error(index, outcome.errors.get(index))))
            else:
                addresses = email.addresses if email is not None else ()
                suppressed = tuple(
                    addresses[n] for n in outcome.suppressed.get(index, ()) if n < len(addresses)
                )
                created_at = _created_at(email_id)
                items.append(BatchItem(email_id, created_at, len(addresses) or None, suppressed))
        return items

    def _error(self, index: int, error: BabygunError | None) -> BabygunError:
        """``error``: from the store."""
        if isinstance(error, EtcdUnavailable | OutcomeUnknown):
            email = self._emails[index]
            email_id = None if email is None else email.id
            return NotAcknowledged(error, keyed=self._keyed, email_id=email_id)
        return self.refused.get(index) or error or _refused_before(index)


def _created_at(email_id: str) -> datetime:
    return at_ms(created_ms(email_id))


def _refused_before(index: int) -> InvalidEmail:
    detail = (
        "It was refused when this Idempotency-Key was first used, and is valid now: "
        "send it with another key."
    )
    return InvalidEmail([Violation(f"[{index}]", detail)])


def _within(index: int, error: InvalidRequest) -> InvalidEmail:
    """The same error with fields that are paths in the batch: ``[3].to[2]``."""
    place = f"[{index}]"
    violations = [
        Violation(f"{place}.{violation.field}" if violation.field else place, violation.detail)
        for violation in error.violations
    ]
    return InvalidEmail(violations, too_large=error.too_large, message=str(error))
