"""Contents of e-mails made up by chance: several languages, all kinds of white space, files."""

from __future__ import annotations

import random
from typing import Any

from babygun.email.model import Attachment

_WORDS = ["Hi", "Grüße", "你好", "a" * 300, "  ", "\t", "\x0c", ".", "=", "From ", "<p>", "é"]
_HEADERS = (("List-Id", "<news.example.org>"), ("Feedback-ID", "a:b"), ("X-Order", "4711"))


def random_fields(chance: random.Random) -> dict[str, Any]:
    """Fields of a :class:`~babygun.email.model.Content`, without its sender and recipients."""

    def text(count: int, between: str) -> str:
        return "".join(chance.choice(_WORDS) + chance.choice(between) for _ in range(count))

    return {
        "subject": text(chance.randrange(12), " ").replace("\x0c", "").replace("\t", "").strip(),
        "cc": ("cc@example.com",) * chance.randrange(2),
        "reply_to": ("reply@example.org",) * chance.randrange(2),
        "headers": _HEADERS[: chance.randrange(4)],
        "body": text(chance.randrange(60), " \n\t\n ") if chance.random() < 0.8 else None,
        "html": text(chance.randrange(60), " \n") if chance.random() < 0.5 else None,
        "attachments": tuple(
            Attachment(f"Datei {n}.bin", "application/octet-stream", chance.randbytes(500))
            for n in range(chance.randrange(3))
        ),
    }
