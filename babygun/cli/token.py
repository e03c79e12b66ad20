"""``babygun token``."""

from __future__ import annotations

import argparse

from babygun.cli.remote import Remote, call_api


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", metavar="TOKEN", help="instead: say whether this token is valid")


def run(arguments: argparse.Namespace) -> int:
    async def work(remote: Remote) -> int:
        if arguments.check is None:
            print(remote.token)
            return 0
        remote.token = arguments.check
        answer = await remote.call("GET", "/tokens")
        print(
            f"valid for another {answer['expires_in']:.0f} s, for client {answer['client_id']} with {' '.join(answer['scopes'])}"
        )
        return 0

    return call_api(work)
