"""``babygun classify "550 5.1.1 …"``."""

from __future__ import annotations

import argparse

from babygun import settings
from babygun.replies import Classifier, parse_reply


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reply", help="a server's reply as it stands in a log, e.g. '550 5.1.1 User unknown'; without a code: what happened to the connection")
    parser.add_argument("--phase", choices=("connect", "mail", "rcpt", "data", "message"), default="rcpt", help="what it answered (default: rcpt)")


def run(arguments: argparse.Namespace) -> int:
    reply = parse_reply(arguments.reply, arguments.phase)
    verdict = Classifier.load(settings.load().reply_rules).classify(reply)
    print(f"class     {verdict.reply_class}\naction    {verdict.action}\nrule      {verdict.rule}")
    if verdict.retry_after is not None:
        print(f"wait      {verdict.retry_after:g} s, as the server asked")
    if verdict.alarm:
        print("alarm     an operator should look")
    if verdict.suppress:
        print("suppress  the address is dead")
    return 0
