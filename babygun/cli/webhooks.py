"""``babygun webhooks``: make, change and delete webhooks; what was sent to them, and again."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import quote

from babygun.cli.output import as_json, table
from babygun.cli.remote import Remote, call_api

_PAGE = 100
_AT_ONCE = 1000  # events by id in one call
_TEST_WAIT = 20.0  # s, for the first try of a test event
_TEST_PAUSE = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    listing = _action(actions, "list", "list the webhooks", id=False)
    listing.add_argument("--client", metavar="ID", help="only this client's; with the scope admin")
    create = _action(
        actions, "create", "make one; prints its secret, which can't be printed again", id=False
    )
    create.add_argument("url", help="where events go, e.g. https://shop.example.com/webhooks/mail")
    _add_filter(create)
    create.add_argument("--secret", help="whsec_ and 24 to 64 bytes in base64 (default: random)")
    _action(actions, "show", "show one, and how its endpoint answers")
    change = _action(actions, "change", "change the given fields; the others stay as they are")
    change.add_argument("--url")
    _add_filter(change)
    enabled = change.add_mutually_exclusive_group()
    enabled.add_argument(
        "--enable", dest="enabled", action="store_true", default=None, help="send events again"
    )
    enabled.add_argument(
        "--disable", dest="enabled", action="store_false", default=None, help="send no events"
    )
    _action(actions, "delete", "delete one, and the events that wait for it")
    _action(actions, "test", "send a test event, and print the result")
    secret = _action(actions, "secret", "make a new secret; the old one works for 24 hours more")
    secret.add_argument("--secret", help="whsec_ and 24 to 64 bytes in base64 (default: random)")
    deliveries = _action(
        actions, "deliveries", "list the events that were sent, and those that wait"
    )
    deliveries.add_argument("--limit", type=int, default=20, help="at most so many (default: 20)")
    deliveries.add_argument("--state", choices=("waiting", "sent", "failed"))
    deliveries.add_argument("--cursor", help="go on where another list ended")
    replay = _action(actions, "replay", "send events again: sent ones or failed ones")
    replay.add_argument(
        "--since", metavar="TIME", help="that happened then or later, e.g. 2030-01-31T08:00:00Z"
    )
    replay.add_argument("--until", metavar="TIME", help="that happened before (default: now)")
    replay.add_argument(
        "--event", metavar="ID", action="append", help="this event; repeat for several"
    )


def _action(actions: Any, name: str, help: str, *, id: bool = True) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=help)
    if id:
        parser.add_argument("id", help="the webhook's id: wh_…")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _add_filter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--event",
        metavar="TYPE",
        action="append",
        dest="events",
        help="only this type, e.g. bounced; repeat for several; * for all",
    )
    parser.add_argument(
        "--tag",
        metavar="TAG",
        action="append",
        dest="tags",
        help='only e-mails with this tag; repeat for several; "" for all e-mails',
    )
    parser.add_argument("--description", help="for people")


def run(arguments: argparse.Namespace) -> int:
    async def work(remote: Remote) -> int:
        return await _ACTIONS[arguments.action](remote, arguments)

    return call_api(work)


def _path(arguments: argparse.Namespace, *rest: str) -> str:
    return "/".join(("/webhooks", quote(arguments.id, safe=""), *rest))


async def _list(remote: Remote, arguments: argparse.Namespace) -> int:
    webhooks: list[dict[str, Any]] = []
    params = {"limit": str(_PAGE)} | ({"client": arguments.client} if arguments.client else {})
    while True:
        page = await remote.call("GET", "/webhooks", params=params)
        webhooks += page["webhooks"]
        if page["cursor"] is None:
            break
        params["cursor"] = page["cursor"]
    if arguments.json:
        print(as_json({"webhooks": webhooks}))
    elif webhooks:
        print(_webhooks_table(webhooks))
    else:
        print("no webhooks yet: babygun webhooks create URL")
    return 0


def _webhooks_table(webhooks: Sequence[dict[str, Any]]) -> str:
    columns = {
        "ID": [one["id"] for one in webhooks],
        "CLIENT": [one["client_id"] for one in webhooks],
        "STATUS": [one["health"]["status"] for one in webhooks],
        "WAITING": [str(one["health"]["waiting"]) for one in webhooks],
        "EVENTS": [",".join(one["events"]) for one in webhooks],
        "TAGS": [",".join(one["tags"]) or "-" for one in webhooks],
        "URL": [one["url"] for one in webhooks],
    }
    if len(set(columns["CLIENT"])) == 1:
        del columns["CLIENT"]
    return table(list(columns), list(zip(*columns.values(), strict=True)))


async def _create(remote: Remote, arguments: argparse.Namespace) -> int:
    body = {"url": arguments.url, **_filter(arguments)}
    if arguments.secret is not None:
        body["secret"] = arguments.secret
    made = await remote.call("POST", "/webhooks", json=body)
    print(as_json(made) if arguments.json else f"id      {made['id']}\nsecret  {made['secret']}")
    return 0


def _filter(arguments: argparse.Namespace) -> dict[str, Any]:
    """What of the filter is given, as the API takes it."""
    given: dict[str, Any] = {}
    if arguments.events is not None:
        given["events"] = arguments.events
    if arguments.tags is not None:
        given["tags"] = [tag for tag in arguments.tags if tag]
    if arguments.description is not None:
        given["description"] = arguments.description
    return given


async def _show(remote: Remote, arguments: argparse.Namespace) -> int:
    return _shown(await remote.call("GET", _path(arguments)), arguments)


async def _change(remote: Remote, arguments: argparse.Namespace) -> int:
    body = _filter(arguments)
    for name in ("url", "enabled"):
        if (value := getattr(arguments, name)) is not None:
            body[name] = value
    return _shown(await remote.call("PATCH", _path(arguments), json=body), arguments)


def _shown(webhook: dict[str, Any], arguments: argparse.Namespace) -> int:
    print(as_json(webhook) if arguments.json else _one(webhook))
    return 0


def _one(webhook: dict[str, Any]) -> str:
    health, disabled = webhook["health"], webhook["disabled"]
    rows = [
        ("client", webhook["client_id"]),
        ("url", webhook["url"]),
        ("events", ", ".join(webhook["events"])),
        ("tags", ", ".join(webhook["tags"]) or "any"),
        ("description", webhook["description"]),
        ("status", health["status"]),
        ("disabled", f"{_time(disabled['at'])}: {disabled['reason']}" if disabled else ""),
        ("last success", _time(health["last_success_at"])),
        ("failing since", _time(health["failing_since"])),
        ("last error", health["last_error"] or ""),
        ("waiting", str(health["waiting"])),
        ("changed", _time(webhook["updated_at"])),
    ]
    return table(("WEBHOOK", webhook["id"]), [row for row in rows if row[1]])


async def _delete(remote: Remote, arguments: argparse.Namespace) -> int:
    await remote.call("DELETE", _path(arguments))
    return 0


async def _secret(remote: Remote, arguments: argparse.Namespace) -> int:
    given = {} if arguments.secret is None else {"secret": arguments.secret}
    made = await remote.call("POST", _path(arguments, "secret"), json=given)
    if arguments.json:
        print(as_json(made))
        return 0
    print(f"secret  {made['secret']}")
    if until := made["previous_until"]:
        print(f"the old secret also signs until {_time(until)} UTC")
    return 0


# --- test ---


async def _test(remote: Remote, arguments: argparse.Namespace) -> int:
    """Waits for the first try. 1 if it was no success."""
    sent = await remote.call("POST", _path(arguments, "test"))
    found = await _first_try(remote, _path(arguments, "deliveries"), sent["event_id"])
    if arguments.json:
        print(as_json(found or sent))
    elif found is None:
        print(f"{sent['event_id']} was not tried within {_TEST_WAIT:.0f} s: does a worker run?")
    else:
        print(_deliveries_table([found]))
    return 0 if found and found["state"] == "sent" else 1


async def _first_try(remote: Remote, path: str, event_id: str) -> dict[str, Any] | None:
    """The event once it was tried. None: it was not, for a long time."""
    end = time.monotonic() + _TEST_WAIT
    while True:
        page = await remote.call("GET", path, params={"limit": str(_PAGE)})
        for one in page["deliveries"]:
            if one["event_id"] == event_id and one["tries"]:
                return dict(one)
        if time.monotonic() > end:
            return None
        await asyncio.sleep(_TEST_PAUSE)


# --- deliveries and replay ---


async def _deliveries(remote: Remote, arguments: argparse.Namespace) -> int:
    names = ("limit", "state", "cursor")
    given = {name: getattr(arguments, name) for name in names}
    params = {name: str(value) for name, value in given.items() if value is not None}
    page = await remote.call("GET", _path(arguments, "deliveries"), params=params)
    if arguments.json:
        print(as_json(page))
        return 0
    if page["deliveries"]:
        print(_deliveries_table(page["deliveries"]))
    else:
        print("none among those read so far" if page["cursor"] else "none")
    if page["cursor"]:
        print(f"more: --cursor {page['cursor']}")
    return 0


def _deliveries_table(deliveries: Sequence[dict[str, Any]]) -> str:
    columns = {
        "EVENT": [one["event_id"] for one in deliveries],
        "HAPPENED (UTC)": [_time(one["created_at"]) for one in deliveries],
        "STATE": [one["state"] for one in deliveries],
        "TRIES": [str(one["tries"]) for one in deliveries],
        "ANSWER": [_answer(one) for one in deliveries],
        "NEXT TRY (UTC)": [_time(one["next_try_at"]) or "-" for one in deliveries],
    }
    if not any(one["next_try_at"] for one in deliveries):
        del columns["NEXT TRY (UTC)"]
    return table(list(columns), list(zip(*columns.values(), strict=True)))


def _answer(delivery: dict[str, Any]) -> str:
    """The code and the answer's first bytes, or why there was none."""
    if delivery["status_code"] is None:
        return str(delivery["error"] or "-")[:80]
    return f"{delivery['status_code']} {delivery['answer'] or ''}".strip()[:80]


