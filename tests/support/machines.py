"""Runs hypothesis state machines: short and always the same, or long and each time new.

``BABYGUN_TEST_MACHINES=long make test ARGS='-k machine --timeout 3600'`` is for runs by hand.
"""

from __future__ import annotations

import os

import hypothesis
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

LONG = os.environ.get("BABYGUN_TEST_MACHINES") == "long"


def be_steady() -> None:
    """Has hypothesis fail no test because a machine is slow, and make up the same each time."""
    hypothesis.settings.register_profile(
        "steady",
        database=None,
        deadline=None,
        derandomize=not LONG,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.settings.load_profile("steady")


def run_machine(machine: type[RuleBasedStateMachine], *, examples: int, steps: int) -> None:
    """Runs ``examples`` sequences of up to ``steps`` steps; a long run takes 50 times as many."""
    run_state_machine_as_test(
        machine,
        settings=hypothesis.settings(
            max_examples=examples * (50 if LONG else 1),
            stateful_step_count=steps * (2 if LONG else 1),
            derandomize=not LONG,
            print_blob=LONG,
            database=None,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        ),
    )
