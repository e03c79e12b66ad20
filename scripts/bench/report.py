"""Results as JSON, as tables in Markdown, and as the part of a page between two marker lines."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scripts.bench.loadgen import ROOT
from scripts.bench.processes import BenchError, run

FOLDER = ROOT / "bench-results"  # ignored by git


def described(kind: str, machine: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """A result, with what is needed to repeat it. ``kind``: a key of the tables."""
    try:
        commit = run(["git", "-C", ROOT, "describe", "--always", "--dirty"]).strip()
    except BenchError:  # no checkout
        commit = ""
    command = " ".join(["python -m scripts.bench", *sys.argv[1:]])
    return {
        "kind": kind,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "commit": commit,
        "machine": dict(machine),
        **content,
    }


def save(result: Mapping[str, Any], output: Path | None) -> Path:
    """Writes the result to ``output``, or to a file named by the time; returns the path."""
    path = output or FOLDER / f"{datetime.now():%Y-%m-%d-%H%M%S}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path


def write_part(page: Path, mark: str, text: str) -> None:
    """Puts the text between the lines ``<!-- <mark> -->`` and ``<!-- /<mark> -->``.

    Raises BenchError if the page does not have both.
    """
    before, _, after = _parts(page, mark)
    page.write_text(f"{before}\n{wrapped(text.strip())}\n{after}")


def read_part(page: Path, mark: str) -> str:
    """The text between those lines. Raises BenchError if the page does not have both."""
    return _parts(page, mark)[1].strip()


def _parts(page: Path, mark: str) -> tuple[str, str, str]:
    """A page up to the first line, between the lines, and from the second one on."""
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    head, found, rest = page.read_text().partition(begin)
    text, found_end, tail = rest.partition(end)
    if not found or not found_end:
        raise BenchError(f"{page} has no lines {begin} and {end}: nothing was written")
    return head + begin, text, end + tail


def wrapped(text: str) -> str:
    """Markdown with paragraphs of 100 columns. Lines of tables stay as they are."""
    return "\n".join(
        line if line.startswith("|") else textwrap.fill(line, 100, break_on_hyphens=False)
        for line in text.split("\n")
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown. All columns but the first are numbers, so aligned right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = [
        [
            cell.ljust(width) if not i else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in (header, *rows)
    ]
    rule = ["-" * (width - 1) + ("-" if not i else ":") for i, width in enumerate(widths)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


def made_on(result: Mapping[str, Any]) -> str:
    """The machine, the versions and the command, as sentences."""
    machine = result["machine"]
    versions: dict[str, str] = {}
    for system in result.get("systems", ()):
        versions |= system["versions"]
    versions |= result.get("versions", {})
    programs = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    text = (
        f"`{result['command']}` on {result['at'][:10]}, commit {result['commit'] or '?'}:"
        f" {machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']:g} GiB of memory,"
        f" {machine['system']}, Linux {machine['kernel']}, {machine['filesystem']},"
        f" an fsync takes {machine['fsync_ms']:.2g} ms; Python {machine['python']}, {programs}."
    )
    if machine["load_before"] >= 0.5:
        text += f" Before it the machine's load was {machine['load_before']:g}."
    return text


def comparison(result: Mapping[str, Any]) -> str:
    """The table of a comparison."""
    header = (
        "",
        "accept /s",
        "× Postfix",
        "end to end /s",
        "× Postfix",
        "CPU, µs",
        "of that",
        "p50, ms",
        "p99, ms",
        "memory, MiB",
    )
    rows = []
    for system in result["systems"]:
        medians, ratio = system["summary"], system.get("ratios", {}).get("Postfix", {})
        rows.append(
            (
                system["name"],
                f"{medians['accept_rate']:,.0f}",
                f"{ratio['accept']:.2f}" if ratio else "",
                f"{medians['rate']:,.0f}",
                f"{ratio['rate']:.2f}" if ratio else "",
                f"{medians['cpu_sum']:,.0f}",
                _by_role(medians["cpu"]),
                f"{medians['latency']['p50']:.1f}",
                f"{medians['latency']['p99']:.1f}",
                f"{sum(medians['memory'].values()):,.0f}"
                + (f" ({_by_role(medians['memory'])})" if len(medians["memory"]) > 1 else ""),
            )
        )
    lines = [table(header, rows)]
    for name, reason in result["skipped"].items():
        lines.append(f"{name} was skipped: {reason.splitlines()[0]}")
    lines.append(made_on(result))
    shares = ", ".join(
        f"{system['name']} {_share(system['summary']):.0f} %" for system in result["systems"]
    )
    lines.append(
        f"Load generator and sink used this part of a run's CPU time: {shares}."
        f" Other programs on the machine used {_others(result):.2f} cores on average."
    )
    for system in result["systems"]:
        if system["name"] == "Babygun" and (ratios := system["ratios"]):
            beside = ", ".join(f"{its['rate']:.2f} times {name}'s" for name, its in ratios.items())
            lines.append(f"Babygun's rate end to end is {beside}.")
            processes = f"With {result['machine']['cores']} API processes"
            lines += _acceptance(system["summary"], ratios, "spread", processes)
            batches = "By batches of 100 in one call, with one API process,"
            lines += _acceptance(system["summary"], ratios, "batch", batches)
    return "\n\n".join(lines)


def _acceptance(
    medians: Mapping[str, Any], ratios: Mapping[str, Mapping[str, float]], name: str, how: str
) -> list[str]:
    """A sentence on another way of acceptance, beside the other systems' rates."""
    if f"{name}_rate" not in medians:
        return []
    beside = ", ".join(
        f"{its[name]:.2f} times {other}'s" for other, its in ratios.items() if name in its
    )
    return [
        f"{how} it accepts {medians[f'{name}_rate']:,.0f} e-mails a second"
        f" ({_by_role(medians[f'{name}_cpu'])} µs of CPU for each),"
        f" {beside} rate of acceptance."
    ]


