"""What local parts say."""

from __future__ import annotations

import pytest

from scripts.chaos.behaviours import ALWAYS, KINDS, Behaviour, behaviour_of


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("times", [0, 2])
def test_behaviour_of_its_own_local_part_is_the_same(kind: str, times: int) -> None:
    behaviour = Behaviour(kind, times, "steady-12-3")  # type: ignore[arg-type]
    assert behaviour_of(f"{behaviour.local_part()}@one.example") == behaviour


@pytest.mark.parametrize("address", ["ann@one.example", "lost.mark@one.example", "ok@one.example"])
def test_address_that_says_nothing_is_an_error(address: str) -> None:
    with pytest.raises(ValueError, match="says nothing"):
        behaviour_of(address)


def test_defer_twice_accepts_the_third_try() -> None:
    behaviour = behaviour_of("defer-2.m@one.example")
    assert [behaviour.to_rcpt(attempt)[:3] for attempt in (1, 2, 3)] == ["451", "451", ""]


def test_greylisted_recipient_is_taken_at_the_second_try_from_an_address() -> None:
    behaviour = behaviour_of("grey.m@one.example")
    assert [behaviour.to_rcpt(attempt)[:9] for attempt in (1, 2)] == ["451 4.7.1", ""]


@pytest.mark.parametrize(
    ("local_part", "ends"),
    [
        ("ok.m", {"delivered", "expired"}),
        ("cut-dot-1.m", {"delivered", "expired"}),
        ("bounce.m", {"bounced", "expired", "suppressed"}),
        ("bounce-dot.m", {"bounced", "expired"}),
        (f"defer-{ALWAYS}.m", {"expired"}),
    ],
)
def test_ends_of_a_recipient_are_those_that_its_behaviour_allows(
    local_part: str, ends: set[str]
) -> None:
    assert behaviour_of(f"{local_part}@one.example").ends() == ends
