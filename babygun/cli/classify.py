"""``babygun classify "550 5.1.1 …"``: shows how a mail server's reply is classified."""

from __future__ import annotations

import argparse

from babygun.errors import SettingsError
from babygun.runtime import settings
from babygun.smtp.classifier import Classifier
from babygun.smtp.replies import parse_reply


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reply", help="the reply, e.g. from a log: '550 5.1.1 User unknown'")
    parser.add_argument(
        "--no-reply",
        action="store_true",
        help="the text is an error of the connection instead, e.g. 'connection reset'",
    )
    parser.add_argument(
        "--phase",
        choices=("connect", "mail", "rcpt", "data", "message"),
        default="rcpt",
        help="the command that the reply answers (default: rcpt)",
    )


def run(arguments: argparse.Namespace) -> int:
    reply = parse_reply(arguments.reply, arguments.phase)
    if reply.code is None and not arguments.no_reply:
        raise SettingsError(
            f"{arguments.reply!r} is no reply: one begins with a code from 200 to 599."
            " For an error of the connection, add --no-reply"
        )
    if arguments.no_reply and (reply.code is not None or not reply.text):
        raise SettingsError("with --no-reply, give the text of an error, without a reply code")
    found = Classifier.load(settings.load().reply_rules).classify(reply)
    print(f"class     {found.reply_class}\naction    {found.action}\nrule      {found.rule}")
    if found.retry_after is not None:
        print(f"wait      {found.retry_after:g} s, as the server asked")
    if found.alarm:
        print("alarm     an operator should look")
    if found.suppress:
        print("suppress  the address is dead")
    return 0