_PART_TITLES = {
    "processes": "Processes",
    "recipients": "Recipients of one e-mail",
    "sizes": "Size of one e-mail",
    "signatures": "DKIM signatures on each e-mail",
    "return-paths": "Return paths of e-mails to one and to ten recipients",
    "batches": "Acceptance alone, with no worker",
}


def scaling(result: Mapping[str, Any]) -> str:
    """The tables of a scaling run."""
    lines = []
    for name, cases in result["parts"].items():
        lines.append(f"**{_PART_TITLES[name]}**")
        lines.append(_cases(name, cases))
    if backlog := result.get("backlog"):
        rates = backlog["rates"]
        change = (rates["end"] / rates["start"] - 1) * 100
        lines += [
            f"**A backlog of {backlog['count']:,} e-mails**",
            f"Accepted in batches of 100 at {backlog['accept_rate']:,.0f}/s while there was no"
            f" worker, then drained by one in {backlog['seconds']:,.0f} s:"
            f" {rates['start']:,.0f}/s at the start, {rates['middle']:,.0f}/s in the middle,"
            f" {rates['end']:,.0f}/s at the end ({change:+.0f} %)."
            f" Memory at most: worker {backlog['worker_peak_rss']:,.0f} MiB,"
            f" etcd {backlog['peak_rss']['etcd']:,.0f}, API {backlog['peak_rss']['api']:,.0f}."
            f" CPU per e-mail delivered: {_by_role(backlog['cpu'])} µs.",
        ]
    lines.append(made_on(result))
    busy = [each["summary"]["others_cores"] for cases in result["parts"].values() for each in cases]
    if busy:
        lines.append(
            f"Other programs on the machine used {sum(busy) / len(busy):.2f} cores on average,"
            f" at most {max(busy):.2f} in one case."
        )
    return "\n\n".join(lines)


def _cases(name: str, cases: Sequence[Mapping[str, Any]]) -> str:
    """The table of one part, with each rate as a multiple of the first case's."""
    delivers = bool(cases[0]["case"]["workers"])
    rates = [
        each["summary"]["rate"] if delivers else each["summary"]["accept_rate"] for each in cases
    ]
    header = ["", "end to end /s" if delivers else "accept /s", "× the first"]
    header += {"recipients": ["recipients /s"], "sizes": ["MB /s"]}.get(name, [])
    header += ["CPU, µs", "of that", "largest process, MiB"]
    rows = []
    for each, rate in zip(cases, rates, strict=True):
        medians, case = each["summary"], each["case"]
        more = {
            "recipients": [f"{rate * case['recipients']:,.0f}"],
            "sizes": [f"{rate * case['size'] / 1e6:,.1f}"],
        }.get(name, [])
        rows.append(
            [
                each["label"],
                f"{rate:,.0f}",
                f"{rate / rates[0]:.2f}",
                *more,
                f"{medians['cpu_sum']:,.0f}",
                _by_role(medians["cpu"]),
                _by_role(medians["memory"]),
            ]
        )
    return table(header, rows)


TABLES = {"compare": comparison, "scaling": scaling}


def _by_role(values: Mapping[str, float]) -> str:
    return ", ".join(f"{role} {value:,.0f}" for role, value in values.items())


def _share(medians: Mapping[str, Any]) -> float:
    tools = medians["generator_cpu"] + medians["sink_cpu"]
    return float(100 * tools / (tools + medians["cpu_sum"]))


def _others(result: Mapping[str, Any]) -> float:
    found = [system["summary"]["others_cores"] for system in result["systems"]]
    return sum(found) / len(found) if found else 0.0
