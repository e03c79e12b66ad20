"""In every state of one e-mail in small scopes the design's invariants hold, and none is stuck."""

from __future__ import annotations

from typing import Any

import pytest

from babygun.email import wide
from tests.store.emails.exploration import Budget, Exploration, State
from tests.support.machines import LONG

SCOPES: dict[str, tuple[Budget, dict[str, Any]]] = {
    "a lease ends": (Budget(claims=2, ends=1, holds=1), {"a": 1}),
    "a request is late": (Budget(claims=3, late=1, holds=1), {"a": 1}),
    "a lease ends and a request is late": (Budget(claims=2, ends=1, late=1), {"a": 1}),
    "a client asks": (Budget(claims=2, asked=2, holds=1), {"a": 1}),
    "a client asks and a request is late": (Budget(claims=2, late=1, asked=2), {"a": 1}),
    "a client asks and a lease ends": (Budget(claims=2, ends=1, asked=2), {"a": 1}),
    "a client edits and a lease ends": (
        Budget(claims=2, ends=1, asked=1),
        {"a": 1, "waits": True},
    ),
    "two queues and a client edits": (Budget(claims=1, asked=1), {"a": 1, "b": 1, "waits": True}),
    "two queues and a lease ends": (Budget(claims=2, ends=1), {"a": 1, "b": 1}),
    "two queues": (Budget(claims=2, asked=1), {"a": 1, "b": 1}),
    "two queues and a request is late": (Budget(claims=2, late=1), {"a": 1, "b": 1}),
    "a mailbox is gone and a client asks": (Budget(claims=3, asked=2, gone=1), {"a": 1}),
    "a mailbox is gone and a lease ends": (Budget(claims=3, ends=1, asked=1, gone=1), {"a": 1}),
    "a mailbox is gone and a request is late": (
        Budget(claims=2, late=1, asked=1, gone=1),
        {"a": 1},
    ),
    "a webhook comes and goes": (Budget(claims=2, asked=1, webhooks=3), {"a": 1}),
    "a webhook comes and goes and a request is late": (
        Budget(claims=2, late=1, webhooks=2),
        {"a": 1},
    ),
    "two queues and a webhook comes": (Budget(claims=2, webhooks=2), {"a": 1, "b": 1}),
    "something comes back": (Budget(claims=2, asked=2, back=2), {"a": 1}),
    "something comes back and a lease ends": (Budget(claims=2, ends=1, back=1), {"a": 2}),
    "something comes back and a request is late": (Budget(claims=2, late=1, back=1), {"a": 2}),
    "two queues and something comes back": (
        Budget(claims=2, asked=1, back=2),
        {"a": 1, "b": 1},
    ),
    "something comes back and a webhook comes": (
        Budget(claims=2, webhooks=2, back=1),
        {"a": 1},
    ),
    "one is erased": (Budget(claims=2, asked=1, erased=1), {"a": 2}),
    "one is erased and a lease ends": (Budget(claims=2, ends=1, erased=1), {"a": 2}),
    "one is erased and a request is late": (Budget(claims=2, late=1, erased=1), {"a": 2}),
    "two queues and one is erased": (
        Budget(claims=2, asked=1, erased=1, back=1),
        {"a": 1, "b": 1},
    ),
    "one is erased and a webhook comes": (Budget(claims=2, webhooks=2, erased=1), {"a": 2}),
    "two queues, one suppressed": (
        Budget(claims=2, asked=2, gone=1),
        {"a": 1, "b": 1, "suppressed": ["b"]},
    ),
    "two queues, both suppressed": (
        Budget(claims=1, asked=1),
        {"a": 1, "b": 1, "suppressed": ["a", "b"]},
    ),
}
# Of a wide e-mail only: there a try of one queue knows what another one's result has left.
WIDE_SCOPES: dict[str, tuple[Budget, dict[str, Any]]] = {
    "something comes back amid a try": (Budget(claims=3, back=1), {"a": 2, "b": 1}),
}
if LONG:
    SCOPES |= {
        "a lease ends, wide": (Budget(claims=3, ends=1, late=1, asked=1, holds=1), {"a": 1}),
        "a client edits twice and a lease ends": (
            Budget(claims=2, ends=1, asked=2),
            {"a": 1, "waits": True},
        ),
        "two queues and a client edits twice": (
            Budget(claims=2, asked=2),
            {"a": 1, "b": 1, "waits": True},
        ),
        "two leases end": (Budget(claims=3, ends=2, holds=1), {"a": 1}),
        "two queues, a lease ends and a client asks": (
            Budget(claims=2, ends=1, asked=1),
            {"a": 1, "b": 1},
        ),
        "two queues, a lease ends and a request is late": (
            Budget(claims=2, ends=1, late=1, holds=1),
            {"a": 1, "b": 1},
        ),
    }


