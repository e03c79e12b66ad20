"""``babygun domains``: the domains that clients send from, and what they want in DNS."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from babygun.cli.audited import by_command
from babygun.cli.local import load_settings
from babygun.cli.output import as_json, count_of, printable, table
from babygun.cli.remote import Remote, call_api
from babygun.domains.wanted import zone_line
from babygun.email.sending_domains import DnsRecord
from babygun.store import Store
from babygun.store.domains.dkim_keys import reseal

_PAGE = 100
_REPLY = ("status_code", "enhanced_code", "status_reason")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    listing = actions.add_parser("list", help="list the domains")
    listing.add_argument("--client", metavar="ID", help="only this client's; needs the scope admin")
    listing.add_argument("--json", action="store_true", help="print JSON")
    create = _action(actions, "create", "make one; prints the records for its DNS zone")
    create.add_argument(
        "--client",
        metavar="ID",
        action="append",
        dest="clients",
        help="who holds it; repeat for several; needs the scope admin (default: your client)",
    )
    _add_ed25519(create)
    _action(actions, "show", "show one: its records, and what DNS has of them")
    _action(actions, "verify", "look into DNS now; status 1 if a record is missing or wrong")
    rotate = _action(actions, "rotate", "make new DKIM keys; they sign once DNS has them")
    _add_ed25519(rotate)
    give = _action(actions, "give", "give one to these clients, and take it from all others")
    give.add_argument("clients", metavar="client", nargs="+", help="a client's id")
    delete = actions.add_parser("delete", help="delete one, with its DKIM keys")
    delete.add_argument("name", metavar="domain")
    actions.add_parser(
        "reseal",
        help="seal all DKIM keys with the first key of BABYGUN_SECRETS_KEY_FILE (in etcd, without"
        " the API)",
    )


def _action(actions: Any, name: str, help: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=help)
    parser.add_argument("name", metavar="domain", help="e.g. example.com")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--zone", action="store_true", help="print lines of a zone file")
    form.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _add_ed25519(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ed25519",
        action="store_true",
        default=None,
        help="a second key of Ed25519; some receivers don't know it, and take the RSA one",
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.action == "reseal":
        return asyncio.run(_reseal())

    async def work(remote: Remote) -> int:
        match arguments.action:
            case "list":
                return await _list(remote, arguments)
            case "delete":
                await remote.call("DELETE", _path(arguments))
                return 0
        domain = await _one(remote, arguments)
        _print(domain, arguments)
        return 1 if arguments.action == "verify" and domain["status"] != "verified" else 0

    return call_api(work)


def _path(arguments: argparse.Namespace, *rest: str) -> str:
    return "/".join(("/domains", quote(arguments.name, safe=""), *rest))


async def _list(remote: Remote, arguments: argparse.Namespace) -> int:
    found: list[dict[str, Any]] = []
    params = {"limit": str(_PAGE)} | ({"client": arguments.client} if arguments.client else {})
    while True:
        page = await remote.call("GET", "/domains", params=params)
        found += page["domains"]
        if page["cursor"] is None:
            break
        params["cursor"] = page["cursor"]
    if arguments.json:
        print(as_json({"domains": found}))
    elif found:
        print(_list_table(found))
    else:
        print("no sending domains yet: babygun domains create DOMAIN")
    return 0


def _list_table(found: Sequence[dict[str, Any]]) -> str:
    columns = {
        "DOMAIN": [one["name"] for one in found],
        "STATUS": [one["status"] for one in found],
        "CLIENTS": [",".join(one["clients"] or ()) for one in found],
        "LOOKED AT (UTC)": [_time(one["checked_at"]) for one in found],
        "ALARMS": [",".join(alarm["cause"] for alarm in one["alarms"]) for one in found],
    }
    if not any(columns["ALARMS"]):
        del columns["ALARMS"]
    if not any(columns["CLIENTS"]):
        del columns["CLIENTS"]
    return table(list(columns), list(zip(*columns.values(), strict=True)))


async def _one(remote: Remote, arguments: argparse.Namespace) -> Any:
    """What the API answers of one domain."""
    given = {
        name: value
        for name in ("ed25519", "clients")
        if (value := getattr(arguments, name, None)) is not None
    }
    match arguments.action:
        case "create":
            return await remote.call("POST", "/domains", json={"name": arguments.name, **given})
        case "verify" | "rotate" as action:
            return await remote.call("POST", _path(arguments, action), json=given)
        case "give":
            return await remote.call("PUT", _path(arguments, "clients"), json=given)
    return await remote.call("GET", _path(arguments))


def _print(domain: dict[str, Any], arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(as_json(domain))
        return
    records = msgspec.convert(domain["records"], list[DnsRecord])
    if arguments.zone:
        print("\n".join(map(zone_line, records)))
        return
    head = [("status", domain["status"]), ("looked at", _time(domain["checked_at"]))]
    if domain["clients"]:
        head.append(("clients", ", ".join(domain["clients"])))
    print(table(("DOMAIN", domain["name"]), head))
    print()
    print(_records_table(records))
    print()
    for alarm in domain["alarms"]:
        said = " ".join(str(alarm[part]) for part in _REPLY if alarm[part])
        print(f"{alarm['site']} refuses its mail: {printable(alarm['sentence'])}")
        print(f"  last at {_time(alarm['at'])}: {printable(said)}")
    for record in records:
        if record.sentence:
            print(f"{printable(record.purpose)}: {printable(record.sentence)}")
        for found in record.found if record.status == "wrong" else ():
            print(f"  found: {printable(found)}")


def _records_table(records: Sequence[DnsRecord]) -> str:
    """The value comes last: it is long, and so it can be copied as one line."""
    return table(
        ("PURPOSE", "STATUS", "TYPE", "NAME", "VALUE"),
        [(each.purpose, each.status, each.type, each.name, each.value) for each in records],
    )


def _time(moment: str | None) -> str:
    return moment[:16].replace("T", " ") if moment else "not yet"


async def _reseal() -> int:
    """1 if a key could not be opened."""
    async with Store(load_settings()) as store, by_command(store, "resealDomains"):
        done = await reseal(store)
    print(f"{count_of(done.keys, 'DKIM key')}, {done.resealed} sealed again")
    for each in done.closed:
        print(f"{each} is sealed with a key that is not set here", file=sys.stderr)
    return 1 if done.closed else 0
