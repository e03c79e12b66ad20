"""Changes of an e-mail that nobody sends: those that a client asks for, and the e-mail's own end.

A wide e-mail is cancelled or made ready some parts at a time: all may be too many bytes for one
request. A retry makes an e-mail incomplete as a whole, so it writes all parts at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from babygun.email import lifecycle
from babygun.email.edit import Edit
from babygun.email.edit import edit as edited
from babygun.email.model import Email
from babygun.email.transition import Transition
from babygun.email.tries import RecipientResult
from babygun.errors import Conflict, EtcdUnavailable, OutcomeUnknown
from babygun.runtime.clock import utc_now
from babygun.store.emails.change import Parts, Seen, change_record
from babygun.store.keys import JobRef
from babygun.store.store import Store


async def cancel(
    store: Store, email_id: str, *, client_id: str | None = None, request_id: str | None = None
) -> Email:
    """Stops what is not being sent; see lifecycle.cancel. Raises NotFound, Conflict."""
    return await _page_by_page(store, email_id, lifecycle.cancel, client_id, request_id)


async def send_now(
    store: Store, email_id: str, *, client_id: str | None = None, request_id: str | None = None
) -> Email:
    """Makes ready what waits for its time; see lifecycle.send_now. Raises NotFound, Conflict."""
    return await _page_by_page(store, email_id, lifecycle.send_now, client_id, request_id)


async def edit(
    store: Store,
    email_id: str,
    wanted: Edit,
    *,
    newest: int | None = None,
    client_id: str | None = None,
    request_id: str | None = None,
) -> None:
    """Changes when it is sent, its tags, its metadata; see :mod:`babygun.email.edit`.

    ``newest``: if the e-mail has changed after this revision, nothing is changed. Raises NotFound,
    Conflict: then nothing is changed, or the error says that some recipients are.
    """

    def change(email: Email, **context: Any) -> Transition:
        transition = edited(email, wanted, **context)
        if transition is None:
            raise _AsWanted
        return transition

    with suppress(_AsWanted):
        await _page_by_page(store, email_id, change, client_id, request_id, newest, whole=True)


class _AsWanted(Conflict):
    """The e-mail, or this page of it, is as wanted already."""


async def _page_by_page(
    store: Store,
    email_id: str,
    change: Callable[..., Transition],
    client_id: str | None,
    request_id: str | None,
    newest: int | None = None,
    *,
    whole: bool = False,
) -> Email:
    """Changes what nobody is sending: all parts of a wide e-mail, one page after the other.

    ``newest``: the first change raises Conflict if there was another one after this revision.
    ``whole``: a page that can't be changed ends it. By default other pages are changed all the
    same, and a Conflict means that none was.
    """

    def decide(seen: Seen) -> Transition:
        if email is None and newest is not None and seen.revision > newest:
            raise Conflict("the e-mail has changed meanwhile: read it again")
        return change(
            seen.email,
            sending=seen.sending,
            now=utc_now(),
            client_id=client_id,
            request_id=request_id,
        )

    page = Parts()
    email: Email | None = None
    while True:
        try:
            email = await change_record(store, email_id, decide, page)
        except Conflict as error:
            refused = whole and not isinstance(error, _AsWanted)
            if email is None and (refused or not page.more):
                raise
            if refused:
                said = f"some recipients are changed, and others can't be: {error}"
                raise Conflict(said) from None
        except EtcdUnavailable as error:
            if email is None:
                raise
            raise OutcomeUnknown(str(error)) from None  # some parts are changed
        if email is not None and not page.more:
            return email
        page = Parts(after=page.last)


async def expire(
    store: Store,
    ref: JobRef,
    outcome: RecipientResult,
    *,
    worker_id: str,
    ends: Callable[[Email], bool] = lambda _: True,
    needs: Sequence[bytes] = (),
) -> Email:
    """Ends a job that nobody sends; see lifecycle.expire. Raises NotFound, Conflict.

    ``ends``: whether the record's end has come; if not, it raises Conflict. ``needs``: keys without
    which it raises Conflict, beside the job's.
    """

    def decide(seen: Seen) -> Transition:
        if not ends(seen.email):
            raise Conflict("the e-mail has time left")
        return lifecycle.expire(
            seen.email,
            ref.queue,
            sending=seen.sending,
            worker_id=worker_id,
            now=utc_now(),
            outcome=outcome,
        )

    one = Parts(only=ref.queue)
    return await change_record(
        store, ref.email_id, decide, one, needs=(store.keys.job(ref), *needs)
    )


async def retry(
    store: Store, email_id: str, *, client_id: str | None = None, request_id: str | None = None
) -> Email:
    """Tries again the recipients not reached (lifecycle.retry). Raises NotFound, Conflict."""

    def decide(seen: Seen) -> Transition:
        return lifecycle.retry(
            seen.email, now=utc_now(), client_id=client_id, request_id=request_id
        )

    return await change_record(store, email_id, decide, Parts(all=True))