def broken(exploration: Exploration, state: State) -> str:
    """Which invariant does not hold; empty: all do."""
    email = exploration.email(state)
    for name, queue in state.queues:
        if bool(queue.place) == email.queues[name].final:
            return f"{name}: its place is {queue.place!r}"
        if queue.owner and queue.place != "job":
            return f"{name}: owned without a job"
        recipients = [r for r in email.recipients if r.queue == name]
        if any(r.status == "suppressed" for r in recipients) and (
            queue.place or name not in state.suppressed
        ):
            return f"{name}: suppressed, and its place is {queue.place!r}"
        taken = recipients if queue.sent else recipients[:1] if queue.half else []
        if any((r.status == "delivered" or r.late) and r not in taken for r in recipients):
            return f"{name}: delivered though nobody has sent it"
        if max(queue.sent, queue.half) > 1 and state.left.ends == exploration.budget.ends:
            return f"{name}: a duplicate though every lease was kept"
        for (worker, queue_name), one in state.tries:
            trusted = one.owner.life == state.lives[worker]
            if (queue_name, one.phase, trusted) == (name, "sending", True) and (
                queue.owner != one.owner
            ):
                return f"{name}: sent by a worker that does not own it"
    if state.notices != state.happened:
        return f"{set(state.happened)} has happened, and there are notices of {set(state.notices)}"
    if not wide.is_whole(email):
        return f"the record does not count what the parts are: {email.wide}"
    if (email.status == "incomplete") != any(queue.place for _, queue in state.queues):
        return f"the e-mail is {email.status}"
    return ""


def path_to(number: int, came_from: list[tuple[str, int]]) -> str:
    names = []
    while number:
        name, number = came_from[number]
        names.append(name)
    return " > ".join(reversed(names))


@pytest.mark.parametrize("scope", SCOPES)
def test_invariants_hold_in_every_state_and_each_can_become_final(scope: str) -> None:
    budget, queues = SCOPES[scope]
    explore(Exploration(budget, **queues))


WIDE_SCOPES |= {name: scope for name, scope in SCOPES.items() if "queues" in name}


@pytest.mark.parametrize("scope", WIDE_SCOPES)
def test_invariants_hold_in_every_state_of_a_wide_email(scope: str) -> None:
    budget, queues = WIDE_SCOPES[scope]
    explore(Exploration(budget, is_wide=True, **queues))


def test_wide_record_is_wrong_where_a_finish_does_not_compare_its_revision() -> None:
    """The owner key does not protect what the record counts."""
    budget, queues = SCOPES["two queues"]
    with pytest.raises(AssertionError, match=r"the record does not count .* cancel > answer"):
        explore(Exploration(budget, is_wide=True, compares_record=False, **queues))


def test_wide_record_is_wrong_where_a_finish_does_not_compare_the_revision_of_its_part() -> None:
    """A worker knows the record from another queue's result, and not that a bounce came before."""
    budget, queues = WIDE_SCOPES["something comes back amid a try"]
    with pytest.raises(AssertionError, match=r"the record does not count .* bounce a > .* answer"):
        explore(Exploration(budget, is_wide=True, compares_part=False, **queues))


def test_notices_are_wrong_where_a_finish_does_not_compare_the_revision_of_the_webhooks() -> None:
    budget, queues = SCOPES["a webhook comes and goes"]
    with pytest.raises(AssertionError, match="has happened, and there are notices of"):
        explore(Exploration(budget, compares_webhook=False, **queues))


def explore(exploration: Exploration) -> None:
    """Visits every state. States have numbers: one is large, and takes long to look up."""
    states, numbers = [exploration.start], {exploration.start: 0}
    came_from: list[tuple[str, int]] = [("", 0)]
    before: list[list[int]] = [[]]
    for number, state in enumerate(states):  # which grows meanwhile
        assert not (fault := broken(exploration, state)), f"{fault}: {path_to(number, came_from)}"
        for name, after in exploration.steps(state):
            reached = numbers.setdefault(after, len(states))
            if reached == len(states):
                states.append(after)
                came_from.append((name, number))
                before.append([])
            before[reached].append(number)
    # Final, or with a job that any worker may claim: it has no owner.
    good = [n for n, state in enumerate(states) if exploration.email(state).final or _free(state)]
    ends = set(good)
    while good:
        for number in before[good.pop()]:
            if number not in ends:
                ends.add(number)
                good.append(number)
    stuck = [path_to(number, came_from) for number in range(len(states)) if number not in ends]
    assert not stuck, min(stuck, key=len)


def _free(state: State) -> bool:
    return all(not queue.owner for _, queue in state.queues)
