"""The faults, as far as they can be looked at without a stage. ``tests/faults`` runs them."""

from __future__ import annotations

import re

from scripts.chaos.faults import all_faults

PARTS = {"etcd", "api", "worker", "bounced", "relay", "site", "dns", "policy", "domain", "webhook"}


def test_each_fault_says_what_it_does_and_what_it_breaks() -> None:
    faults = all_faults()
    for fault in faults:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", fault.name)
        assert fault.sentence.endswith("."), fault.name
        assert fault.touches and fault.touches <= PARTS, fault.name
        assert 0 < fault.seconds[0] <= fault.seconds[1], fault.name
    assert len({fault.name for fault in faults}) == len(faults) > 40
