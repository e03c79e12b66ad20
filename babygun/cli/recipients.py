"""``babygun recipients``: erases or exports what is kept of one recipient."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from typing import Any, BinaryIO
from urllib.parse import quote

from babygun.cli.output import as_json, count_of
from babygun.cli.remote import Remote, call_api
from babygun.errors import BabygunError, SettingsError

_COUNTED = ("deleted", "erased", "notices", "suppressions")
_ROUNDS, _PAUSE = 5, 3.0  # while something is under way; s
_LAST_LINE = 200  # bytes; the line of the kind end has fewer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    erase = actions.add_parser(
        "erase", help="erase all data about an address; status 1 if some are left"
    )
    erase.add_argument("address")
    erase.add_argument("--dry-run", action="store_true", help="count only")
    erase.add_argument(
        "--delete-suppressions",
        action="store_true",
        help="take it off all lists: mail may go there again (default: keep a hash of it there)",
    )
    erase.add_argument("--json", action="store_true", help="print JSON")
    export = actions.add_parser("export", help="write all data about an address into a file")
    export.add_argument("address")
    export.add_argument("file", nargs="?", default="-", help="default: standard output")


def run(arguments: argparse.Namespace) -> int:
    if arguments.action == "erase":
        return call_api(lambda remote: _erase(remote, arguments))
    if arguments.file == "-":
        return call_api(lambda remote: _export(remote, arguments.address, sys.stdout.buffer))
    with _opened(arguments.file) as target:
        return call_api(lambda remote: _export(remote, arguments.address, target))


async def _erase(remote: Remote, arguments: argparse.Namespace) -> int:
    total = dict.fromkeys((*_COUNTED, "under_way", "read"), 0)
    for left in range(_ROUNDS, 0, -1):
        total["under_way"] = await _erase_all(remote, arguments, total)
        if not total["under_way"] or arguments.dry_run or left == 1:
            break
        await asyncio.sleep(_PAUSE)
    if arguments.json:
        print(as_json({"dry_run": arguments.dry_run, **total}))
    else:
        print(_sentence(total, arguments.dry_run))
    return 1 if total["under_way"] else 0


async def _erase_all(remote: Remote, arguments: argparse.Namespace, total: dict[str, int]) -> int:
    """One search through everything. Returns how much could not be erased yet."""
    params = {
        "dry_run": "true" if arguments.dry_run else "false",
        "suppressions": "delete" if arguments.delete_suppressions else "hash",
    }
    under_way = 0
    report: dict[str, Any]
    while True:
        path = f"/recipients/{quote(arguments.address, safe='')}"
        report = await remote.insist("DELETE", path, params=params)
        for name in (*_COUNTED, "read"):
            total[name] += report[name]
        under_way += int(report["under_way"])
        if report["cursor"] is None:
            return under_way
        params["cursor"] = report["cursor"]
        if sys.stderr.isatty():
            print(f"\r{total['read']:,} keys read", end="", file=sys.stderr, flush=True)


def _sentence(total: dict[str, int], dry_run: bool) -> str:
    deleted, lost = ("would be", "would lose") if dry_run else ("are", "have lost")
    text = (
        f"{count_of(total['deleted'], 'e-mail')} {deleted} deleted;"
        f" {count_of(total['erased'], 'e-mail')} to several,"
        f" {count_of(total['notices'], 'event')} and"
        f" {count_of(total['suppressions'], 'suppression')} {lost} the address"
    )
    if total["under_way"]:
        text += (
            f"; {total['under_way']} are being sent, or could not be looked at in time:"
            " run it again in a moment"
        )
    return text


def _opened(path: str) -> BinaryIO:
    """The file, for its owner alone. Raises SettingsError."""
    try:
        return open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600))
    except OSError as error:
        raise SettingsError(f"{path} can't be written: {error.strerror}") from None


async def _export(remote: Remote, address: str, target: BinaryIO) -> int:
    tail = b""
    async for data in remote.stream(f"/recipients/{quote(address, safe='')}/export"):
        target.write(data)
        tail = (tail + data)[-_LAST_LINE:]
    end = tail.rstrip().rpartition(b"\n")[2]
    if not end.startswith(b'{"kind":"end"'):
        raise BabygunError("the export broke off: run it again")
    if b'"complete":true' not in end:
        raise BabygunError("an event that moved meanwhile may be missing: run it again")
    return 0
