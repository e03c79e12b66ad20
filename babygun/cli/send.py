"""``babygun send``: sends an e-mail, or the e-mails of a file."""

from __future__ import annotations

import argparse
import base64
import mimetypes
import sys
from pathlib import Path
from typing import Any

from babygun.cli.batch import send_file
from babygun.cli.output import duration, status_line
from babygun.cli.remote import Remote, call_api
from babygun.email.suppression import ALL_MAIL
from babygun.errors import SettingsError

# All else is of one e-mail.
_ALSO_WITH_BATCH = {"command", "run", "batch", "idempotency_key", "timeout"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--from", dest="sender", metavar="ADDRESS", help="the sender")
    which.add_argument(
        "--batch",
        metavar="FILE",
        help="send many e-mails: a JSON list, or a JSON object per line, each as in POST"
        " /emails; - reads standard input. The only other option is --idempotency-key",
    )
    for name in ("to", "cc", "bcc", "reply-to"):
        parser.add_argument(
            f"--{name}", action="append", default=[], metavar="ADDRESS", help="repeat for several"
        )
    parser.add_argument("--subject", default="")
    parser.add_argument("--body", metavar="TEXT", help="- reads it from standard input")
    parser.add_argument("--html", metavar="FILE", help="file with the HTML")
    parser.add_argument(
        "--attach", action="append", default=[], metavar="FILE", help="repeat for several"
    )
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="'Name: value'",
        help="repeat for several",
    )
    parser.add_argument(
        "--at",
        metavar="TIME",
        help="send at this time, not before, e.g. 2030-01-31T08:00:00Z; at most 366 days ahead",
    )
    parser.add_argument("--tag", action="append", default=[], help="repeat for several")
    parser.add_argument(
        "--unsubscribe",
        nargs="?",
        const=ALL_MAIL,
        metavar="LIST",
        help="add a link to unsubscribe from this list; without LIST, from all of the client's"
        " mail",
    )
    parser.add_argument(
        "--ignore-suppressions",
        action="store_true",
        help="send it to suppressed addresses, too; needs the scope suppressions:ignore",
    )
    parser.add_argument(
        "--idempotency-key", metavar="KEY", help="calls with the same key send an e-mail once"
    )
    parser.add_argument(
        "--wait",
        action="store_true",
        help="wait for the final status; exit with 1 if a recipient was not reached",
    )
    parser.add_argument(
        "--timeout",
        type=duration,
        default="10m",
        metavar="DURATION",
        help="how long --wait waits (default: 10m); then the state is printed; exit with 1",
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.batch:
        if any(value for name, value in vars(arguments).items() if name not in _ALSO_WITH_BATCH):
            raise SettingsError(
                "with --batch give no other option than --idempotency-key: the file has the rest"
            )
        return send_file(arguments.batch, arguments.idempotency_key)
    request = _request(arguments)
    headers = {"Idempotency-Key": arguments.idempotency_key} if arguments.idempotency_key else {}

    async def work(remote: Remote) -> int:
        answer = await remote.call("POST", "/emails", json=request, headers=headers)
        print(answer["id"], flush=True)
        if suppressed := answer.get("suppressed"):
            print(f"not sent to suppressed addresses: {', '.join(suppressed)}", file=sys.stderr)
        if not arguments.wait:
            return 0
        email = await remote.final(answer["id"], arguments.timeout)
        print(status_line(email), file=sys.stderr)
        for wait in email["waits"]:
            print(f"{wait['queue']}: {wait['explanation']}", file=sys.stderr)
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
        "unsubscribe": _list(arguments.unsubscribe),
        "ignore_suppressions": arguments.ignore_suppressions or None,
    }
    return {name: value for name, value in given.items() if value not in (None, [])}


def _list(name: str | None) -> dict[str, str] | None:
    return None if name is None else {"list": name}


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
