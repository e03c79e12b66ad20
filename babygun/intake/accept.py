"""The door: accepts an e-mail, or a batch, that came in by any way."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec.structs import replace

from babygun.email.compose import new_email
from babygun.email.ids import created_ms
from babygun.email.model import Content, Email, UnsubscribeLink
from babygun.errors import (
    DailyLimitReached,
    EtcdError,
    EtcdUnavailable,
    IdempotencyConflict,
    InvalidRequest,
    NoRelay,
    NotAcknowledged,
    OutcomeUnknown,
    RateExceeded,
)
from babygun.intake.acceptance import Acceptance, BatchAcceptance
from babygun.intake.allowances import Allowances, Counted
from babygun.intake.batch import Batch
from babygun.intake.ids import new_email_id
from babygun.intake.quota_guard import QuotaGuard
from babygun.intake.request import EmailRequest, check_request, sender_of
from babygun.intake.sender_domains import SenderDomains
from babygun.routing.routes import Routes
from babygun.runtime import metrics, tracing
from babygun.runtime.clock import at_ms
from babygun.runtime.logs import note
from babygun.store import Store
from babygun.store.emails.acceptance import accept
from babygun.store.emails.batches import BatchOutcome, accept_batch
from babygun.store.emails.new_email import NewEmail, prepare
from babygun.store.records import BatchRecord, Client
from babygun.store.unsubscribe.keys import UnsubscribeKeys
from babygun.store.unsubscribe.tokens import UNSUBSCRIBE_PATH

_ONE, _BATCH = "The e-mail", "E-mails of the batch"  # subjects of NotAcknowledged


class Intake:
    """Every way in calls :meth:`admit` before it reads an e-mail, then :meth:`accept`.

    ``link_keys``: of links to unsubscribe. ``allowances``: run it, and close it at the end.
    ``accepted``: e-mails that this process has stored since it started.
    """

    def __init__(
        self,
        store: Store,
        routes: Routes,
        quota_guard: QuotaGuard,
        link_keys: UnsubscribeKeys,
    ) -> None:
        self._store, self._routes, self._quota_guard = store, routes, quota_guard
        self._link_keys = link_keys
        self._sender_domains = SenderDomains(store)
        self.allowances = Allowances(store)
        self.accepted = 0

    async def admit(self, client: Client, *, emails: int = 1) -> None:
        """Takes ``emails`` from the client's rate.

        Raises RateExceeded, NoRelay, OutOfSpace and NotAcknowledged.

        Cheap, so that a refused e-mail need not be read. Before a batch is read, its size is not
        known: admit 0 e-mails, and the whole batch when it has been read.
        """
        if not self._routes.has_destinations:
            raise NoRelay
        self._quota_guard.check()
        try:
            await self.allowances.take_emails(client, emails)
        except RateExceeded:
            metrics.CLIENT_REFUSALS["rate"].inc()
            raise
        except EtcdUnavailable as error:
            raise NotAcknowledged(error, keyed=False) from None

    async def accept(
        self,
        request: EmailRequest,
        *,
        client: Client,
        request_id: str | None = None,
        idempotency_key: str | None = None,
        fingerprint: str = "",
    ) -> Acceptance:
        """Checks and stores an e-mail. When this returns, it is committed.

        ``fingerprint``: of the request, if it has an ``idempotency_key``: a repeated call with both
        gets the first one's id. Raises InvalidEmail, DailyLimitReached, IdempotencyConflict,
        NotAcknowledged and OutOfSpace.
        """
        ns = time.time_ns()
        now = at_ms(ns // 1_000_000)
        keyed = idempotency_key is not None
        await self._look_up_senders([request], client, keyed=keyed)
        link = await self._link([request], keyed=keyed)
        email, content = self._compose(request, new_email_id(ns), now, client, request_id, link)
        note(email_id=email.id)
        new = prepare(self._store, email, content)
        counted = await self._count_towards_limit([new], client, idempotency_key)
        try:
            self._quota_guard.take(new.content_bytes)  # not before: a refusal would use up room
            stored = await accept(
                self._store,
                client.identity,
                new,
                idempotency_key=idempotency_key,
                fingerprint=fingerprint,
            )
        except (EtcdError, IdempotencyConflict) as error:
            self.allowances.failed(client, error, counted)
            if isinstance(error, EtcdUnavailable | OutcomeUnknown):
                raise NotAcknowledged(error, keyed=keyed, email_id=email.id) from None
            raise
        recipients = len(email.recipients)
        self.allowances.stored(client, 0 if stored.repeated else recipients, counted)
        tracing.current().set("babygun.email_id", stored.email_id)
        if stored.repeated:
            note(email_id=stored.email_id)
            now = at_ms(created_ms(stored.email_id))
        else:
            self._note_accepted(recipients, stored.suppressed_for)
        addresses = tuple(email.recipients[n].email for n in stored.suppressed)
        return Acceptance(stored.email_id, now, recipients, addresses, stored.repeated)

    async def accept_batch(
        self,
        entries: Sequence[EmailRequest | InvalidRequest],
        *,
        client: Client,
        request_id: str | None = None,
        all_or_none: bool = True,
        idempotency_key: str | None = None,
        fingerprint: str = "",
    ) -> BatchAcceptance:
        """Checks every e-mail of a batch, then stores those that break no rule.

        An entry that is an error is an e-mail that could not be understood. ``all_or_none``: one
        invalid e-mail refuses the batch with InvalidEmail, which names every broken rule. Raises
        DailyLimitReached and IdempotencyConflict, too. Raises NotAcknowledged or OutOfSpace if no
        e-mail is known to be stored.
        """
        keyed = idempotency_key is not None
        await self._look_up_senders(entries, client, _BATCH, keyed=keyed)
        link = await self._link(entries, _BATCH, keyed=keyed)

        def ready(entry: EmailRequest, email_id: str, now: datetime) -> NewEmail:
            email, content = self._compose(entry, email_id, now, client, request_id, link)
            return prepare(self._store, email, content)

        batch = Batch(entries, ready, keyed=keyed)
        record = BatchRecord(len(entries), time.time_ns(), os.urandom(16), ())
        emails = await batch.prepare(record)
        if batch.refused and all_or_none:
            raise batch.refusal()
        outcome = BatchOutcome([None] * len(emails))
        if any(emails):
            # With all_or_none the same body has another answer.
            fingerprint += "" if all_or_none else "-permissive"
            counted = await self._count_towards_limit(emails, client, idempotency_key, _BATCH)
            try:
                self._quota_guard.take(*(new.content_bytes for new in emails if new))
                outcome = await accept_batch(
                    self._store,
                    client.identity,
                    record,
                    emails,
                    idempotency_key=idempotency_key,
                    fingerprint=fingerprint,
                    prepare_again=batch.prepare,
                )
            except (EtcdError, IdempotencyConflict) as error:
                self.allowances.failed(client, error, counted)
                if isinstance(error, EtcdUnavailable | OutcomeUnknown):
                    raise NotAcknowledged(error, _BATCH, keyed=keyed) from None
                raise
            unknown = [
                emails[n] for n, e in outcome.errors.items() if isinstance(e, OutcomeUnknown)
            ]
            stored = _recipients([*outcome.stored, *unknown])
            self.allowances.stored(client, stored, counted)
        for new in outcome.stored:
            self._note_accepted(len(new.addresses), new.suppressed_for)
        accepted = sum(email_id is not None for email_id in outcome.ids)
        note(emails=accepted)
        if refused := len(entries) - accepted:
            note(refused=refused)
        tracing.current().set("babygun.emails", accepted)
        return BatchAcceptance(batch.items(outcome), outcome.repeated)

    def _compose(
        self,
        request: EmailRequest,
        email_id: str,
        now: datetime,
        client: Client,
        request_id: str | None,
        link: UnsubscribeLink | None,
    ) -> tuple[Email, Content]:
        """The record and the content. Raises InvalidEmail with every broken rule.

        ``link``: that of e-mails that want one.
        """
        rule = self._sender_domains.rule(client.identity)
        checked = check_request(request, self._routes, self._store.settings, rule)
        span = tracing.current()
        email = new_email(
            email_id,
            client_id=client.identity,
            sender=checked.sender,
            subject=checked.content.subject,
            recipients=checked.recipients,
            now=now,
            send_at=checked.send_at,
            expires_at=checked.expires_at,
            weight=client.weight,
            tags=checked.tags,
            metadata=checked.metadata,
            list=checked.list,
            ignore_suppressions=bool(request.ignore_suppressions),
            request_id=request_id,
            traceparent=span.traceparent,
            tracestate=span.tracestate,
        )
        content = checked.content
        return email, replace(content, unsubscribe=link) if checked.list else content

    async def _look_up_senders(
        self,
        entries: Sequence[EmailRequest | InvalidRequest],
        client: Client,
        what: str = _ONE,
        *,
        keyed: bool,
    ) -> None:
        """Before the rules are applied. Raises NotAcknowledged, as :meth:`_link` does."""
        if not self._sender_domains.required:
            return
        requests = (entry for entry in entries if isinstance(entry, EmailRequest))
        senders = (sender for request in requests if (sender := sender_of(request)))
        try:
            await self._sender_domains.look_up(senders, client.identity)
        except EtcdUnavailable as error:
            raise NotAcknowledged(error, what, keyed=keyed) from None

    async def _link(
        self,
        entries: Sequence[EmailRequest | InvalidRequest],
        what: str = _ONE,
        *,
        keyed: bool,
    ) -> UnsubscribeLink | None:
        """How links to unsubscribe are made now, if an e-mail wants some.

        Raises NotAcknowledged, with ``what`` as its subject. Nothing is stored then.
        """
        url = self._store.settings.public_url
        if not url or not any(getattr(entry, "unsubscribe", None) for entry in entries):
            return None
        try:
            key = await self._link_keys.current()
        except EtcdUnavailable as error:
            raise NotAcknowledged(error, what, keyed=keyed) from None
        return UnsubscribeLink(f"{url}{UNSUBSCRIBE_PATH}", key.kid)

    async def _count_towards_limit(
        self,
        emails: Sequence[NewEmail | None],
        client: Client,
        idempotency_key: str | None,
        what: str = _ONE,
    ) -> Counted:
        """Counts their recipients before they are stored, if the client has a daily limit.

        Raises DailyLimitReached, and NotAcknowledged as :meth:`_link`.
        """
        try:
            return await self.allowances.count(client, _recipients(emails), idempotency_key)
        except DailyLimitReached:
            metrics.CLIENT_REFUSALS["day"].inc()
            raise
        except EtcdUnavailable as error:
            keyed = idempotency_key is not None
            raise NotAcknowledged(error, what, keyed=keyed) from None

    def _note_accepted(self, recipients: int, suppressed_for: Sequence[str]) -> None:
        """An e-mail was stored by this call: the metrics count it.

        ``suppressed_for``: the reason for each recipient that is suppressed.
        """
        self.accepted += 1
        metrics.EMAILS_ACCEPTED.inc()
        metrics.RECIPIENTS_ACCEPTED.inc(recipients)
        for reason in suppressed_for:
            metrics.RECIPIENTS_SUPPRESSED[reason].inc()
        if len(suppressed_for) == recipients:
            metrics.EMAILS_ENDED["failed"].inc()


def _recipients(emails: Iterable[NewEmail | None]) -> int:
    return sum(len(new.addresses) for new in emails if new is not None)
