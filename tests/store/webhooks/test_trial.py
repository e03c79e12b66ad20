"""A test event waits as any other, for the webhook alone that is tested."""

from __future__ import annotations

import pytest

from babygun.errors import NotFound
from babygun.store.webhooks.health import read_states
from babygun.store.webhooks.trial import MESSAGE, write_test_event
from tests.store.webhooks.steps import new_webhook, ready
from tests.support.rig import Rig


async def test_test_event_waits_whatever_the_filter_says(rig: Rig) -> None:
    webhook = await new_webhook(rig.store, events=("bounced",), tags=("order",))
    other = await new_webhook(rig.store)
    name = await write_test_event(rig.store, "client:1f", webhook.id)
    [event] = await ready(rig.store, webhook)
    assert (event.type, event.data.event_id, event.data.message) == ("test", name, MESSAGE)
    assert event.data.client_id == "client", "without its serial"
    assert await ready(rig.store, other) == []
    states = await read_states(rig.store, [webhook.id, other.id])
    assert [states[one.id].waiting for one in (webhook, other)] == [1, 0]


async def test_webhook_that_does_not_exist_gets_no_test_event(rig: Rig) -> None:
    with pytest.raises(NotFound):
        await write_test_event(rig.store, "client", "wh_000000000000000000000000")
