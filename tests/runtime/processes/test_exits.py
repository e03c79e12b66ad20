"""How an end is described, and the pauses after it."""

from babygun.runtime.processes.exits import Backoff, describe_status


def test_pauses_double_up_to_the_longest_and_begin_again_after_health() -> None:
    backoff = Backoff()
    assert [backoff.pause(healthy=1) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert backoff.pause(healthy=59.9) == 30
    assert [backoff.pause(healthy=60), backoff.pause(healthy=0)] == [0.5, 1]


def test_status_is_described_for_people() -> None:
    assert [describe_status(status) for status in (0, 2, -9, -15, -200)] == [
        "exit status 0",
        "exit status 2",
        "SIGKILL",
        "SIGTERM",
        "signal 200",
    ]
