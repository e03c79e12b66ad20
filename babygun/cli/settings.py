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
        shown = "(set)" if row.metadata["secret"] and value else settings.write(row, value) or "-"
        rows.append(
            (
                f"BABYGUN_{row.name.upper()}",
                shown,
                row.metadata["default"] or "-",
                row.metadata["help"],
            )
        )
    print(table(("VARIABLE", "VALUE", "DEFAULT", "HELP"), rows))
    return 0


def markdown() -> str:
    """The table of docs/settings.md."""
    lines = ["| variable | type | default | what it does |", "|---|---|---|---|"]
    for row in settings.table():
        parse = row.metadata["parse"]
        kind = settings.TYPE_NAMES.get(parse, parse.__name__).replace("|", ", ")
        default = f"`{row.metadata['default']}`" if row.metadata["default"] else ""
        lines.append(
            f"| `BABYGUN_{row.name.upper()}` | {kind} | {default} | {row.metadata['help']} |"
        )
    return "\n".join(lines)
