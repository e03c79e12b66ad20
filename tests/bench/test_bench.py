"""The benchmarks run, count right, leave nothing behind, and name what is not installed.

No test depends on how fast anything is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from babygun.dev.etcd.binary import find_etcd
from scripts.bench import report
from scripts.bench.compare import prepared
from scripts.bench.loadgen import ROOT, Load, Mail, Sink, arrival_times, sent_times
from scripts.bench.processes import BenchError, Stage
from scripts.bench.procstat import Meter
from tests.support.needs import needs
from tests.support.processes import is_gone

needs_compiler = needs(shutil.which("gcc") or shutil.which("cc"), "gcc is not installed")
needs_etcd = needs(find_etcd(), "no etcd is prepared: make install")


@pytest.mark.timeout(300)
@needs_compiler
@needs_etcd
def test_comparison_of_babygun_alone_writes_a_result_with_rates_costs_and_latencies(
    tmp_path: Path,
) -> None:
    output, page = tmp_path / "result.json", tmp_path / "page.md"
    page.write_text("before\n<!-- bench:compare -->\nold\n<!-- /bench:compare -->\nafter\n")
    words = [
        "compare",
        "--only",
        "babygun",
        "--rounds",
        "1",
        "--count",
        "200",
        "--seconds",
        "1",
        "--output",
        output,
        "--write",
        page,
    ]
    done = subprocess.run(
        [sys.executable, "-m", "scripts.bench", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(output.read_text())
    (system,) = result["systems"]
    (only,) = system["rounds"]
    assert (system["name"], only["accept"]["count"], only["deliver"]["count"]) == (
        "Babygun",
        200,
        200,
    )
    assert (
        set(only["deliver"]["cpu"]) == set(only["deliver"]["memory"]) == {"api", "worker", "etcd"}
    )
    assert all(
        value > 0
        for value in (
            *only["deliver"]["cpu"].values(),
            *only["deliver"]["memory"].values(),
            only["accept"]["accept_rate"],
            only["deliver"]["rate"],
        )
    )
    assert only["accept"]["rate"] == 0  # nothing was delivered
    latency = only["light"]["latency"]
    assert latency["accepted_p50"] > 0 and 0 < latency["p50"] <= latency["p99"]
    assert (only["deliver"]["duplicates"], only["deliver"]["stray"]) == (0, 0)
    text = page.read_text()
    assert (
        text.startswith("before\n<!-- bench:compare -->\n|")
        and text.endswith("<!-- /bench:compare -->\nafter\n")
        and "old" not in text
    )
    assert "Babygun" in text and result["machine"]["cpu"] in text


@pytest.mark.timeout(300)
@needs_etcd
@needs(shutil.which("chromium"), "there is no chromium: apt-get install chromium")
def test_page_is_opened_and_flooded_and_the_result_says_how_quick_it_was(tmp_path: Path) -> None:
    output = tmp_path / "result.json"
    words = ["page", "--opens", "1", "--seconds", "0.5", "--output", output]
    done = subprocess.run(
        [sys.executable, "-m", "scripts.bench", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr  # 1: something was slow
    result = json.loads(output.read_text())
    assert len(result["paints_ms"]) == 1 and result["bytes"] > 10_000
    assert result["updates_rate"] > 0 and result["longest_frame_ms"] > 0
    assert (done.returncode == 1) == bool(result["problems"])


@needs_compiler
def test_sink_counts_each_number_once_and_reports_duplicates_and_strays() -> None:
    with Stage() as stage:
        sink = Sink(stage)
        sink.expect(Mail(100, 50), stage.folder / "arrived")
        for mail in (Mail(100, 50), Mail(120, 10), Mail(7, 3, recipients=4)):
            assert (
                Load(stage, "smtp", [sink.port], mail, connections=3, times=stage.folder / "sent")
                .wait()
                .refused
                == 0
            )
        counted = sink.wait()
        assert (counted.distinct, counted.messages, counted.stray, counted.recipients) == (
            50,
            63,
            3,
            72,
        )
        assert all(
            counted.first <= at <= counted.last for at in arrival_times(stage.folder / "arrived")
        )
        assert all(
            counted.last < sent <= answered for sent, answered in sent_times(stage.folder / "sent")
        )  # the strays came last


@needs_compiler
def test_load_at_a_rate_keeps_to_it() -> None:
    with Stage() as stage:
        sink = Sink(stage)
        sink.expect(Mail(0, 30))
        sent = Load(stage, "smtp", [sink.port], Mail(0, 30), rate=100).wait()
        assert (
            sent.seconds >= 0.29
        )  # the last one is due then; no upper bound, since the machine may be busy


def test_stage_ends_its_processes_and_removes_its_folder() -> None:
    with (
        pytest.raises(BenchError, match=r"(?s)sleeper was not ready.*last words"),
        Stage() as stage,
    ):
        process = stage.start("sleeper", ["sh", "-c", "sleep 300 & echo $! last words; wait"])
        while not (said := stage.last_words("sleeper").split()):
            time.sleep(0.01)
        grandchild = int(said[0])
        assert not is_gone(grandchild)
        stage.ready("sleeper", lambda: False, within=0.1)
    assert process.returncode is not None and not stage.folder.exists()
    while not is_gone(grandchild):  # SIGKILL takes a moment
        time.sleep(0.01)


def test_meter_counts_the_time_of_children_that_have_ended() -> None:
    work = "for _ in range(3_000_000): pass"
    with Stage() as stage:
        script = (
            "import subprocess, sys\n"
            "input()\n"
            f"subprocess.run([sys.executable, '-c', {work!r}])\n"
            "print(flush=True)\n"
            "input()\n"
        )
        process = stage.start("parent", [sys.executable, "-c", script], pipes=True)
        assert process.stdin and process.stdout
        with Meter({"parent": [process.pid]}) as meter:
            process.stdin.write(b"\n")
            process.stdin.flush()
            process.stdout.readline()
    assert meter.costs["parent"].cpu > 0.02 and meter.costs["parent"].peak > 1 << 20


def test_systems_that_are_not_installed_are_named_with_the_way_to_install_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda program, **rest: None)
    said: list[str] = []
    kinds, missing = prepared(["postfix", "celery", "bullmq"], said.append)
    assert kinds == [] and set(missing) == {"Postfix", "Celery", "BullMQ"}
    assert all("apt-get install" in reason for reason in missing.values()) and len(said) == 3


def test_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing\n")
    with pytest.raises(BenchError, match="nothing was written"):
        report.write_part(page, "bench:compare", "table")
    assert page.read_text() == "nothing\n"


def test_written_part_has_paragraphs_of_100_columns_and_tables_as_they_are(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- bench:compare -->\n<!-- /bench:compare -->\n")
    row = f"| {'cell ' * 30}|"
    report.write_part(page, "bench:compare", f"{row}\n\n{'word ' * 30}")
    lines = page.read_text().splitlines()
    assert row in lines and max(len(line) for line in lines if line != row) <= 100
