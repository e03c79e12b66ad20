"""``babygun emails list|show|cancel|retry``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from babygun.cli.output import as_json, table
from babygun.cli.remote import Remote, call_api

_AT_ONCE = 1000  # e-mails that the API changes in one call
_WAIT = "30s"  # for a change, in one call
_FILTERS = ("status", "tag", "recipient", "after", "before")
_MOST_PAGES = 20  # of a filtered listing, each of which looks at up to 1,000 e-mails


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    listing = actions.add_parser("list", help="the newest e-mails")
    listing.add_argument("--limit", type=int, default=20)
    listing.add_argument(
        "--status", choices=("incomplete", "waiting", "sending", "complete", "failed", "cancelled")
    )
    listing.add_argument("--tag")
    listing.add_argument("--recipient", metavar="ADDRESS", help="or @ and a domain")
    listing.add_argument(
        "--after", metavar="TIME", help="accepted at this time or later, e.g. 2030-01-31T08:00:00Z"
    )
    listing.add_argument("--before", metavar="TIME", help="accepted before this time")
    listing.add_argument("--cursor", help="where the last page ended")
    listing.add_argument("--json", action="store_true")
    show = actions.add_parser("show", help="one e-mail, its recipients and its log")
    show.add_argument("id")
    show.add_argument("--json", action="store_true")
    show.add_argument("--wait", action="store_true", help="wait until it is over")
    for name, help in (
        ("cancel", "stop what is not being sent yet"),
        ("retry", "try the recipients again that they did not reach"),
    ):
        actions.add_parser(name, help=help).add_argument(
            "id", nargs="+", help="one or several e-mails"
        )


def run(arguments: argparse.Namespace) -> int:
    async def work(remote: Remote) -> int:
        match arguments.action:
            case "list":
                await _list(remote, arguments)
            case "show":
                await _show(remote, arguments)
            case action:
                return await _change(remote, arguments.id, action)
        return 0

    return call_api(work)


async def _change(remote: Remote, ids: Sequence[str], action: str) -> int:
    """Cancels or retries; of several e-mails a line each, and exit status 1 if one of them could not be."""
    if len(ids) == 1:
        email = await remote.call("POST", f"/emails/{quote(ids[0], safe='')}/{action}")
        print(
            email["status"] + (f": {email['status_reason']}" if email.get("status_reason") else "")
        )
        return 0
    status = 0
    for at in range(0, len(ids), _AT_ONCE):
        for result in (
            await remote.call("POST", f"/emails/{action}", json={"ids": ids[at : at + _AT_ONCE]})
        )["results"]:
            changed = result["status"] == "ok"
            status = status if changed else 1
            print(f"{result['id']}  {result['email_status'] if changed else result['detail']}")
    return status


async def ended(remote: Remote, email_id: str) -> dict[str, Any]:
    """The e-mail, as soon as it is over."""
    while True:
        email: dict[str, Any] = await remote.call(
            "GET", f"/emails/{quote(email_id, safe='')}", params={"wait": _WAIT}
        )
        if email["status"] != "incomplete":
            return email


async def _list(remote: Remote, arguments: argparse.Namespace) -> None:
    page = await newest(
        remote,
        limit=arguments.limit,
        cursor=arguments.cursor,
        **{name: getattr(arguments, name) for name in _FILTERS},
    )
    emails, cursor = page["emails"], page["cursor"]
    if arguments.json:
        print(as_json(page))
        return
    scheduled = any(email["not_before"] for email in emails)
    head = (
        "ID",
        "CREATED (UTC)",
        "STATUS",
        *(["NOT BEFORE (UTC)"] if scheduled else []),
        "TO",
        "SUBJECT",
    )
    rows = [
        (
            e["id"],
            _time(e["created_at"]),
            e["status"],
            *([_time(e["not_before"])] if scheduled else []),
            _to(e),
            e["subject"][:40],
        )
        for e in emails
    ]
    print(
        table(head, rows)
        if rows
        else "no e-mails among those looked at so far"
        if cursor
        else "no e-mails"
    )
    if cursor:
        print(f"more: --cursor {cursor}")


async def newest(
    remote: Remote,
    *,
    limit: int,
    cursor: str | None = None,
    most_pages: int = _MOST_PAGES,
    **filters: str | None,
) -> dict[str, Any]:
    """``{emails, cursor}`` as ``GET /emails`` has them. Where a filter leaves a page short, the next ones are read too, up to ``most_pages``."""
    emails: list[dict[str, Any]] = []
    for _ in range(most_pages):
        given = {"limit": limit - len(emails), "cursor": cursor, **filters}
        page = await remote.call(
            "GET",
            "/emails",
            params={name: str(value) for name, value in given.items() if value is not None},
        )
        emails += page["emails"]
        cursor = page["cursor"]
        if cursor is None or len(emails) >= limit:
            break
    return {"emails": emails, "cursor": cursor}


def _time(moment: str | None) -> str:
    return moment[:19].replace("T", " ") if moment else "-"


def _to(email: dict[str, Any]) -> str:
    first, *rest = [str(r["email"]) for r in email["recipients"]]
    return first + (f" +{len(rest)}" if rest else "")


async def _show(remote: Remote, arguments: argparse.Namespace) -> None:
    path = f"/emails/{quote(arguments.id, safe='')}"
    email = await (ended(remote, arguments.id) if arguments.wait else remote.call("GET", path))
    log = await remote.call("GET", f"{path}/log")
    if arguments.json:
        print(as_json({"email": email, "log": log}))
        return
    for name in (
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
    ):
        if email.get(name) is not None:
            print(f"{name:14} {email[name]}")
    rows = [
        (
            r["email"],
            r["kind"],
            r["status"],
            str(r.get("status_code") or ""),
            r.get("enhanced_code") or "",
            r.get("status_reason") or "",
        )
        for r in email["recipients"]
    ]
    print("\n" + table(("RECIPIENT", "KIND", "STATUS", "CODE", "ENHANCED", "REASON"), rows))
    entries = (
        log["entries"]
        if isinstance(log, dict) and "entries" in log
        else log["log"]
        if isinstance(log, dict)
        else log
    )
    print(
        "\n"
        + table(
            ("TIME (UTC)", "EVENT", "WORKER", "REASON"),
            [
                (
                    e["at"][:23].replace("T", " "),
                    e["event"],
                    e.get("worker_id") or "",
                    e.get("reason") or "",
                )
                for e in entries
            ],
        )
    )