async def _replay(remote: Remote, arguments: argparse.Namespace) -> int:
    """Repeats the call until all wait. 1 if an event is not kept."""
    path, replayed, missing = _path(arguments, "replay"), 0, []
    for body in _bodies(arguments):
        while True:
            answer = await remote.call("POST", path, json=body)
            replayed += answer["replayed"]
            missing += answer["not_found"]
            if answer["cursor"] is None:
                break
            body["cursor"] = answer["cursor"]
    if arguments.json:
        print(as_json({"replayed": replayed, "not_found": missing}))
    else:
        print(f"{replayed} to be sent again")
        for event_id in missing:
            print(f"{event_id} is not kept")
    return 1 if missing else 0


def _bodies(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """What the calls say. What is given in two ways goes along: the API refuses it."""
    given = {name: getattr(arguments, name) for name in ("since", "until")}
    by_time = {name: value for name, value in given.items() if value is not None}
    ids = arguments.event or []
    if not ids:
        return [by_time]
    return [
        {**by_time, "event_ids": ids[start : start + _AT_ONCE]}
        for start in range(0, len(ids), _AT_ONCE)
    ]


def _time(moment: str | None) -> str:
    return moment[:19].replace("T", " ") if moment else ""


_ACTIONS: dict[str, Callable[[Remote, argparse.Namespace], Awaitable[int]]] = {
    "list": _list,
    "create": _create,
    "show": _show,
    "change": _change,
    "delete": _delete,
    "test": _test,
    "secret": _secret,
    "deliveries": _deliveries,
    "replay": _replay,
}
