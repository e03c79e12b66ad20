"""An erasure in one e-mail, with each of its requests gone wrong, and with others amid it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from babygun.email.erasure import MARK
from babygun.errors import Conflict, EtcdError, NotFound
from babygun.store import Store, codec
from babygun.store.emails.finish import finish
from babygun.store.emails.on_request import cancel, retry
from babygun.store.erasure.emails import NOBODY, erase_in_email
from babygun.store.keys import range_end
from tests.store.emails.steps import HARD, OK, SOFT, claimed, pending
from tests.store.webhooks.steps import new_webhook
from tests.support.faulty_etcd import FAULTS, Died, Fault, FaultyProcess
from tests.support.invariants import check_invariants
from tests.support.rig import Rig

ANN, BOB = "ann@example.org", "bob@example.org"
MOST_REQUESTS = 14  # that an erasure makes of these e-mails


async def alone(rig: Rig) -> str:
    return await rig.send(ANN)


async def deferred(rig: Rig) -> str:
    """To two; its log names Ann."""
    email_id = await rig.send(ANN, BOB)
    await finish(rig.store, [pending(await claimed(rig, email_id), SOFT)])
    return email_id


async def ended(rig: Rig) -> str:
    """To two, and final: its record has its end, its content an end mark."""
    email_id = await rig.send(ANN, BOB)
    await finish(rig.store, [pending(await claimed(rig, email_id), HARD)])
    return email_id


STATES = [alone, deferred, ended]


async def until_erased(store: Store, email_id: str) -> None:
    for _ in range(3):
        if await erase_in_email(store, email_id, ANN, asker=NOBODY) == "gone":
            return
    raise AssertionError("it is not erased")


async def check(rig: Rig, email_id: str) -> None:
    """Nothing but a notice names Ann, and Bob has his e-mail."""
    keys = rig.store.keys
    found = await rig.store.client.range(keys.prefix, range_end(keys.prefix))
    notices = (keys.notices, keys.sent_notices)
    left = [
        kv.key
        for kv in found.kvs
        if email_id.encode() in kv.key
        and not kv.key.startswith(notices)
        and ANN.encode() in kv.value
    ]
    assert left == []
    record = next((kv for kv in found.kvs if kv.key == keys.email(email_id)), None)
    if record is None:
        below = [kv.key for kv in found.kvs if email_id.encode() in kv.key]
        assert all(key.startswith(notices) for key in below), below
    else:
        assert [r.email for r in codec.decode_email(record.value).recipients] == [MARK, BOB]


@pytest.mark.parametrize("state", STATES)
async def test_erasure_that_goes_wrong_at_any_request_is_done_when_it_is_run_again(
    rig: Rig, state: Callable[[Rig], Awaitable[str]]
) -> None:
    number, passed = 1, False
    while not passed:
        passed = True
        for fault in FAULTS:
            passed &= not await _with_fault(rig, await state(rig), number, fault)
        number += 1
        assert number < MOST_REQUESTS
    await check_invariants(rig.store)


async def _with_fault(rig: Rig, email_id: str, number: int, fault: Fault) -> bool:
    """Whether the erasure came to the request that goes wrong."""
    process = FaultyProcess(rig.settings)
    async with process.store:
        with suppress(EtcdError, Died):
            await process.do(
                lambda store: erase_in_email(store, email_id, ANN, asker=NOBODY),
                faults={number: fault},
            )
        reached = process._requests >= number
        await until_erased(rig.store, email_id)
        for late in process.late:
            await process.arrive(late)
        await process.close()
    await check(rig, email_id)
    return reached


async def _tried(rig: Rig, email_id: str) -> None:
    with suppress(AssertionError):  # there is no job, or it waits
        await finish(rig.store, [pending(await claimed(rig, email_id), OK)])


async def _cancelled(rig: Rig, email_id: str) -> None:
    with suppress(Conflict, NotFound):
        await cancel(rig.store, email_id)


async def _retried(rig: Rig, email_id: str) -> None:
    with suppress(Conflict, NotFound):
        await retry(rig.store, email_id)


async def _erased_too(rig: Rig, email_id: str) -> None:
    await erase_in_email(rig.store, email_id, ANN, asker=NOBODY)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("other", [_tried, _cancelled, _retried, _erased_too])
async def test_erasure_is_right_whatever_happens_amid_it(
    rig: Rig,
    state: Callable[[Rig], Awaitable[str]],
    other: Callable[[Rig, str], Awaitable[None]],
) -> None:
    await new_webhook(rig.store)
    for number in range(1, MOST_REQUESTS):
        email_id = await state(rig)
        process = FaultyProcess(rig.settings)
        async with process.store:
            await process.do(
                lambda store, one=email_id: erase_in_email(store, one, ANN, asker=NOBODY),  # type: ignore[misc]
                meanwhile={number: lambda one=email_id: other(rig, one)},  # type: ignore[misc]
            )
            await until_erased(rig.store, email_id)
            await process.close()
        await check(rig, email_id)


async def test_erasure_waits_for_the_try_that_sends_to_the_recipient(rig: Rig) -> None:
    email_id = await rig.send(ANN, BOB)
    one = pending(await claimed(rig, email_id), OK)
    assert await erase_in_email(rig.store, email_id, ANN, asker=NOBODY) == "sending"
    await finish(rig.store, [one])
    assert await erase_in_email(rig.store, email_id, ANN, asker=NOBODY) == "erased"
    assert (await rig.get(email_id)).status == "complete"
    await check_invariants(rig.store)
