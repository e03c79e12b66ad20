"""Does everything level off? The last third of a run against the middle third."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from babygun.routing.sites import MX
from scripts.chaos.history import (
    KEYS,
    Answered,
    Asked,
    Footprint,
    Healed,
    History,
    Injected,
    Mail,
    Received,
    Recorder,
    Revision,
    Sampled,
)
from scripts.chaos.levels import Level, levels, problems, quiet, table, timed

END = 300.0  # s
MIB = 1 << 20

Grows = Callable[[float], float]  # a value by the time in the run


def flat(at: float) -> float:
    return 50.0


def grows(at: float) -> float:
    """From 100 to 700 in the run."""
    return 100 + 2 * at


def written(
    folder: Path,
    *,
    memory: Grows = flat,
    file: Grows = flat,
    delay: Grows = flat,
    second: Grows | None = None,
) -> History:
    """A run with a sample every 5 s, an e-mail every second, and a fault from 200 s to 210 s.

    ``memory``, ``file``: in MiB. ``second``: the memory of a second worker. ``delay``: of answers,
    in ms.
    """
    recorder = Recorder(folder / "history")
    for turn in range(int(END)):
        at = float(turn)
        if turn % 5 == 0:
            sizes = [int(of(at) * MIB) for of in (memory, second) if of]
            workers = tuple(
                Footprint("worker", number, 7, 10, 20, size, size)
                for number, size in enumerate(sizes, 1)
            )
            recorder.add(Sampled(at, workers, int(file(at) * MIB), MIB, 100, 10))
        if turn == 200:
            recorder.add(Injected(at, 1, "kill-worker"))
        if turn == 210:
            recorder.add(Healed(at, 1, "kill-worker"))
        mark, address = f"steady-{turn}", f"ok.steady-{turn}@one.example"
        slow = 9.0 if 200 <= turn < 210 else delay(at) / 1000
        recorder.add(Asked(at, turn, "chaos", 1, "send", None, (Mail(mark, (address,), "digest"),)))
        recorder.add(Answered(at + slow, turn, 202, (f"id-{turn}",)))
        recorder.add(
            Received(at + slow, "one", mark, "<m>", f"id-{turn}", (address,), "", "250", True)
        )
    recorder.close()
    return History(folder / "history")


def of(found: list[Level], name: str) -> Level:
    return next(level for level in found if level.name == name)


def test_run_that_is_flat_holds_all_levels_though_a_fault_slowed_it(tmp_path: Path) -> None:
    found = levels(written(tmp_path))
    assert problems(found) == []
    assert of(found, "memory of worker 1").last == 50
    assert of(found, "p99 to the 202").last == pytest.approx(50)
    assert "TOO MUCH" not in table(found)


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("memory", ["memory of worker 1"]),
        ("file", ["etcd's file"]),
        (
            "delay",
            ["p50 to the 202", "p99 to the 202", "p50 to the receiver", "p99 to the receiver"],
        ),
    ],
)
def test_what_grows_in_the_last_third_is_a_problem(
    tmp_path: Path, what: str, names: list[str]
) -> None:
    steep: Grows = (lambda at: at * at / 50) if what == "delay" else grows
    found = levels(written(tmp_path, **{what: steep}))
    assert [each.partition(":")[0] for each in problems(found)] == names
    assert all((" s for one asked at " in each) is (what == "delay") for each in problems(found))
    assert table(found).count("TOO MUCH") == len(names)


@pytest.mark.parametrize(("late", "problem"), [(50.0, False), (90.0, True)])
def test_worker_that_was_started_again_may_become_as_large_as_the_other(
    tmp_path: Path, late: float, problem: bool
) -> None:
    found = levels(written(tmp_path, second=lambda at: 20.0 if at < 2 * END / 3 else late))
    assert of(found, "memory of worker 2").holds is not problem


def test_quiet_begins_after_a_fault_has_settled_and_ends_before_the_next(tmp_path: Path) -> None:
    assert quiet(written(tmp_path)) == [(0.0, 198.0), (220.0, pytest.approx(END - 1, abs=1))]


def test_quiet_begins_after_the_hold_of_a_relay_though_its_fault_was_healed_before(
    tmp_path: Path,
) -> None:
    def hold(at: float, site: str, *, gone: bool = False) -> Revision:
        return Revision(at, 1, KEYS.hold(site), b"", 0, 1, 1, gone)

    recorder = Recorder(tmp_path / "history")
    for event in (
        Injected(50.0, 1, "relay-refuses-session"),
        hold(52.0, "one"),
        Healed(60.0, 1, "relay-refuses-session"),
        hold(70.0, f"{MX}mx1.tail.example"),
        hold(82.0, "one"),
        hold(90.0, "one", gone=True),
        Answered(200.0, 1, 202),
    ):
        recorder.add(event)
    recorder.close()
    assert quiet(History(tmp_path / "history")) == [(0.0, 48.0), (100.0, 200.0)]


def test_run_too_short_for_thirds_is_a_problem(tmp_path: Path) -> None:
    Recorder(tmp_path / "history").close()
    assert problems(levels(History(tmp_path / "history")))


def test_e_mail_that_a_server_defers_is_not_timed(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "history")
    for number, local in enumerate(("ok", "defer-1")):
        mail = Mail(f"steady-{number}", (f"{local}.steady-{number}@one.example",), "digest")
        recorder.add(Asked(1.0, number, "chaos", 1, "send", None, (mail,)))
        recorder.add(Answered(2.0, number, 202, (f"id-{number}",)))
    recorder.close()
    answered, received = timed(History(tmp_path / "history"))
    assert [each.seconds for each in answered] == [1.0]
    assert received == []
