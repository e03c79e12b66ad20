"""Writes the tables of docs/ that are made from the source: ``python -m scripts.tables``."""

from __future__ import annotations

from pathlib import Path
from typing import get_type_hints

from msgspec import Struct
from msgspec.structs import fields

from babygun.api.http.problem_types import TYPES
from babygun.cli.settings import markdown as settings
from babygun.dev.mailbox import behaviours
from babygun.email.email_events import EventData, EventRecipient
from babygun.email.events import EVENT_TYPES
from babygun.runtime import metrics  # noqa: F401 (fills the table)
from babygun.runtime.log_events import CONTEXT, EVENTS
from babygun.runtime.metric_types import TABLE
from scripts import call_examples

DOCS = Path(__file__).parents[1] / "docs"


def metric_rows() -> str:
    lines = ["| metric | type | labels | of | what it says |", "|---|---|---|---|---|"]
    for row in TABLE:
        labels = ", ".join(f"`{label}`" for label in row.labels)
        roles = ", ".join(row.roles)
        lines.append(f"| `{row.name}` | {row.type} | {labels} | {roles} | {row.help} |")
    return "\n".join(lines)


def log_events() -> str:
    lines = ["| event | level | fields | what it means |", "|---|---|---|---|"]
    for event in EVENTS:
        fields = ", ".join(f"`{field}`" for field in event.fields.split())
        lines.append(f"| `{event.name}` | {event.levels} | {fields} | {event.meaning} |")
    return "\n".join(lines)


def log_context() -> str:
    lines = ["| field | what it is |", "|---|---|"]
    lines += [f"| `{field}` | {meaning} |" for field, meaning in CONTEXT.items()]
    return "\n".join(lines)


def webhook_events() -> str:
    lines = ["| event | what happened |", "|---|---|"]
    lines += [f"| `{type}` | {meaning} |" for type, meaning in EVENT_TYPES.items()]
    return "\n".join(lines)


def event_data() -> str:
    return _fields("data", EventData)


def event_recipients() -> str:
    return _fields("recipients", EventRecipient)


def _fields(place: str, kind: type[Struct]) -> str:
    """The fields of a part of an event, by their own descriptions."""
    lines = [f"| in `{place}` | what it is |", "|---|---|"]
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        [meta] = hints[field.name].__metadata__
        lines.append(f"| `{field.encode_name}` | {meta.description} |")
    return "\n".join(lines)


def problem_types() -> str:
    lines = ["| type | status | repeat? | means |", "|---|---|---|---|"]
    for kind in TYPES:
        repeat = kind.repeat.replace("find out first", "[find out first](#after-a-503)")
        lines.append(f"| `{kind.slug}` | {kind.status} | {repeat} | {kind.means} |")
    return "\n".join(lines)


def mailbox_addresses() -> str:
    lines = ["| test address | what happens |", "|---|---|"]
    lines += [f"| `{address}` | {said} |" for address, said in behaviours.TABLE]
    return "\n".join(lines)


# (page, table)
TABLES = (
    ("development.md", mailbox_addresses),
    ("api.md", problem_types),
    ("settings.md", settings),
    ("metrics.md", metric_rows),
    ("logs.md", log_context),
    ("logs.md", log_events),
    ("webhooks.md", webhook_events),
    ("webhooks.md", event_data),
    ("webhooks.md", event_recipients),
)


def updated(page: str, table: str) -> str:
    """The page with this table in place of the one that has the same head."""
    before, head, rest = page.partition(table.splitlines()[0] + "\n")
    if not head:
        raise ValueError("the page has no table with this head")
    lines = rest.splitlines(keepends=True)
    after = next((n for n, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return f"{before}{table}\n{''.join(lines[after:])}"


def main() -> None:
    for name, table in TABLES:
        page = DOCS / name
        page.write_text(updated(page.read_text(), table()))
    (DOCS / "calls.md").write_text(call_examples.page())


if __name__ == "__main__":
    main()
