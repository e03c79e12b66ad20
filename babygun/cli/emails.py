"""``babygun emails list|show|cancel|retry``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from babygun.cli.output import as_json, status_line, table
from babygun.cli.remote import Remote, call_api

_AT_ONCE = 1000  # e-mails that the API changes in one call
# Options of `list` that the API takes by the same names.
_FILTERS = (
    "status",
    "subject",
    "sender",
    "recipient",
    "tag",
    "client",
    "id",
    "after",
    "before",
)
_STATUSES = ("incomplete", "waiting", "sending", "complete", "failed", "cancelled")
_MOST_PAGES = 20  # that one listing reads; with a filter, a page comes of up to 1,000 e-mails
_SHOWN = (
    "id",
    "status",
    "status_reason",
    "sender",
    "subject",
    "created_at",
    "updated_at",
    "not_before",
    "tries",
    "worker_id",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    listing = actions.add_parser("list", help="list the newest e-mails")
    listing.add_argument("--limit", type=int, default=20, help="at most so many (default: 20)")
    listing.add_argument("--status", choices=_STATUSES)
    for name, metavar, help in (
        ("subject", "WORD", "a part of the subject; repeat for several"),
        ("recipient", "ADDRESS", "an address, or @ and a domain; repeat for several"),
        ("tag", "TAG", "repeat for several"),
    ):
        listing.add_argument(f"--{name}", action="append", metavar=metavar, help=help)
    listing.add_argument("--sender", metavar="ADDRESS", help="an address, or @ and a domain")
    listing.add_argument("--client", metavar="ID", help="of this client (scope admin)")
    listing.add_argument("--id", metavar="BEGINNING", help="the id begins so")
    listing.add_argument(
        "--after", metavar="TIME", help="accepted at this time or later, e.g. 2030-01-31T08:00:00Z"
    )
    listing.add_argument("--before", metavar="TIME", help="accepted before this time")
    listing.add_argument("--cursor", help="go on where another list ended")
    listing.add_argument("--json", action="store_true", help="print JSON")
    show = actions.add_parser("show", help="show one e-mail, its recipients and its log")
    show.add_argument("id")
    show.add_argument("--json", action="store_true", help="print JSON")
    show.add_argument("--wait", action="store_true", help="wait until its status is final")
    for name, help in (
        ("cancel", "cancel what is not being sent yet"),
        ("retry", "try again to reach the recipients that were not reached"),
    ):
        action = actions.add_parser(name, help=help)
        action.add_argument("id", nargs="+", help="ids of one or several e-mails")


def run(arguments: argparse.Namespace) -> int:
    async def work(remote: Remote) -> int:
        match arguments.action:
            case "list":
                return await _list(remote, arguments)
            case "show":
                return await _show(remote, arguments)
            case action:
                return await _change(remote, arguments.id, action)

    return call_api(work)


# --- list ---


async def _list(remote: Remote, arguments: argparse.Namespace) -> int:
    filters = {name: getattr(arguments, name) for name in _FILTERS}
    page = await _newest(remote, arguments.limit, arguments.cursor, filters)
    if arguments.json:
        print(as_json(page))
        return 0
    emails, cursor = page["emails"], page["cursor"]
    if emails:
        print(_emails_table(emails))
    else:
        print("no e-mails among those read so far" if cursor else "no e-mails")
    if cursor:
        print(f"more: --cursor {cursor}")
    return 0


async def _newest(
    remote: Remote, limit: int, cursor: str | None, filters: dict[str, str | list[str] | None]
) -> dict[str, Any]:
    """``{emails, cursor}`` as ``GET /emails`` answers.

    With a filter a page can hold fewer e-mails than asked for. Then the next ones are read too.
    """
    emails: list[dict[str, Any]] = []
    for _ in range(_MOST_PAGES):
        given = {"limit": limit - len(emails), "cursor": cursor, **filters}
        params = [
            (name, str(value))
            for name, values in given.items()
            if values is not None
            for value in (values if isinstance(values, list) else [values])
        ]
        page = await remote.call("GET", "/emails", params=params)
        emails += page["emails"]
        cursor = page["cursor"]
        if cursor is None or len(emails) >= limit:
            break
    return {"emails": emails, "cursor": cursor}


def _emails_table(emails: Sequence[dict[str, Any]]) -> str:
    columns = {
        "ID": [email["id"] for email in emails],
        "CREATED (UTC)": [_time(email["created_at"]) for email in emails],
        "STATUS": [email["status"] for email in emails],
        "NOT BEFORE (UTC)": [_time(email["not_before"]) for email in emails],
        "TO": [_to(email) for email in emails],
        "SUBJECT": [email["subject"][:40] for email in emails],
    }
    if not any(email["not_before"] for email in emails):
        del columns["NOT BEFORE (UTC)"]
    return table(list(columns), list(zip(*columns.values(), strict=True)))


def _time(moment: str | None) -> str:
    return moment[:19].replace("T", " ") if moment else "-"


def _to(email: dict[str, Any]) -> str:
    if many := email["many"]:
        return f"{many['first']} +{many['total'] - 1}"
    first, *rest = [str(recipient["email"]) for recipient in email["recipients"]]
    return first + (f" +{len(rest)}" if rest else "")


# --- show ---


async def _show(remote: Remote, arguments: argparse.Namespace) -> int:
    path = f"/emails/{quote(arguments.id, safe='')}"
    email = await (remote.final(arguments.id) if arguments.wait else remote.call("GET", path))
    log = await remote.call("GET", f"{path}/log")
    if arguments.json:
        print(as_json({"email": email, "log": log}))
        return 0
    for name in _SHOWN:
        if email.get(name) is not None:
            print(f"{name:14} {email[name]}")
    parts = (_waits_table(email["waits"]), _recipients_table(email), _log_table(log))
    print("\n" + "\n\n".join(part for part in parts if part))
    return 0


def _waits_table(waits: Sequence[dict[str, Any]]) -> str:
    """Why each queue waits; empty where none does."""
    rows = [(wait["queue"], wait["why"], wait["explanation"], _reply(wait)) for wait in waits]
    return table(("QUEUE", "WAITS", "WHY", "REPLY"), rows) if rows else ""


def _reply(wait: dict[str, Any]) -> str:
    """What a server or an operator said."""
    said = wait["reply"] or {}
    names = ("status_code", "enhanced_code", "status_reason")
    return " ".join(str(said[name]) for name in names if said.get(name))


def _recipients_table(email: dict[str, Any]) -> str:
    rows = [
        (
            recipient["email"],
            recipient["kind"],
            recipient["status"],
            str(recipient.get("status_code") or ""),
            recipient.get("enhanced_code") or "",
            recipient.get("status_reason") or "",
        )
        for recipient in email["recipients"]
    ]
    return table(("RECIPIENT", "KIND", "STATUS", "CODE", "ENHANCED", "REASON"), rows)


def _log_table(log: dict[str, Any]) -> str:
    rows = [
        (
            entry["at"][:23].replace("T", " "),
            entry["event"],
            entry.get("worker_id") or "",
            entry.get("reason") or "",
        )
        for entry in log["entries"]
    ]
    return table(("TIME (UTC)", "EVENT", "WORKER", "REASON"), rows)


# --- cancel and retry ---


async def _change(remote: Remote, ids: Sequence[str], action: str) -> int:
    """Prints the new status; for several e-mails a line each. 1 if one could not be changed."""
    if len(ids) == 1:
        path = f"/emails/{quote(ids[0], safe='')}/{action}"
        print(status_line(await remote.call("POST", path)))
        return 0
    status = 0
    for start in range(0, len(ids), _AT_ONCE):
        several = {"ids": ids[start : start + _AT_ONCE]}
        answer = await remote.call("POST", f"/emails/{action}", json=several)
        for result in answer["results"]:
            changed = result["status"] == "ok"
            status = status if changed else 1
            print(f"{result['id']}  {result['email_status'] if changed else result['detail']}")
    return status
