"""`make attack` runs, judges each attack, and ends by itself. No test depends on how fast it is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from babygun.dev.etcd.binary import find_etcd
from scripts.attack.floods import Figures
from tests.support.needs import needs
from tests.support.paths import ROOT

MB = 1 << 20


@pytest.mark.timeout(300)
@needs(find_etcd(), "no etcd is prepared: make install")
def test_short_run_has_a_row_for_each_attack_and_nothing_gives_way() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.attack", "--quick", "--patience", "60"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    head, *rows, last = done.stdout.splitlines()
    assert head.split()[0] == "attack" and last == "all held"
    for words in (
        "no attack",
        "bombs to /healthz",
        "bombs to /emails with a token",
        "bodies of 65,000 bytes",
        "unfinished headers",
        "headers dripped",
        "bodies dripped",
        "connections idle",
        "metadata",
        "mail server that floods",
        "after all of this",
    ):
        [row] = [row for row in rows if words in row]
        assert row.endswith("held"), row


@pytest.mark.parametrize(
    ("figures", "fault"),
    [
        (Figures("x", probes=9, worst=0.5, grown=MB), ""),
        (Figures("x", probes=9, worst=0.6), "/healthz waited longer than 0.5 s"),
        (Figures("x", probes=9, failed=2), "/healthz failed 2 times"),
        (Figures("x", probes=9, grown=MB + 1), "took more than 1 MiB"),
        (Figures("x", fault="mail was lost"), "mail was lost"),
    ],
)
def test_figures_beyond_a_limit_say_what_gave_way(figures: Figures, fault: str) -> None:
    assert figures.what_gave_way(0.5, MB) == fault
