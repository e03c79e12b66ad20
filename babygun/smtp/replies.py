"""What an SMTP server's reply means for a recipient: delivered, later again, or never again.

The rules are data (``replies.toml``, whose head explains them), so that an operator can read them, and put own ones before
them. Two outcomes are not theirs to decide: a 2xx is ``delivered``, and a connection lost between the final dot and its reply
is ``uncertain``, which is tried again: better twice than never.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from babygun.errors import SettingsError

Phase = Literal["connect", "mail", "rcpt", "data", "message"]
Action = Literal["deliver", "retry", "fail", "split"]

HINT_MARGIN = 10.0  # seconds on top of the wait a server asks for: its clock and ours differ
HINT_MAX = 3600.0  # seconds; nobody greylists for longer than an hour, and a stranger's text must not park an e-mail for days
_RECIPIENT_PHASES = ("rcpt", "data", "message")  # where a reply is about recipients, not about us


class Reply(msgspec.Struct, frozen=True):
    """A server's answer, or that there was none. ``phase`` is what was answered; "message": the reply after the final dot."""

    phase: Phase
    code: int | None  # None: no reply came, and text says what happened to the connection
    enhanced: str | None = None  # "5.1.1" (RFC 3463)
    text: str = ""  # lines joined by a space, without code and enhanced code
    uncertain: bool = False  # the connection was lost after the final dot, before its reply


class Verdict(msgspec.Struct, frozen=True):
    """What to do about a reply."""

    reply_class: str  # a class of replies.toml, or delivered, or uncertain
    action: Action  # split: in another transaction, at once; pointless (so: a retry) for a recipient that was alone in its own
    retry_after: float | None = None  # seconds; the server said when to come again
    alarm: bool = False  # an operator should look
    suppress: bool = False  # the address is dead; of a transaction's reply (data, message) only if it had one recipient
    rule: str = ""  # name of the rule that matched
    close_connection: bool = (
        False  # the connection is of no more use: 421, or server and client have lost step
    )
    fresh_connection: bool = False  # with retry: at once, on a new connection, no try used up; then classify with repeated=True


class _Condition(msgspec.Struct, forbid_unknown_fields=True):
    no_reply: bool = False
    code: list[str] = []
    enhanced: list[str] = []
    not_enhanced: list[str] = []
    text: list[str] = []
    not_text: list[str] = []
    regex: str = ""


class _RuleRow(msgspec.Struct, forbid_unknown_fields=True, rename={"reply_class": "class"}):
    name: str
    reply_class: str
    action: Action
    action_4xx: Action | None = None
    phases: list[Phase] = []
    alarm: bool = False
    suppress: bool = False
    fresh_connection: bool = False
    wait_hint: bool = False
    why: str = ""
    when: list[_Condition] = []


class _Test(NamedTuple):
    """A condition, ready to run. None: not asked."""

    no_reply: bool
    codes: frozenset[int] | None
    enhanced: re.Pattern[str] | None
    not_enhanced: re.Pattern[str] | None
    text: re.Pattern[str] | None
    not_text: re.Pattern[str] | None
    regex: re.Pattern[str] | None

    def applies_to(self, code: int | None) -> bool:
        return (
            self.no_reply
            if code is None
            else not self.no_reply and (self.codes is None or code in self.codes)
        )

    def holds(self, enhanced: str, text: str) -> bool:
        return (
            (self.enhanced is None or self.enhanced.fullmatch(enhanced) is not None)
            and (self.not_enhanced is None or self.not_enhanced.fullmatch(enhanced) is None)
            and (self.text is None or self.text.search(text) is not None)
            and (self.not_text is None or self.not_text.search(text) is None)
            and (self.regex is None or self.regex.search(text) is not None)
        )


class _Rule(NamedTuple):
    row: _RuleRow
    tests: tuple[_Test, ...]  # empty: always


_DELIVERED = Verdict("delivered", "deliver", rule="delivered")
_UNCERTAIN = Verdict("uncertain", "retry", rule="uncertain", close_connection=True)
_ADDRESS = re.compile(r"[^\s<>()\"',;:]{1,64}@[^\s<>()\"',;:]{1,255}")
_TEXT_MAX = 4000  # characters of a reply that the rules look at: what matters comes first, and a stranger's text must not take long


