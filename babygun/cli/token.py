"""``babygun token``: prints a token, ready for ``TOKEN=$(babygun token)``."""

from __future__ import annotations

import argparse

from babygun.cli.remote import Remote, call_api


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--check", metavar="TOKEN", help="don't print a token, but say whether this one is valid"
    )


def run(arguments: argparse.Namespace) -> int:
    """Standard output gets the token and nothing else."""

    async def work(remote: Remote) -> int:
        if arguments.check is None:
            print(remote.token)
            return 0
        remote.token = arguments.check
        answer = await remote.call("GET", "/tokens")
        scopes = " ".join(answer["scopes"])
        print(
            f"valid for another {answer['expires_in']:.0f} s,"
            f" for client {answer['client_id']} with {scopes}"
        )
        return 0

    return call_api(work)
