"""Checks the checker: runs chaos on the product with one mistake at a time.

    make chaos-mutants                        every mutant, one after the other
    make chaos-mutants ARGS='--only NAME'     some

The exit status is 1 if a mutant lives: no rule has found it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from scripts.chaos.history import History
from scripts.chaos.mutants import Mutant, all_mutants
from scripts.chaos.report import write_mutants
from scripts.chaos.verdict import verdict

_MOST = 300.0  # s, that one run may take
_QUIET = "30"  # s, that a run waits for what a mistake has made stuck


@dataclass(frozen=True)
class Found:
    """``rules``: those that were broken, the first one first. ``after``: s of the run until then.

    ``text``: the verdict, or why there is none.
    """

    mutant: Mutant
    rules: tuple[str, ...]
    after: float
    text: str


def main() -> int:
    arguments = _arguments()
    wanted = set(filter(None, arguments.only.split(",")))
    mutants = [each for each in all_mutants() if not wanted or each.name in wanted]
    if unknown := wanted - {mutant.name for mutant in mutants}:
        print(f"there is no mutant {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    found = []
    for mutant in mutants:
        print(f"{mutant.name}: {mutant.mistake}", flush=True)
        found.append(_run(mutant, str(arguments.seed)))
        print(f"  {_said(found[-1])}", flush=True)
        if arguments.verbose or not found[-1].rules:
            print(found[-1].text, flush=True)
    print("", table(found), sep="\n")
    if arguments.write:
        write_mutants(arguments.write, table(found), [_cell(each) for each in all_mutants()])
    living = [each.mutant.name for each in found if not each.rules]
    print(f"LIVING: {', '.join(living)}" if living else f"all {len(found)} mutants were found")
    return 1 if living else 0


def table(found: list[Found]) -> str:
    """The result in Markdown."""
    lines = ["| mistake | found by | after |", "|---|---|---|"]
    for each in found:
        rules = ", ".join(f"`{rule}`" for rule in each.rules) or "**nothing**"
        lines.append(f"| {_cell(each.mutant)} | {rules} | {each.after:.0f} s |")
    return "\n".join(lines)


def _cell(mutant: Mutant) -> str:
    return mutant.mistake.rstrip(".")


def _run(mutant: Mutant, seed: str) -> Found:
    """Runs chaos in a copy with the mistake. The rules judge it from here, without the mistake."""
    with tempfile.TemporaryDirectory(prefix="babygun-mutant-", dir="/var/tmp") as temporary:
        tree, kept = Path(temporary) / "tree", Path(temporary) / "kept"
        tree.mkdir()
        mutant.copy_into(tree)
        said = _chaos(tree, ["--seed", seed, *mutant.arguments, "--keep", str(kept)])
        if not (kept / "history").exists():
            return Found(mutant, (), 0.0, said)
        judged = verdict(History(kept / "history"))
        rules = dict.fromkeys(violation.rule for violation in judged.violations)
        after = judged.violations[0].at if judged.violations else 0.0
        return Found(mutant, tuple(rules), after, f"{judged.text()}\n{said[-2000:]}")


def _chaos(tree: Path, arguments: list[str]) -> str:
    """Runs chaos on the copy; returns what it says. One that takes too long is ended."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "scripts.chaos", "--quiet", _QUIET, *arguments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        return process.communicate(timeout=_MOST)[0]
    except subprocess.TimeoutExpired:
        process.terminate()  # its history counts as far as it has come
        return process.communicate(timeout=_MOST)[0]


def _said(found: Found) -> str:
    if not found.rules:
        return "LIVES: no rule has found it"
    return f"found by {', '.join(found.rules)} after {found.after:.0f} s"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make chaos-mutants",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default="", metavar="NAME,…", help="these mutants alone")
    parser.add_argument("--seed", type=int, default=1, help="of each run")
    parser.add_argument("--verbose", action="store_true", help="print each verdict")
    parser.add_argument(
        "--write",
        type=Path,
        metavar="PAGE",
        help="also puts their rows into the table of this page, such as docs/reliability.md",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
