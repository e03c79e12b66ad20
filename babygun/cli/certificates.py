"""``babygun certificates``: makes, renews and rotates a cluster's certificates in a folder.

It makes the keys that seal secrets, too.
"""

from __future__ import annotations

import argparse
from itertools import chain
from pathlib import Path

from babygun.pki.issuance import issue, rotate
from babygun.pki.layout import cluster
from babygun.pki.secrets_keys import ensure_secrets_keys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        type=Path,
        help="folder to keep them in: a folder per duty, and authority/ with the signing keys",
    )
    parser.add_argument(
        "--etcd-name",
        action="append",
        default=[],
        metavar="NAME",
        help="host name or address of an etcd member; repeat for several",
    )
    parser.add_argument(
        "--api-name",
        action="append",
        default=[],
        metavar="NAME",
        help="host name or address of the API; repeat for several",
    )
    parser.add_argument(
        "--renew",
        action="store_true",
        help="renew all, not only those that have less than 120 days left",
    )
    parser.add_argument(
        "--rotate",
        choices=("begin", "switch", "finish"),
        help="replace the authorities in three steps; do a rolling restart after each",
    )
    parser.add_argument(
        "--new-secrets-key",
        action="store_true",
        help="make a new key that seals secrets; restart all processes, then run"
        " `babygun domains reseal`",
    )


def run(arguments: argparse.Namespace) -> int:
    layout = cluster(arguments.etcd_name, arguments.api_name)
    if arguments.rotate:
        for line in rotate(arguments.folder, arguments.rotate):
            print(line, flush=True)
    changes = 0
    new_key = arguments.new_secrets_key
    for line in chain(
        issue(arguments.folder, layout, renew=arguments.renew),
        ensure_secrets_keys(arguments.folder, layout.secrets, new=new_key),
    ):
        print(line, flush=True)
        changes += 1
    if not changes and not arguments.rotate:
        print("all certificates exist and have more than 120 days left")
    return 0
