"""Parses the command line and hands each command to its module, which is imported only then."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from babygun import __version__
from babygun.cli.status import status_of


class Command(NamedTuple):
    """``module`` has ``add_arguments(parser)`` and ``run(arguments) -> exit status``."""

    name: str
    help: str
    module: str


COMMANDS = (
    Command(
        "dev",
        "run everything on this machine: etcd, API, workers, a mailbox that catches all mail",
        "babygun.dev.command",
    ),
    Command("api", "run the API and the page", "babygun.cli.api"),
    Command("worker", "run a worker", "babygun.cli.worker"),
    Command("mailbox", "run the catch-all mailbox alone", "babygun.dev.mailbox.server"),
    Command(
        "client",
        "create, list and delete API clients (speaks to etcd itself)",
        "babygun.cli.client",
    ),
    Command("token", "print a token for the API", "babygun.cli.token"),
    Command("send", "send an e-mail", "babygun.cli.send"),
    Command("emails", "list, show, cancel and retry e-mails", "babygun.cli.emails"),
    Command("workers", "list the live workers", "babygun.cli.workers"),
    Command("classify", "show how a mail server's reply is classified", "babygun.cli.classify"),
    Command("decode", "turn what `etcdctl get` printed into readable JSON", "babygun.cli.decode"),
    Command(
        "settings",
        "list all settings with their values and where they can be set",
        "babygun.cli.settings",
    ),
    Command(
        "certificates",
        "make, renew and rotate a cluster's own certificates",
        "babygun.cli.certificates",
    ),
    Command(
        "access",
        "make etcd's users and roles for Babygun, and switch its authentication on",
        "babygun.cli.access",
    ),
    Command(
        "health",
        "ask the API or worker of this host whether it is ready (for health checks)",
        "babygun.cli.health",
    ),
    Command("doctor", "check etcd, clock, relays and workers", "babygun.cli.doctor"),
)


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser; with ``only``, the arguments of that command alone, which spares the import of all others."""
    parser = argparse.ArgumentParser(
        prog="babygun",
        description="Babygun sends e-mail: POST it over HTTP, workers deliver it by SMTP, etcd keeps every step.",
    )
    parser.add_argument("--version", action="version", version=f"babygun {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    for command in COMMANDS:
        sub = commands.add_parser(
            command.name,
            help=command.help,
            description=command.help[0].upper() + command.help[1:] + ".",
        )
        if only in (None, command.name):
            module = importlib.import_module(command.module)
            module.add_arguments(sub)
            run: Callable[[argparse.Namespace], int] = module.run
            sub.set_defaults(run=run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status: 0 done, 1 failed, 2 called or set up wrongly."""
    argv = sys.argv[1:] if argv is None else list(argv)
    first = next((word for word in argv if not word.startswith("-")), "")
    arguments = build_parser(first).parse_args(argv)
    return status_of(lambda: arguments.run(arguments))
