"""``babygun audit``: who changed what, by the API and by commands."""

from __future__ import annotations

import argparse
from typing import Any

from babygun.cli.output import as_json, table
from babygun.cli.remote import Remote, call_api

_LARGEST_PAGE = 100
_MOST_PAGES = 20  # that one listing reads; with a filter a page can be empty
_FILTERS = ("action", "by", "target", "outcome", "after", "before")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--action", help="only this one, e.g. deleteClient")
    parser.add_argument("--by", help="a client's id, user@host, or a process's id")
    parser.add_argument("--target", help="what it was done to: an id, a domain, an address")
    parser.add_argument("--outcome", choices=("begun", "done", "failed", "unknown"))
    parser.add_argument("--after", metavar="TIME", help="e.g. 2030-01-31T08:00:00Z")
    parser.add_argument("--before", metavar="TIME")
    parser.add_argument("--limit", type=int, default=20, help="at most so many (default: 20)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    async def work(remote: Remote) -> int:
        entries = await _read(remote, arguments)
        if arguments.json:
            print(as_json({"entries": entries}))
        elif entries:
            print(table(_HEAD, [_row(entry) for entry in entries]))
        else:
            print("no such change is known")
        return 0

    return call_api(work)


async def _read(remote: Remote, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    params = {name: value for name in _FILTERS if (value := getattr(arguments, name))}
    found: list[dict[str, Any]] = []
    for _ in range(_MOST_PAGES):
        left = arguments.limit - len(found)
        params["limit"] = str(min(left, _LARGEST_PAGE))
        page = await remote.call("GET", "/audit", params=params)
        found += page["entries"]
        if page["cursor"] is None or len(found) >= arguments.limit:
            break
        params["cursor"] = page["cursor"]
    return found


_HEAD = ("BEGUN (UTC)", "BY", "ACTION", "TARGET", "OUTCOME", "DETAILS")


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    details = "; ".join(f"{name}: {value}" for name, value in entry["details"].items())
    return (
        entry["at"][:19].replace("T", " "),
        entry["by"],
        entry["action"],
        entry["target"] or "-",
        entry["outcome"],
        f"{details}; {entry['reason']}".strip("; ") or "-",
    )
