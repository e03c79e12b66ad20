"""``babygun send``."""

from __future__ import annotations

import argparse
import base64
import mimetypes
import sys
from pathlib import Path
from typing import Any

from babygun.cli.batch import send_file
from babygun.cli.emails import ended
from babygun.cli.remote import Remote, call_api
from babygun.errors import SettingsError

_OF_ONE = (
    "to",
    "cc",
    "bcc",
    "reply_to",
    "subject",
    "body",
    "html",
    "attach",
    "header",
    "at",
    "tag",
    "wait",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--from", dest="sender", metavar="ADDRESS", help="who sends it")
    which.add_argument(
        "--batch",
        metavar="FILE",
        help="send many, each as POST /emails takes it: a JSON list, or one a line; - reads standard input. Goes with --idempotency-key alone",
    )
    parser.add_argument(
        "--to",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="repeat for several; so do --cc and --bcc",
    )
    parser.add_argument("--cc", action="append", default=[], metavar="ADDRESS")
    parser.add_argument("--bcc", action="append", default=[], metavar="ADDRESS")
    parser.add_argument("--reply-to", action="append", default=[], metavar="ADDRESS")
    parser.add_argument("--subject", default="")
    parser.add_argument("--body", help="the text; - reads it from standard input")
    parser.add_argument("--html", metavar="FILE", help="file with an HTML version")
    parser.add_argument("--attach", action="append", default=[], metavar="FILE")
    parser.add_argument("--header", action="append", default=[], metavar="'Name: value'")
    parser.add_argument(
        "--at", metavar="TIME", help="not before this time, e.g. 2030-01-31T08:00:00Z"
    )
    parser.add_argument("--tag", action="append", default=[])
    parser.add_argument(
        "--idempotency-key",
        metavar="KEY",
        help="the same key sends it once, however often this is run",
    )
    parser.add_argument(
        "--wait",
        action="store_true",
        help="wait until it is over; exit status 1 if somebody was not reached",
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.batch:
        if any(value for name, value in vars(arguments).items() if name in _OF_ONE):
            raise SettingsError(
                "--batch goes with --idempotency-key alone: what else there is to say of an e-mail stands in the file"
            )
        return send_file(arguments.batch, arguments.idempotency_key)
    request = _request(arguments)
    headers = {"Idempotency-Key": arguments.idempotency_key} if arguments.idempotency_key else {}

    async def work(remote: Remote) -> int:
        answer = await remote.call("POST", "/emails", json=request, headers=headers)
        print(answer["id"], flush=True)
        if not arguments.wait:
            return 0
        email = await ended(remote, answer["id"])
        print(
            email["status"] + (f": {email['status_reason']}" if email.get("status_reason") else ""),
            file=sys.stderr,
        )
        return 0 if email["status"] == "complete" else 1

    return call_api(work)


def _request(arguments: argparse.Namespace) -> dict[str, Any]:
    body = sys.stdin.read() if arguments.body == "-" else arguments.body
    given = {
        "sender": arguments.sender,
        "to": arguments.to,
        "cc": arguments.cc,
        "bcc": arguments.bcc,
        "reply_to": arguments.reply_to,
        "subject": arguments.subject,
        "body": body,
        "html": _read(arguments.html).decode() if arguments.html else None,
        "headers": arguments.header,
        "attachments": [_attachment(path) for path in arguments.attach],
        "send_at": arguments.at,
        "tags": arguments.tag,
    }
    return {name: value for name, value in given.items() if value not in (None, [])}


def _attachment(path: str) -> dict[str, str]:
    kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
    return {
        "filename": Path(path).name,
        "content_type": kind,
        "content": base64.b64encode(_read(path)).decode(),
    }


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
