"""``babygun certificates``: makes, renews and rotates a cluster's own certificates in a folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from babygun.pki import authority


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        type=Path,
        help="where they are kept: a folder per duty in it, and authority/ with the keys that sign",
    )
    parser.add_argument(
        "--etcd-name",
        action="append",
        default=[],
        metavar="NAME",
        help="host name or address of an etcd member; repeat for each",
    )
    parser.add_argument(
        "--api-name",
        action="append",
        default=[],
        metavar="NAME",
        help="host name or address by which the API is called; repeat for each",
    )
    parser.add_argument(
        "--renew",
        action="store_true",
        help="make all anew, not only what has less than 120 days left",
    )
    parser.add_argument(
        "--rotate",
        choices=("begin", "switch", "finish"),
        help="replace the authorities, in three steps with a rolling restart after each",
    )


def run(arguments: argparse.Namespace) -> int:
    plan = authority.cluster(arguments.etcd_name, arguments.api_name)
    if arguments.rotate:
        for line in authority.rotate(arguments.folder, arguments.rotate):
            print(line, flush=True)
    changes = 0
    for line in authority.issue(arguments.folder, plan, renew=arguments.renew):
        print(line, flush=True)
        changes += 1
    if not changes and not arguments.rotate:
        print("all certificates are there and have more than 120 days left")
    return 0
