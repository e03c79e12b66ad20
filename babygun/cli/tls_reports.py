"""``babygun tls-reports``: what recipients' domains hear of their hosts' TLS (RFC 8460)."""

from __future__ import annotations

import argparse
from typing import Any
from urllib.parse import quote

from babygun.cli.output import as_json, table
from babygun.cli.remote import Remote, call_api

_HEAD = ("DAY", "DOMAIN", "SUCCESSFUL", "FAILED", "STATE", "SENT TO")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    listing = actions.add_parser("list", help="list the reports, the newest day first")
    listing.add_argument("--day", default="", help="only of this day of UTC, e.g. 2026-11-29")
    listing.add_argument("--domain", default="", help="only about this domain")
    listing.add_argument("--limit", type=int, default=20, help="at most so many, up to 100")
    listing.add_argument("--json", action="store_true", help="print JSON")
    show = actions.add_parser("show", help="print one report, as it was sent")
    show.add_argument("day", help="a day of UTC, e.g. 2026-11-29")
    show.add_argument("domain", help="the domain that it is about")


def run(arguments: argparse.Namespace) -> int:
    async def work(remote: Remote) -> int:
        if arguments.action == "show":
            day, domain = quote(arguments.day, safe=""), quote(arguments.domain, safe="")
            print(as_json((await remote.call("GET", f"/tls-reports/{day}/{domain}"))["report"]))
            return 0
        given = {"day": arguments.day, "domain": arguments.domain, "limit": str(arguments.limit)}
        parameters = {name: value for name, value in given.items() if value}
        answer = await remote.call("GET", "/tls-reports", params=parameters)
        print(as_json(answer) if arguments.json else _table(answer["reports"]))
        return 0

    return call_api(work)


def _table(reports: list[dict[str, Any]]) -> str:
    """A row for each place."""
    if not reports:
        return "no TLS report (they are off by default: docs/tls-reports.md)"
    rows = [
        (
            report["day"],
            report["domain"],
            str(report["successful"]),
            str(report["failed"]),
            place["state"],
            f"{place['uri']} ({place['reason']})" if place["reason"] else place["uri"],
        )
        for report in reports
        for place in report["places"]
    ]
    return table(_HEAD, rows)
