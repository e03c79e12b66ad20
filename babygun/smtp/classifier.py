"""What a server's reply means for a recipient: delivered, try again, or failed for good.

The rules are data (``replies.toml``; its head explains them). Two cases are decided here: a 2xx
for a recipient or a message is ``delivered``, and a connection lost after the final dot is
``uncertain``. An uncertain e-mail is tried again, since a second copy is better than none.
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import msgspec

from babygun.errors import SettingsError
from babygun.smtp.replies import SESSION_PHASES, Phase, Reply
from babygun.smtp.reply_rules import About, Action, Route, Rule, compile_rules

HINT_MARGIN = 10.0  # s, added to the wait that a server asks for: its clock and ours differ
# s. Nobody greylists for longer, and a server's text must not delay an e-mail for days.
HINT_MAX = 3600.0
_TAKEN_PHASES = ("rcpt", "message")  # where a 2xx says that a recipient or a message is taken
_ADDRESS = re.compile(r"[^\s<>()\"',;:]{1,64}@[^\s<>()\"',;:]{1,255}")
_TEXT_MAX = 4000  # characters of a reply that the rules read: this bounds the time they take


class Classification(msgspec.Struct, frozen=True):
    """What to do about a reply.

    ``reply_class``: a class of replies.toml, or delivered, or uncertain.
    ``action``: "split" puts the recipient into another transaction at once. For a recipient that
    was alone in its transaction it means "retry".
    ``retry_after``: seconds, where the server says when to come again.
    ``about``: whom the reply is about, where it says so: the session (each e-mail meets it, so the
    site is held), connections (fewer), the site (it gets less), the sender, the recipient's domain
    or mailbox, or the message. Only the first three say anything of the site.
    ``alarm``: an operator should look.
    ``suppress``: the address is dead. For a reply to a whole transaction (data, message) that
    holds only if it had one recipient.
    ``rule``: the name of the rule that matched.
    ``fresh_connection``: repeat the transaction at once on a new connection. That uses up no try;
    the reply is then classified with ``repeated=True``.
    """

    reply_class: str
    action: Action
    retry_after: float | None = None
    alarm: bool = False
    suppress: bool = False
    rule: str = ""
    fresh_connection: bool = False
    about: About | None = None


_DELIVERED = Classification("delivered", "deliver", rule="delivered")
_UNCERTAIN = Classification("uncertain", "retry", rule="uncertain")


class Classifier:
    """The rules, in the order in which they are asked. The first one that matches decides."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules
        self._by_reply: dict[tuple[Route, Phase, int | None], tuple[Rule, ...]] = {}

    @classmethod
    def load(cls, override_path: str = "") -> Classifier:
        """The rules of the file ``override_path``, then the project's own.

        Raises SettingsError, which names the rule.
        """
        own: tuple[Rule, ...] = ()
        if override_path:
            try:
                text = Path(override_path).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"reply_rules: {override_path}: {error}") from None
            own = compile_rules(text, f"reply_rules: {override_path}")
        builtin = resources.files("babygun.smtp").joinpath("replies.toml").read_text("utf-8")
        return cls(own + compile_rules(builtin, "babygun/smtp/replies.toml"))

    def classify(
        self, reply: Reply, *, route: Route = "relay", repeated: bool = False
    ) -> Classification:
        """Classifies any reply; never raises.

        ``route``: who said it. ``repeated``: it came on a fresh connection that an earlier
        classification asked for.
        """
        code = reply.code
        if reply.uncertain:
            return _UNCERTAIN
        if code is not None and 200 <= code <= 299 and reply.phase in _TAKEN_PHASES:
            return _DELIVERED
        enhanced = reply.enhanced or ""
        text = reply.text[:_TEXT_MAX].lower()
        if "@" in text:
            text = _ADDRESS.sub(" ", text)
        for rule in self._candidates(route, reply.phase, code):
            if rule.matches(code, enhanced, text):
                return _classification(rule, reply, repeated)
        raise AssertionError("replies.toml ends with a rule that takes all")

    def _candidates(self, route: Route, phase: Phase, code: int | None) -> tuple[Rule, ...]:
        """The rules that may match such a reply, cached: a burst of refusals is cheap."""
        # 0 stands for all codes that SMTP does not have, which bounds the cache.
        key = (route, phase, code if code is None or 300 <= code <= 599 else 0)
        rules = self._by_reply.get(key)
        if rules is None:
            rules = tuple(rule for rule in self.rules if rule.applies_to(*key))
            self._by_reply[key] = rules
        return rules


def _classification(rule: Rule, reply: Reply, repeated: bool) -> Classification:
    row = rule.row
    fresh = row.fresh_connection and not repeated
    action = "retry" if fresh else rule.action_for(reply.code)
    return Classification(
        reply_class=row.reply_class,
        action=action,
        retry_after=_hint(reply.text[:_TEXT_MAX]) if row.wait_hint and action == "retry" else None,
        alarm=row.alarm,
        suppress=row.suppress and action == "fail" and reply.phase not in SESSION_PHASES,
        rule=row.name,
        fresh_connection=fresh,
        about=rule.about_in(reply.phase),
    )


# "in 300 seconds", "for 5 min", "after 1 hour", "in 00:04:59"
_HINT = re.compile(
    r"\b(?:in|for|after|wait)\s+(?:(?:another|about|at\s+least)\s+)?"
    r"(?:(\d{1,3}):(\d\d)(?::(\d\d))?"
    r"|(\d{1,6})\s*(s|secs?|seconds?|m|mins?|minutes?|h|hours?))\b",
    re.IGNORECASE,
)
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}


def _hint(text: str) -> float | None:
    """The seconds that a reply's text asks to wait; None where it names no time."""
    match = _HINT.search(text)
    if not match:
        return None
    first, second, third, number, unit = match.groups()
    if number:
        wait = int(number) * _UNIT_SECONDS[unit[0].lower()]
    elif third is None:
        wait = int(first) * 60 + int(second)
    else:
        wait = int(first) * 3600 + int(second) * 60 + int(third)
    return min(wait + HINT_MARGIN, HINT_MAX)
