"""What all workers together send to one site stays within its limits."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from babygun.routing.providers import Limits, Rate
from babygun.runtime.settings import Settings
from babygun.worker.sites import keeper
from babygun.worker.sites.pace import interval, slot_count
from tests.support.rig import quick
from tests.worker.sites.senders import Message, Sender, shared_site


@contextmanager
def senders(settings: Settings, limits: Limits, number: int, pools: int = 1) -> Iterator[list]:  # type: ignore[type-arg]
    site = shared_site(limits)
    found = [Sender(settings, site, f"w{n}", pools) for n in range(number)]
    for each in found:
        each.start()
    try:
        yield found
    finally:
        for each in found:
            if each.is_alive():
                each.stop()
    assert [each.error for each in found] == [None] * number


def check(messages: list[Message], limits: Limits) -> None:
    """Slots, pace and rate were kept by all together."""
    by_slot: dict[int, list[Message]] = defaultdict(list)
    for message in sorted(messages):
        by_slot[message.slot].append(message)
    assert set(by_slot) <= set(range(1, slot_count(limits) + 1))
    for number, sent in by_slot.items():
        for before, after in pairwise(sent):
            assert after.at - before.at >= interval(limits, number) - 1e-6, (before, after)
    times = sorted(message.at for message in messages)
    for first in range(len(times)):
        within = [at for at in times[first:] if at <= times[first] + limits.rate.seconds]
        assert len(within) <= limits.rate.messages


def test_three_workers_of_which_one_dies_and_one_stands_still_keep_to_the_limits(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "SHARE", 0.8)
    limits = Limits(2, 10, Rate(20, 1.0))
    quicker = quick(settings, {}, lease_ttl=2.0)
    with senders(quicker, limits, 3, pools=2) as workers:
        time.sleep(2.5)
        workers[0].stop(crash=True)
        workers[1].pause(3.0)
        time.sleep(4.5)
    messages = [message for worker in workers for message in worker.messages]
    check(messages, limits)
    assert all(worker.messages for worker in workers)
