"""``babygun warm-ups``: how much each new source may send; skip a warm-up, or begin it again."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from babygun.cli.output import as_json, table
from babygun.cli.remote import Remote, call_api

_SOURCE = "an address of ours or a sending domain, e.g. 192.0.2.7"
_BAR = 20  # characters of a full ceiling


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")
    actions = parser.add_subparsers(dest="action", metavar="action")
    for name, help in (
        ("show", "show one source, with what it has sent each day"),
        ("skip", "end its warm-up: there is no ceiling any more"),
        ("restart", "begin its warm-up again, today"),
    ):
        action = actions.add_parser(name, help=help)
        action.add_argument("source", help=_SOURCE)
        # A default here would undo a --json that stands before the action.
        action.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print JSON"
        )


def run(arguments: argparse.Namespace) -> int:
    async def work(remote: Remote) -> int:
        if arguments.action is None:
            answer = await remote.call("GET", "/warm-ups")
            shown = _list(answer)
        else:
            path = f"/warm-ups/{quote(arguments.source, safe=':')}"
            if arguments.action == "show":
                answer = await remote.call("GET", path)
            else:
                answer = await remote.call("POST", f"{path}/{arguments.action}")
            shown = _one(answer)
        print(as_json(answer) if arguments.json else shown)
        return 0

    return call_api(work)


def _list(answer: dict[str, Any]) -> str:
    if not answer["on"]:
        return "nothing warms up: the setting warm_up is off"
    if not answer["sources"]:
        return "no source was used yet"
    head = ("SOURCE", "BEGAN", "DAY", "A DAY AT EACH SITE", "SENT TODAY", "WAITS FOR TOMORROW")
    return table(head, [_row(source) for source in answer["sources"]])


def _row(source: dict[str, Any]) -> tuple[str, ...]:
    waits = [site["site"] for site in source["sites"] if site["waits"]]
    return (
        source["source"],
        source["began"] or "not used yet",
        "-" if source["warm"] or not source["began"] else str(source["day"]),
        _ceiling(source),
        _most(source["sites"]),
        ", ".join(waits) or "-",
    )


def _ceiling(source: dict[str, Any]) -> str:
    if source["warm"]:
        return "warm (skipped)" if source["skipped"] else "warm"
    return f"{source['ceiling']:,}"


def _most(sites: Sequence[dict[str, Any]]) -> str:
    """The site that got the most today."""
    if not sites or not sites[0]["days"][-1]["sent"]:
        return "-"
    return f"{sites[0]['days'][-1]['sent']:,} to {sites[0]['site']}"


def _one(source: dict[str, Any]) -> str:
    rows = [
        ("began", source["began"] or "not used yet"),
        ("said by", source["set_by"] or "first use"),
        ("day", str(source["day"])),
        ("a day at each site", _ceiling(source)),
    ]
    for site in source["sites"]:
        rows.append(("site", site["site"]))
        rows += [(day["date"], _day(day)) for day in site["days"]]
        if site["waits"]:
            rows.append(("waits", site["waits"]))
    return table(("SOURCE", source["source"]), rows)


def _day(day: dict[str, Any]) -> str:
    """``##########            100 of 200, 30 put off``"""
    put_off = f", {day['put_off']:,} put off" if day["put_off"] else ""
    if day["ceiling"] is None:
        return f"{day['sent']:,} sent"
    bar = "#" * round(_BAR * min(1, day["sent"] / day["ceiling"]))
    return f"{bar:<{_BAR}}  {day['sent']:,} of {day['ceiling']:,}{put_off}"
