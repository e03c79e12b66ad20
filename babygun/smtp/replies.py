"""What an SMTP server answered, as data. What it means is decided by :mod:`classifier`."""

from __future__ import annotations

import re
from typing import Literal, get_args

import msgspec
from msgspec.structs import force_setattr

# What was answered, in the order in which it happens. The head of replies.toml explains them.
Phase = Literal["connect", "greeting", "ehlo", "tls", "auth", "mail", "rcpt", "data", "message"]
PHASES: tuple[Phase, ...] = get_args(Phase)
# Up to here no recipient has been named: what a server says concerns the relay or the login.
SESSION_PHASES: tuple[Phase, ...] = PHASES[: PHASES.index("mail") + 1]

# RFC 3463: class, subject, detail. Some servers write "#5.1.1".
_ENHANCED = re.compile(r"#?([245]\.\d{1,3}\.\d{1,3})(?:[\s:]+|$)", re.ASCII)
_LINE = re.compile(r"\s*([2-5]\d\d)(?:[ -]|$)", re.ASCII)


class Reply(msgspec.Struct, frozen=True):
    """A server's answer, or that none came.

    ``phase``: what was answered. "connect" is never answered; "message" is the reply after the
    final dot.
    ``code``: None where no reply came; then ``text`` says what happened to the connection.
    ``enhanced``: such as "5.1.1" (RFC 3463).
    ``text``: the lines joined by spaces, without the code and the enhanced code. It is printable:
    a server's control characters must not reach logs and terminals.
    ``uncertain``: the connection was lost after the final dot and before its reply.
    """

    phase: Phase
    code: int | None
    enhanced: str | None = None
    text: str = ""
    uncertain: bool = False

    def __post_init__(self) -> None:
        if not self.text.isprintable():
            text = "".join(each if each.isprintable() else " " for each in self.text)
            force_setattr(self, "text", text.strip())


def make_reply(phase: Phase, code: int, message: str) -> Reply:
    """A reply from its code and the text of its lines, which may begin with the enhanced code."""
    enhanced: str | None = None
    lines = []
    for line in message.splitlines():
        line = line.strip()
        if match := _ENHANCED.match(line):
            enhanced = enhanced or match[1]
            line = line[match.end() :]
        if line:
            lines.append(line)
    return Reply(phase, code, enhanced, " ".join(lines))


def parse_reply(text: str, phase: Phase = "rcpt") -> Reply:
    """A reply as a person pastes it: ``550 5.1.1 User unknown``, or several such lines.

    Text without a code stands for a reply that did not come, and says why.
    """
    first = _LINE.match(text)
    if not first:
        return Reply(phase, None, None, " ".join(text.split()))
    code = first[1]
    lines = []
    for line in text.splitlines():
        match = _LINE.match(line)
        lines.append(line[match.end() :] if match and match[1] == code else line)
    return make_reply(phase, int(code), "\n".join(lines))
