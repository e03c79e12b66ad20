"""``babygun classify "550 5.1.1 …"``: shows how a mail server's reply is classified."""

from __future__ import annotations

import argparse

from babygun.errors import SettingsError
from babygun.runtime import settings
from babygun.smtp.classifier import Classifier
from babygun.smtp.replies import PHASES, parse_reply
from babygun.smtp.reply_rules import ROUTES, About

_ABOUT: dict[About, str] = {
    "session": "session: each e-mail meets it; the site is held",
    "connections": "connections: fewer are opened, no try is used up",
    "site": "site: it gets less mail at once",
    "sender": "sender: this e-mail's sender, or its domain",
    "domain": "domain: the recipient's",
    "mailbox": "mailbox: the recipient's; its site gets mail as ever",
    "message": "message: this message, for example its size",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reply", help="the reply, e.g. from a log: '550 5.1.1 User unknown'")
    parser.add_argument(
        "--no-reply",
        action="store_true",
        help="the text is an error of the connection instead, e.g. 'connection reset'",
    )
    parser.add_argument(
        "--phase",
        choices=PHASES,
        default="rcpt",
        help="what the reply answers (default: rcpt)",
    )
    parser.add_argument(
        "--route",
        choices=ROUTES,
        default=ROUTES[0],
        help="who says it: a relay, or a host of the recipient's domain (default: relay)",
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
    if reply.code is not None and reply.phase == "connect":
        raise SettingsError(
            "in the phase connect no reply comes: take --phase greeting, ehlo, tls or auth;"
            " for an error of the connection, add --no-reply"
        )
    classifier = Classifier.load(settings.load().reply_rules)
    found = classifier.classify(reply, route=arguments.route)
    print(f"class     {found.reply_class}\naction    {found.action}\nrule      {found.rule}")
    if found.fresh_connection:
        then = classifier.classify(reply, route=arguments.route, repeated=True)
        print(f"again     at once, on a new connection; the same reply then means: {then.action}")
    if found.retry_after is not None:
        print(f"wait      {found.retry_after:g} s, as the server asked")
    if found.about is not None:
        relay_holds = found.about == "session" and arguments.route == "relay"
        print(f"about     {_ABOUT[found.about]}{', no try is used up' * relay_holds}")
    if found.alarm:
        print("alarm     an operator should look")
    if found.suppress:
        print("suppress  the address is dead")
    return 0