class Classifier:
    """The rules, compiled. ``rules``: name, class and reason of each, in the order in which they are asked."""

    def __init__(self, rules: tuple[_Rule, ...]) -> None:
        self._rules = rules
        self._by_reply: dict[tuple[Phase, int | None], tuple[_Rule, ...]] = {}
        self.rules = tuple((rule.row.name, rule.row.reply_class, rule.row.why) for rule in rules)

    @classmethod
    def load(cls, override_path: str = "") -> Classifier:
        """The project's rules, those of the file ``override_path`` before them. Raises SettingsError, naming the rule."""
        own: tuple[_Rule, ...] = ()
        if override_path:
            try:
                text = Path(override_path).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"reply_rules: {override_path}: {error}") from None
            own = _compile(text, f"reply_rules: {override_path}")
        builtin = resources.files("babygun.smtp").joinpath("replies.toml")
        return cls(own + _compile(builtin.read_text(encoding="utf-8"), "babygun/smtp/replies.toml"))

    def classify(self, reply: Reply, *, repeated: bool = False) -> Verdict:
        """The verdict on any reply; never raises. ``repeated``: it came on a fresh connection that an earlier verdict asked for."""
        code = reply.code
        if reply.uncertain:
            return _UNCERTAIN
        if code is not None and 200 <= code <= 299:
            return _DELIVERED
        enhanced = reply.enhanced or ""
        text = reply.text[:_TEXT_MAX]
        if "@" in text:
            text = _ADDRESS.sub(" ", text)
        for row, tests in self._candidates(reply.phase, code):
            if not tests or any(
                test.applies_to(code) and test.holds(enhanced, text) for test in tests
            ):
                return _verdict(row, reply, repeated)
        raise AssertionError("replies.toml ends with a rule that takes all")

    def _candidates(self, phase: Phase, code: int | None) -> tuple[_Rule, ...]:
        """The rules that phase and code leave over, kept per pair: a burst of refusals looks at few rules each."""
        key = (
            phase,
            code if code is None or 300 <= code <= 599 else 0,
        )  # 0 for the impossible ones bounds the memory
        rules = self._by_reply.get(key)
        if rules is None:
            rules = tuple(
                rule
                for rule in self._rules
                if (not rule.row.phases or phase in rule.row.phases)
                and (not rule.tests or any(test.applies_to(key[1]) for test in rule.tests))
            )
            self._by_reply[key] = rules
        return rules


def _verdict(row: _RuleRow, reply: Reply, repeated: bool) -> Verdict:
    code = reply.code
    action = (
        row.action_4xx if row.action_4xx and code is not None and 400 <= code <= 499 else row.action
    )
    fresh = row.fresh_connection and not repeated
    if fresh:
        action = "retry"
    return Verdict(
        reply_class=row.reply_class,
        action=action,
        retry_after=_hint(reply.text[:_TEXT_MAX]) if row.wait_hint and action == "retry" else None,
        alarm=row.alarm,
        suppress=row.suppress and action == "fail" and reply.phase in _RECIPIENT_PHASES,
        rule=row.name,
        close_connection=fresh or code == 421,
        fresh_connection=fresh,
    )


# "in 300 seconds", "for 5 min", "after 1 hour", "in 00:04:59"
_HINT = re.compile(
    r"\b(?:in|for|after|wait)\s+(?:(?:another|about|at\s+least)\s+)?(?:(\d{1,3}):(\d\d)(?::(\d\d))?|(\d{1,6})\s*(s|secs?|seconds?|m|mins?|minutes?|h|hours?))\b",
    re.IGNORECASE,
)


def _hint(text: str) -> float | None:
    match = _HINT.search(text)
    if not match:
        return None
    first, second, third, number, unit = match.groups()
    if number:
        wait = int(number) * {"s": 1, "m": 60, "h": 3600}[unit[0].lower()]
    else:
        wait = (
            int(first) * 60 + int(second)
            if third is None
            else int(first) * 3600 + int(second) * 60 + int(third)
        )
    return min(wait + HINT_MARGIN, HINT_MAX)


# --- replies as they come from a server -------------------------------------------------------------------------------

# RFC 3463: class, subject, detail. Some servers write "#5.1.1".
_ENHANCED = re.compile(r"#?([245]\.\d{1,3}\.\d{1,3})(?:[\s:]+|$)", re.ASCII)
_LINE = re.compile(r"\s*([2-5]\d\d)(?:[ -]|$)", re.ASCII)


def make_reply(phase: Phase, code: int, message: str) -> Reply:
    """A reply from its code and its lines' text, which still begin with the enhanced code where the server gives one."""
    enhanced: str | None = None
    lines = []
    for line in message.splitlines():
        line = line.strip()
        if match := _ENHANCED.match(line):
            enhanced = enhanced or match[1]
            line = line[match.end() :]
        if line:
            lines.append(line)
    text = " ".join(lines)
    if not text.isprintable():  # controls would reach logs and terminals
        text = "".join(character if character.isprintable() else " " for character in text)
    return Reply(phase, code, enhanced, text)


def parse_reply(text: str, phase: Phase = "rcpt") -> Reply:
    """A reply as a person pastes it, ``550 5.1.1 User unknown`` or several lines of it; without a code: none came, and the text says why."""
    first = _LINE.match(text)
    if not first:
        return Reply(phase, None, None, " ".join(text.split()))
    code = first[1]
    lines = []
    for line in text.splitlines():
        match = _LINE.match(line)
        lines.append(line[match.end() :] if match and match[1] == code else line)
    return make_reply(phase, int(code), "\n".join(lines))


# --- compiling rules --------------------------------------------------------------------------------------------------


