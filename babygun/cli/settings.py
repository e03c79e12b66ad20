"""``babygun settings``: lists the settings, with their values or as the table of the docs."""

from __future__ import annotations

import argparse

from babygun.cli.output import table
from babygun.runtime import settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--markdown",
        action="store_true",
        help="print the table of docs/settings.md, without values",
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.markdown:
        print(markdown())
        return 0
    loaded = settings.load()
    rows = []
    for row in settings.table():
        value = getattr(loaded, row.name)
        shown = "(set)" if row.secret and value else row.write(value) or "-"
        rows.append((row.variable, shown, row.default or "-", row.help))
    print(table(("VARIABLE", "VALUE", "DEFAULT", "HELP"), rows))
    return 0


def markdown() -> str:
    """The table of docs/settings.md."""
    lines = ["| variable | type | default | what it does |", "|---|---|---|---|"]
    for row in settings.table():
        default = f"`{row.default}`" if row.default else ""
        lines.append(f"| `{row.variable}` | {row.type.name} | {default} | {row.help} |")
    return "\n".join(lines)
