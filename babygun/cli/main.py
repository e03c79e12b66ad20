"""Parses the command line, and imports and runs the module of the command.

A new command is a module of its name in this folder and a row of ``COMMANDS``.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from babygun import __version__
from babygun.cli.exit_status import status_of


class Command(NamedTuple):
    """Its module has ``add_arguments(parser)`` and ``run(arguments)``, which returns the status."""

    name: str
    help: str

    @property
    def module(self) -> str:
        """In ``babygun.cli``."""
        return self.name.replace("-", "_")


COMMANDS = (
    Command("dev", "run etcd, API, workers and a mailbox on this machine, for development"),
    Command("api", "run the API and the page"),
    Command("worker", "run a worker"),
    Command("bounced", "take bounce messages and complaints by SMTP"),
    Command("mailbox", "run the mailbox alone: it accepts all mail and delivers none"),
    Command(
        "clients", "make, change and delete API clients; give new secrets (in etcd, not by the API)"
    ),
    Command("token", "print a token for the API"),
    Command("send", "send an e-mail"),
    Command("emails", "list, show, change, cancel and retry e-mails; send them now"),
    Command("suppressions", "show and change which addresses get no mail; import and export files"),
    Command("recipients", "erase or export all data of one recipient"),
    Command("domains", "make sending domains; print and verify their DNS records; give DKIM keys"),
    Command("workers", "list the live workers"),
    Command("sites", "show which mail waits for each site, and why; hold, resume and limit sites"),
    Command("warm-ups", "show how much new addresses and domains may send; skip, begin again"),
    Command("tls-reports", "list and show the TLS reports that domains got"),
    Command("webhooks", "make webhooks; show what was sent to them, and send it again"),
    Command("audit", "show who changed what, by the API and by commands"),
    Command("classify", "show how a mail server's reply is classified"),
    Command("decode", "turn what `etcdctl get` printed into readable JSON"),
    Command("settings", "list all settings, with their values and defaults"),
    Command("certificates", "make, renew and rotate a cluster's own certificates"),
    Command("access", "make etcd's users and roles for Babygun, and enable authentication"),
    Command("health", "ask the API, a worker or bounced of this host whether it is ready"),
    Command("doctor", "check etcd, clocks, workers, relays and DNS"),
)


class _Parser(argparse.ArgumentParser):
    """Refuses what it does not know itself: argparse would show the usage of the whole."""

    def parse_known_args(self, *given: Any, **named: Any) -> Any:
        found, unknown = super().parse_known_args(*given, **named)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser. With ``only``, one command alone has arguments: importing all is slow."""
    parser = _Parser(
        prog="babygun",
        description="Babygun sends e-mail: you POST it over HTTP, workers deliver it by SMTP,"
        " and all state is in etcd.",
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
            module = importlib.import_module(f"babygun.cli.{command.module}")
            module.add_arguments(sub)
            run: Callable[[argparse.Namespace], int] = module.run
            sub.set_defaults(run=run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status (:func:`status_of`)."""
    if os.getpid() == 1:
        # The first process of a container survives SIGTERM by default. A command that still starts,
        # or waits for etcd, would not notice that it has to stop.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    argv = sys.argv[1:] if argv is None else list(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal may lack a character of a subject
    first = next((word for word in argv if not word.startswith("-")), "")
    arguments = build_parser(first).parse_args(argv)
    return status_of(lambda: arguments.run(arguments))
