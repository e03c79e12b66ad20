"""``babygun suppressions``: the addresses that a client's mail does not go to."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from babygun.cli.output import as_json, count_of, table
from babygun.cli.remote import Remote, call_api
from babygun.cli.suppression_files import export_file, import_file
from babygun.email.suppression import ALL_MAIL, REASONS

_LARGEST_PAGE = 1000
_MOST_PAGES = 20  # that one listing reads; with a filter a page can be empty
_FILTERS = ("prefix", "list", "reason", "client")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    listing = _action(actions, "list", "list them by list and address, or search")
    _add_filters(listing)
    listing.add_argument("--limit", type=int, default=20, help="at most so many (default: 20)")
    listing.add_argument("--cursor", help="go on where another list ended")
    listing.add_argument("--json", action="store_true", help="print JSON")
    show = _action(actions, "show", "show the lists that an address is on")
    show.add_argument("email", metavar="address")
    show.add_argument("--list", help="this list alone")
    show.add_argument("--json", action="store_true", help="print JSON")
    add = _action(actions, "add", "put an address on a list: no mail goes there")
    add.add_argument("email", metavar="address")
    add.add_argument(
        "--list", default=ALL_MAIL, help="a kind of mail (default: *, all mail of the client)"
    )
    add.add_argument("--reason", choices=REASONS, default="manual", help="default: manual")
    add.add_argument("--until", metavar="TIME", help="e.g. 2030-01-31T08:00:00Z")
    remove = _action(actions, "remove", "take an address off: mail goes there again")
    remove.add_argument("email", metavar="address")
    remove.add_argument("--list", help="off this list alone (default: off all lists)")
    take_in = _action(actions, "import", "put the addresses of a file on lists: CSV or NDJSON")
    take_in.add_argument("file", help="- reads standard input")
    take_in.add_argument("--list", help="for all rows, instead of the list in the row")
    take_in.add_argument(
        "--reason", choices=REASONS, help="for all rows, instead of the reason in the row"
    )
    take_in.add_argument(
        "--from-line", type=int, default=1, metavar="N", help="go on where an import ended"
    )
    give_out = _action(actions, "export", "write all of them into a file")
    give_out.add_argument("file", nargs="?", default="-", help="default: standard output")
    give_out.add_argument("--format", choices=("csv", "ndjson"), default="csv")
    _add_filters(give_out)
    give_out.add_argument("--cursor", help="go on where an export ended, at the file's end")


def _action(actions: Any, name: str, help: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=help)
    parser.add_argument(
        "--client",
        metavar="ID",
        help="another client's: needs the scope admin (default: your own)",
    )
    return parser


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prefix", metavar="TEXT", help="how the address begins")
    parser.add_argument("--list", help="this list alone")
    parser.add_argument("--reason", choices=REASONS)


def run(arguments: argparse.Namespace) -> int:
    match arguments.action:
        case "import":
            return import_file(
                arguments.file, _given(arguments, "list", "reason", "client"), arguments.from_line
            )
        case "export":
            wanted = _given(arguments, *_FILTERS)
            return export_file(arguments.file, arguments.format, wanted, arguments.cursor)

    async def work(remote: Remote) -> int:
        if arguments.action == "list":
            return await _list(remote, arguments)
        return await _one(remote, arguments)

    return call_api(work)


def _given(arguments: argparse.Namespace, *names: str) -> dict[str, str]:
    """The options that were given, as parameters of the call."""
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}


async def _list(remote: Remote, arguments: argparse.Namespace) -> int:
    found: list[dict[str, Any]] = []
    cursor = arguments.cursor
    for _ in range(_MOST_PAGES):
        limit = min(_LARGEST_PAGE, arguments.limit - len(found))
        params = _given(arguments, *_FILTERS) | {"limit": str(limit)}
        if cursor is not None:
            params["cursor"] = cursor
        page = await remote.call("GET", "/suppressions", params=params)
        found += page["suppressions"]
        cursor = page["cursor"]
        if cursor is None or len(found) >= arguments.limit:
            break
    if arguments.json:
        print(as_json({"suppressions": found, "cursor": cursor}))
        return 0
    if found:
        print(_table(found))
    else:
        print("none among those read so far" if cursor else "no address is suppressed")
    if cursor:
        print(f"more: --cursor {shlex.quote(cursor)}")
    return 0


async def _one(remote: Remote, arguments: argparse.Namespace) -> int:
    path = f"/suppressions/{quote(arguments.email, safe='')}"
    match arguments.action:
        case "show":
            params = _given(arguments, "list", "client")
            answer = await remote.call("GET", path, params=params)
            print(as_json(answer) if arguments.json else _table(answer["suppressions"]))
        case "add":
            body = _given(arguments, "email", "list", "reason", "until")
            params = _given(arguments, "client")
            print(_table([await remote.call("POST", "/suppressions", json=body, params=params)]))
        case "remove":
            params = _given(arguments, "list", "client")
            answer = await remote.call("DELETE", path, params=params)
            lists = [one["list"] for one in answer["suppressions"]]
            print(f"taken off {count_of(len(lists), 'list')}: {', '.join(lists)}")
    return 0


def _table(found: Sequence[dict[str, Any]]) -> str:
    columns = {
        "ADDRESS": [one["email"] for one in found],
        "LIST": [one["list"] for one in found],
        "REASON": [one["reason"] for one in found],
        "SINCE (UTC)": [_time(one["since"]) for one in found],
        "UNTIL (UTC)": [_time(one["until"]) for one in found],
        "CLIENT": [one["client_id"] for one in found],
        "REPLY": [_reply(one) for one in found],
    }
    if len(set(columns["CLIENT"])) == 1:
        del columns["CLIENT"]
    if not any(columns["REPLY"]):
        del columns["REPLY"]
    return table(list(columns), list(zip(*columns.values(), strict=True)))


def _time(moment: str | None) -> str:
    return moment[:16].replace("T", " ") if moment else "for ever"


def _reply(one: dict[str, Any]) -> str:
    names = ("status_code", "enhanced_code", "reply")
    return " ".join(str(one[name]) for name in names if one[name])[:80]
