"""``babygun classify "550 5.1.1 …"``: shows how a mail server's reply is classified."""

from __future__ import annotations

import argparse

from babygun.errors import SettingsError
from babygun.runtime import settings
from babygun.smtp.replies import Classifier, parse_reply


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
    verdict = Classifier.load(settings.load().reply_rules).classify(reply)
    print(f"class     {verdict.reply_class}\naction    {verdict.action}\nrule      {verdict.rule}")
    if verdict.retry_after is not None:
        print(f"wait      {verdict.retry_after:g} s, as the server asked")
    if verdict.alarm:
        print("alarm     an operator should look")
    if verdict.suppress:
        print("suppress  the address is dead")
    return 0
