"""``babygun emails list|show|change|cancel|retry|send-now``."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from babygun.cli.edit import add_change, change
from babygun.cli.output import as_json, count_of, duration, status_line, table
from babygun.cli.remote import Remote, call_api
from babygun.errors import SettingsError

_AT_ONCE = 1000  # e-mails that the API changes in one call
_PAGE = 100  # e-mails that it lists in one call
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
    listing.add_argument("--id", metavar="BEGINNING", help="the id begins so")
    _add_filters(listing)
    listing.add_argument("--cursor", help="go on where another list ended")
    listing.add_argument("--json", action="store_true", help="print JSON")
    show = actions.add_parser("show", help="show one e-mail, its recipients and its log")
    show.add_argument("id")
    show.add_argument("--json", action="store_true", help="print JSON")
    show.add_argument("--wait", action="store_true", help="wait until its status is final")
    show.add_argument(
        "--timeout",
        type=duration,
        default="10m",
        metavar="DURATION",
        help="how long --wait waits (default: 10m); then the e-mail is shown as it is",
    )
    add_change(actions)
    for name, help in (
        ("cancel", "cancel e-mails, except for tries under way"),
        ("retry", "try again to reach the recipients that were not reached"),
    ):
        action = actions.add_parser(name, help=help)
        action.add_argument("id", nargs="+", help="ids of one or several e-mails")
    hurry = actions.add_parser(
        "send-now",
        help="send e-mails now that wait for a later time or their next try",
        description="Sends waiting e-mails now: those that you name, or all that match a filter."
        " Use it after an outage, for example. A held site still holds its mail.",
    )
    hurry.add_argument("id", nargs="*", help="ids of one or several e-mails")
    _add_filters(hurry)
    hurry.add_argument("--queue", metavar="NAME", help="with a recipient that waits in this queue")
    hurry.add_argument(
        "--class", dest="reply_class", metavar="NAME", help="whose last try ended so"
    )
    hurry.add_argument("--all", action="store_true", help="all that waits")


def _add_filters(parser: argparse.ArgumentParser) -> None:
    for name, metavar, help in (
        ("subject", "WORD", "a part of the subject; repeat for several"),
        ("recipient", "ADDRESS", "an address, or @ and a domain; repeat for several"),
        ("tag", "TAG", "repeat for several"),
    ):
        parser.add_argument(f"--{name}", action="append", metavar=metavar, help=help)
    parser.add_argument("--sender", metavar="ADDRESS", help="an address, or @ and a domain")
    parser.add_argument("--client", metavar="ID", help="of this client (scope admin)")
    parser.add_argument(
        "--after", metavar="TIME", help="accepted at this time or later, e.g. 2030-01-31T08:00:00Z"
    )
    parser.add_argument("--before", metavar="TIME", help="accepted before this time")


def run(arguments: argparse.Namespace) -> int:
    async def work(remote: Remote) -> int:
        match arguments.action:
            case "list":
                return await _list(remote, arguments)
            case "show":
                return await _show(remote, arguments)
            case "change":
                return await change(remote, arguments)
            case "send-now" if not arguments.id:
                return await _send_all_now(remote, arguments)
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
    if arguments.wait:
        email = await remote.final(arguments.id, arguments.timeout)
    else:
        email = await remote.call("GET", path)
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
            recipient["status"] + (" late" if recipient.get("late") else ""),
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


# --- cancel, retry and send-now ---


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


async def _send_all_now(remote: Remote, arguments: argparse.Namespace) -> int:
    """Sends now all that waits and that the filters let through, a page at a time.

    Prints a count after each page, and why some could not be changed. 1 if there were such.
    """
    filters = {name: getattr(arguments, name) for name in _FILTERS if name not in ("status", "id")}
    queue, reply_class = arguments.queue, arguments.reply_class
    if not (arguments.all or queue or reply_class or any(filters.values())):
        raise SettingsError("name e-mails, give a filter, or give --all for all waiting e-mails")
    found = changed = 0
    reasons: Counter[str] = Counter()
    cursor: str | None = None
    while True:
        page = await _newest(remote, _PAGE, cursor, {"status": "waiting", **filters})
        cursor = page["cursor"]
        ids = [email["id"] for email in page["emails"] if _waits_so(email, queue, reply_class)]
        if ids:
            answer = await remote.call("POST", "/emails/send-now", json={"ids": ids})
            for result in answer["results"]:
                found += 1
                if result["status"] == "ok":
                    changed += 1
                else:
                    reasons[result["detail"]] += 1
            print(f"{count_of(changed, 'e-mail')} of {found} made ready", flush=True)
        if cursor is None:
            break
    for reason, count in reasons.most_common():
        print(f"{count_of(count, 'e-mail')} not changed: {reason}")
    if not found:
        print("no such e-mail waits")
    return 1 if reasons else 0


def _waits_so(email: dict[str, Any], queue: str | None, reply_class: str | None) -> bool:
    """Whether a recipient of it waits in this queue, and its last try ended with this class."""
    if not (queue or reply_class):
        return True
    return any(
        (queue is None or recipient["queue"] == queue)
        and (reply_class is None or recipient["reply_class"] == reply_class)
        for recipient in email["recipients"]
        if recipient["status"] in ("pending", "deferred")
    )