def _compile(text: str, where: str) -> tuple[_Rule, ...]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{where}: {error}") from None
    if unknown := sorted(set(document) - {"rule"}):
        raise SettingsError(
            f"{where}: there is no table {unknown[0]!r}; each rule begins with [[rule]]"
        )
    rows = document.get("rule", [])
    if not isinstance(rows, list):
        raise SettingsError(f"{where}: each rule begins with [[rule]], in double brackets")
    rules: list[_Rule] = []
    names: set[str] = set()
    for number, raw in enumerate(rows, 1):
        name = raw.get("name") if isinstance(raw, dict) else None
        label = f"{where}: rule {number}" + (f" ({name})" if name else "")
        try:
            rule = _compile_rule(raw)
        except (ValueError, re.error) as error:  # msgspec.ValidationError is a ValueError
            raise SettingsError(f"{label}: {error}") from None
        if rule.row.name in names:
            raise SettingsError(f"{label}: the name is taken by an earlier rule")
        names.add(rule.row.name)
        rules.append(rule)
    return tuple(rules)


def _compile_rule(raw: Any) -> _Rule:
    row = msgspec.convert(raw, _RuleRow)
    if not row.name.strip():
        raise ValueError("name is empty")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", row.reply_class):
        raise ValueError(
            f"class is {row.reply_class!r}; it has lower-case letters, digits and underscores, and begins with a letter"
        )
    if "deliver" in (row.action, row.action_4xx):
        raise ValueError("the action can't be deliver: what a server refused is not delivered")
    if row.suppress and "fail" not in (row.action, row.action_4xx):
        raise ValueError("suppress needs the action fail")
    if "when" in raw and not row.when:
        raise ValueError("when is empty; leave it out where the rule is to match always")
    return _Rule(row, tuple(_compile_condition(condition) for condition in row.when))


def _compile_condition(condition: _Condition) -> _Test:
    if condition == _Condition():
        raise ValueError("a condition asks nothing")
    if condition.no_reply and (condition.code or condition.enhanced or condition.not_enhanced):
        raise ValueError("a condition with no_reply can't have code, enhanced or not_enhanced")
    return _Test(
        no_reply=condition.no_reply,
        codes=frozenset(code for pattern in condition.code for code in _codes(pattern)) or None,
        enhanced=_one_of(_enhanced(pattern) for pattern in condition.enhanced),
        not_enhanced=_one_of(_enhanced(pattern) for pattern in condition.not_enhanced),
        text=_one_of(_phrase(phrase) for phrase in condition.text),
        not_text=_one_of(_phrase(phrase) for phrase in condition.not_text),
        regex=re.compile(condition.regex, re.IGNORECASE) if condition.regex else None,
    )


def _one_of(patterns: Iterable[str]) -> re.Pattern[str] | None:
    joined = "|".join(patterns)
    return re.compile(joined, re.IGNORECASE) if joined else None


def _codes(pattern: str) -> range:
    if re.fullmatch(r"[3-5]\d\d", pattern):
        return range(int(pattern), int(pattern) + 1)
    if re.fullmatch(r"[3-5]\dx", pattern):
        return range(int(pattern[:2]) * 10, int(pattern[:2]) * 10 + 10)
    if re.fullmatch(r"[3-5]xx", pattern):
        return range(int(pattern[0]) * 100, int(pattern[0]) * 100 + 100)
    if re.fullmatch(r"[3-5]\d\d-[3-5]\d\d", pattern) and pattern[:3] <= pattern[4:]:
        return range(int(pattern[:3]), int(pattern[4:]) + 1)
    raise ValueError(
        f"code {pattern!r} is not of the form 550, 55x, 5xx or 550-554, from 300 to 599"
    )


def _enhanced(pattern: str) -> str:
    match = re.fullmatch(r"([245x])\.(\d{1,3}|x)\.(\d{1,3}|x|(\d{1,3})-(\d{1,3}))", pattern)
    if not match or (match[4] and int(match[4]) > int(match[5])):
        raise ValueError(
            f"enhanced code {pattern!r} is not of the form 5.1.1, x.1.1, x.5.x or 5.7.20-29"
        )
    klass, subject, detail, low, high = match.groups()
    if low:
        detail = "(?:" + "|".join(str(number) for number in range(int(low), int(high) + 1)) + ")"
    return r"\.".join(
        (
            "[245]" if klass == "x" else klass,
            r"\d+" if subject == "x" else subject,
            r"\d+" if detail == "x" else detail,
        )
    )


def _phrase(phrase: str) -> str:
    """A phrase as a regular expression: whole words, * for any letters and digits, a space for any white space."""
    words = phrase.split()
    if not words or words == ["*"]:
        raise ValueError(f"text {phrase!r} is empty")
    pattern = r"\s+".join(
        r"\w*".join(re.escape(part) for part in word.split("*")) for word in words
    )
    before = r"\b" if words[0][0].isalnum() else ""
    after = r"\b" if words[-1][-1].isalnum() else ""
    return f"{before}{pattern}{after}"
