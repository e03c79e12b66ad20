"""``babygun sites``: what waits for each site, and why; hold, resume and limit them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from babygun.cli.output import as_json, count_of, table
from babygun.cli.remote import Remote, call_api

_SITE = "a relay's name, or mx: and a provider or a mail host, e.g. mx:google"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")
    actions = parser.add_subparsers(dest="action", metavar="action")
    _action(actions, "show", "show one site")
    hold = _action(actions, "hold", "let its mail wait for a while; that uses up no try")
    hold.add_argument("--reason", required=True, help="shown beside the mail that waits")
    _add_for(hold)
    resume = _action(actions, "resume", "let a held site's mail go again")
    resume.add_argument(
        "--sender", metavar="DOMAIN", default="", help="end the hold of this sender domain alone"
    )
    limit = _action(actions, "limit", "limit it for a while, for all workers together")
    limit.add_argument("--connections", metavar="N", type=int, help="at once")
    limit.add_argument(
        "--messages",
        metavar="N",
        type=int,
        dest="messages_per_connection",
        help="over one connection",
    )
    limit.add_argument("--rate", help="messages in a time, e.g. 20/min: s, min or h")
    limit.add_argument("--reason", default="", help="shown beside the mail that waits")
    _add_for(limit)
    _action(actions, "unlimit", "end its temporary limits")


def _action(actions: Any, name: str, help: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=help)
    parser.add_argument("site", help=_SITE)
    # A default here would undo a --json that stands before the action.
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
    return parser


def _add_for(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--for", metavar="TIME", dest="lasts", required=True, help="how long, e.g. 2h; at most 31d"
    )


def run(arguments: argparse.Namespace) -> int:
    async def work(remote: Remote) -> int:
        if arguments.action is None:
            answer = await remote.call("GET", "/sites")
            shown = _list(answer["sites"])
        else:
            answer = await _call(remote, arguments)
            shown = _one(answer)
        print(as_json(answer) if arguments.json else shown)
        return 0

    return call_api(work)


async def _call(remote: Remote, arguments: argparse.Namespace) -> Any:
    """The site, after what is to be done about it."""
    path = f"/sites/{quote(arguments.site, safe=':')}"
    match arguments.action:
        case "show":
            return await remote.call("GET", path)
        case "hold":
            body = {"reason": arguments.reason, "lasts": arguments.lasts}
            return await remote.call("POST", f"{path}/hold", json=body)
        case "resume":
            return await remote.call("POST", f"{path}/resume", json={"sender": arguments.sender})
        case "limit":
            names = ("connections", "messages_per_connection", "rate", "reason", "lasts")
            given = {name: getattr(arguments, name) for name in names}
            body = {name: value for name, value in given.items() if value is not None}
            return await remote.call("POST", f"{path}/limits", json=body)
        case _:
            return await remote.call("DELETE", f"{path}/limits")


def _list(sites: Sequence[dict[str, Any]]) -> str:
    if not sites:
        return "no site has mail, a hold or temporary limits"
    columns = {
        "SITE": [site["site"] for site in sites],
        "WAITING": [str(site["waiting"]) for site in sites],
        "DOMAINS": [str(site["queues"]) for site in sites],
        "OLDEST": [_age(site["oldest_seconds"]) for site in sites],
        "SENT/MIN": [str(site["sent"]) for site in sites],
        "DEFERRED/MIN": [str(site["deferred"]) for site in sites],
        "CONNECTIONS": [str(site["connections"]) for site in sites],
        "LIMITS NOW": [_limits(site["limits"]) for site in sites],
        "USUALLY": [_limits(site["table"]) if _differs(site) else "-" for site in sites],
        "WHY IT WAITS": ["; ".join(_reasons(site)) or "-" for site in sites],
    }
    if not any(map(_differs, sites)):
        del columns["USUALLY"]
    return table(list(columns), list(zip(*columns.values(), strict=True)))


def _one(site: dict[str, Any]) -> str:
    limits = _limits(site["limits"]) + (" for all workers together" if site["shared"] else "")
    rows = [
        ("waiting", f"{site['waiting']}, of {count_of(site['queues'], 'domain')}"),
        ("oldest", _age(site["oldest_seconds"])),
        ("last minute", f"{site['sent']} sent, {site['deferred']} deferred"),
        ("connections", str(site["connections"])),
        ("limits now", limits),
        *([("usually", _limits(site["table"]))] if _differs(site) else ()),
        *(("why it waits", reason) for reason in _reasons(site)),
    ]
    return table(("SITE", site["site"]), rows)


def _differs(site: dict[str, Any]) -> bool:
    """Whether other limits hold now than the site's own."""
    return bool(site["table"] and site["limits"] != site["table"])


def _limits(limits: dict[str, Any] | None) -> str:
    """``5 x 50, 100/s``: connections at once, messages over each, the rate."""
    if limits is None:
        return "-"
    return f"{limits['connections']} x {limits['messages_per_connection']}, {limits['rate']}"


def _reasons(site: dict[str, Any]) -> list[str]:
    """A hold first, then held sender domains, limits of a while, and what else makes it wait."""
    found = []
    if hold := site["hold"]:
        found.append(f"held{_who(hold)} until {_end(hold)}{_quoted(hold)}")
    found += [
        f"mail of {hold['sender']} is held until {_end(hold)}{_quoted(hold)}"
        for hold in site["held_senders"]
    ]
    if limited := site["limited"]:
        found.append(f"limited{_who(limited)} until {_time(limited['until'])}{_quoted(limited)}")
    if site["why"] and site["why"] != "held":
        found.append(_WHY.get(site["why"], site["why"]))
    return found


_WHY = {
    "limit": "all its connections are busy",
    "pace": "its rate takes no more",
    "slot": "other workers have its connections",
}


def _who(set_by: dict[str, Any]) -> str:
    return f" by {set_by['set_by']}" if set_by["by_operator"] else ""


def _end(hold: dict[str, Any]) -> str:
    """A hold by an operator, or of one sender, has an end. Others end when mail gets through."""
    if hold["by_operator"] or hold["sender"]:
        return _time(hold["until"])
    return f"one e-mail gets through (the next tries at {_time(hold['probe_at'])})"


def _quoted(said: dict[str, Any]) -> str:
    """The server's reply, or an operator's words."""
    reply = (said["status_code"], said["enhanced_code"], said["status_reason"])
    words = " ".join(str(part) for part in reply if part)
    return f": {words}" if words else f": {said['reason']}"


def _time(moment: str) -> str:
    return moment[:19].replace("T", " ") + " UTC"


def _age(seconds: float | None) -> str:
    """``12 s``, ``3 min``, ``2 h``, ``4 d``: in the largest unit that fits."""
    if seconds is None:
        return "-"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
