"""``babygun bounced``: takes bounce messages and complaints by SMTP, or shows how one is read."""

from __future__ import annotations

import argparse
from pathlib import Path

from babygun.errors import SettingsError
from babygun.runtime import logs, settings, tracing
from babygun.runtime.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", help="address to listen on (default: BABYGUN_BOUNCE_HOST)")
    parser.add_argument(
        "--port", type=int, help="port to listen on, 0 for any free one (default: 25)"
    )
    parser.add_argument(
        "--read",
        type=Path,
        metavar="FILE",
        help="only show how the message in this file is read",
    )


def run(arguments: argparse.Namespace) -> int:
    given = {"bounce_host": arguments.host, "bounce_port": arguments.port}
    loaded = settings.load(**{name: value for name, value in given.items() if value is not None})
    if arguments.read:
        return _show(arguments.read, loaded)
    from babygun.bounces.server import serve

    logs.configure("bounced", level=loaded.log_level, format=loaded.log_format)
    tracing.configure("babygun-bounced")
    try:
        serve(loaded)
    finally:
        tracing.shutdown()
    return 0


def _show(file: Path, loaded: Settings) -> int:
    """Prints what a message says, as it would count. Raises SettingsError for the file."""
    from babygun.bounces.parse import read
    from babygun.bounces.verdict import bounce_of
    from babygun.smtp.classifier import Classifier

    try:
        message = file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{file} can't be read: {error.strerror}") from None
    classifier = Classifier.load(loaded.reply_rules)
    reading = read(message)
    lines = [("kind", reading.kind), ("shape", reading.shape), ("reporter", reading.reporter)]
    for failure in reading.failures:
        bounce = bounce_of(failure, reading.reporter, classifier)
        reply = (bounce.status_code, bounce.enhanced_code, bounce.reason)
        lines += [
            ("recipient", ", ".join(bounce.addresses) or "not named"),
            ("reply", " ".join(str(part) for part in reply if part)),
            ("class", bounce.reply_class),
            ("suppress", "the address is dead" if bounce.suppress else ""),
        ]
    if said := reading.complaint:
        lines += [
            ("type", said.feedback_type),
            ("reporter", said.reporter),
            ("recipient", ", ".join(said.addresses) or "not named"),
        ]
    for name, value in lines:
        if value:
            print(f"{name:<10}{value if value.isprintable() else ascii(value)}")
    return 0
