"""The examples of events in the documents are events as they are sent."""

from __future__ import annotations

import json
import re
from typing import get_args

import msgspec

from babygun.api.webhooks.event_examples import examples
from babygun.email.email_events import event_id
from babygun.email.events import EVENT_TYPES, EventType
from tests.support.paths import ROOT

PAGE = (ROOT / "docs/webhooks.md").read_text()


def test_each_event_type_has_a_meaning_and_an_example() -> None:
    assert set(EVENT_TYPES) == set(get_args(EventType))
    assert list(examples()) == [*EVENT_TYPES, "test"]
    for type, event in examples().items():
        assert event.type == type
        assert event.data.event_id.endswith(f"-{event.data.sequence:04x}-{type}")
        if event.data.sequence:
            assert event.data.event_id == event_id(event.data.email_id, event.data.sequence, type)
        assert "sequence" in msgspec.to_builtins(event.data), "an acceptance's 0, too"


def test_page_shows_an_example_as_it_is_sent() -> None:
    [shown] = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    event = json.loads(shown)
    assert event == json.loads(msgspec.json.encode(examples()[event["type"]]))
