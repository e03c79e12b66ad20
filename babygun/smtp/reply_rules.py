"""Reads and compiles the rules of a file such as ``replies.toml``, whose head explains them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from babygun.errors import SettingsError
from babygun.smtp.replies import PHASES, SESSION_PHASES, Phase

Action = Literal["deliver", "retry", "fail", "split"]
About = Literal["session", "connections", "site", "sender", "domain", "mailbox", "message"]
# How the mail goes: by a relay, or straight to the hosts of the recipient's domain.
Route = Literal["relay", "mx"]
ROUTES: tuple[Route, ...] = get_args(Route)
ABOUT_SESSION = ("session", "connections")


class _ConditionRow(msgspec.Struct, forbid_unknown_fields=True):
    """A condition as the file has it."""

    no_reply: bool = False
    code: list[str] = []
    enhanced: list[str] = []
    not_enhanced: list[str] = []
    text: list[str] = []
    not_text: list[str] = []
    regex: str = ""


class RuleRow(msgspec.Struct, forbid_unknown_fields=True, rename={"reply_class": "class"}):
    """A rule as the file has it."""

    name: str
    reply_class: str
    action: Action
    action_4xx: Action | None = None
    route: Route | None = None
    phases: list[Phase] = []
    about: About | None = None
    about_later: About | None = None
    alarm: bool = False
    suppress: bool = False
    fresh_connection: bool = False
    wait_hint: bool = False
    why: str = ""
    when: list[_ConditionRow] = []


class _Condition(NamedTuple):
    """A condition, compiled. None: this part is not asked."""

    no_reply: bool
    codes: frozenset[int] | None
    enhanced: re.Pattern[str] | None
    not_enhanced: re.Pattern[str] | None
    text: re.Pattern[str] | None
    not_text: re.Pattern[str] | None
    regex: re.Pattern[str] | None

    def applies_to(self, code: int | None) -> bool:
        if code is None:
            return self.no_reply
        return not self.no_reply and (self.codes is None or code in self.codes)

    def holds(self, enhanced: str, text: str) -> bool:
        """``text``: in lower case."""
        return (
            (self.enhanced is None or self.enhanced.fullmatch(enhanced) is not None)
            and (self.not_enhanced is None or self.not_enhanced.fullmatch(enhanced) is None)
            and (self.text is None or self.text.search(text) is not None)
            and (self.not_text is None or self.not_text.search(text) is None)
            and (self.regex is None or self.regex.search(text) is not None)
        )


class Rule(NamedTuple):
    """A rule, compiled.

    ``phases``: those in which it is asked. ``conditions``: one of them is enough; empty: the rule
    always matches.
    """

    row: RuleRow
    phases: tuple[Phase, ...]
    conditions: tuple[_Condition, ...]

    def applies_to(self, route: Route, phase: Phase, code: int | None) -> bool:
        """Whether the rule can match such a reply, whatever its text says."""
        return (
            self.row.route in (None, route)
            and phase in self.phases
            and (not self.conditions or any(each.applies_to(code) for each in self.conditions))
        )

    def matches(self, code: int | None, enhanced: str, text: str) -> bool:
        """For a reply of a phase that the rule applies to."""
        return not self.conditions or any(
            condition.applies_to(code) and condition.holds(enhanced, text)
            for condition in self.conditions
        )

    def about_in(self, phase: Phase) -> About | None:
        """Whom a reply is about. After MAIL, one recipient may be why a session is refused."""
        if self.row.about in ABOUT_SESSION and phase not in SESSION_PHASES:
            return self.row.about_later
        return self.row.about

    def action_for(self, code: int | None) -> Action:
        if self.row.action_4xx and code is not None and 400 <= code <= 499:
            return self.row.action_4xx
        return self.row.action


def compile_rules(text: str, where: str) -> tuple[Rule, ...]:
    """The rules of a file's ``text``. Raises SettingsError, which begins with ``where``."""
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
    rules: dict[str, Rule] = {}
    for number, raw in enumerate(rows, 1):
        name = raw.get("name") if isinstance(raw, dict) else None
        label = f"{where}: rule {number}" + (f" ({name})" if name else "")
        try:
            rule = _rule(raw)
        except (ValueError, re.error) as error:  # msgspec.ValidationError is a ValueError
            raise SettingsError(f"{label}: {error}") from None
        if rule.row.name in rules:
            raise SettingsError(f"{label}: the name is taken by an earlier rule")
        rules[rule.row.name] = rule
    return tuple(rules.values())


def _rule(raw: Any) -> Rule:
    row = msgspec.convert(raw, RuleRow)
    if not row.name.strip():
        raise ValueError("name is empty")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", row.reply_class):
        raise ValueError(
            f"class is {row.reply_class!r}; it has lower-case letters, digits and underscores,"
            " and begins with a letter"
        )
    if "deliver" in (row.action, row.action_4xx):
        raise ValueError("the action can't be deliver: what a server refused is not delivered")
    if row.suppress and "fail" not in (row.action, row.action_4xx):
        raise ValueError("suppress needs the action fail")
    if "when" in raw and not row.when:
        raise ValueError("when is empty; leave it out where the rule is to match always")
    phases = _phases(row)
    return Rule(row, phases, tuple(_condition(condition) for condition in row.when))


def _phases(row: RuleRow) -> tuple[Phase, ...]:
    """The phases of a rule, and those that are meant where it names none.

    A rule that fails e-mails is not asked before RCPT: what a server says there concerns the relay,
    the site or the login. It may be asked at MAIL where it says that it is about one sender or
    message, and everywhere where a domain's own host speaks for the domain.
    """
    fails = "fail" in (row.action, row.action_4xx)
    about_email = row.about in ("sender", "message")
    _check_about(row)
    for phase in row.phases:
        allowed = (about_email and phase == "mail") or (row.route, row.about) == ("mx", "domain")
        if fails and phase in SESSION_PHASES and not allowed:
            raise ValueError(
                f"the action fail can't have the phase {phase!r}: what a server says up to MAIL"
                " concerns the relay, the site or the login. Use the action retry; or, for mail,"
                ' say about = "sender" or about = "message" where the rule is about one of these'
            )
    if "connect" in row.phases and not (row.when and all(each.no_reply for each in row.when)):
        raise ValueError(
            "in the phase 'connect' no reply comes, so its conditions need no_reply = true;"
            " what a server says then has the phases greeting, ehlo, tls and auth"
        )
    if row.phases:
        return tuple(row.phases)
    if fails:
        return PHASES[PHASES.index("mail" if about_email else "rcpt") :]
    return PHASES


def _check_about(row: RuleRow) -> None:
    retries = {row.action, row.action_4xx or "retry"} == {"retry"}
    if row.about in ("session", "connections", "site") and not retries:
        raise ValueError(f"about = {row.about!r} needs the action retry: no e-mail is at fault")
    if row.about in ABOUT_SESSION:
        if row.phases and set(row.phases).isdisjoint(SESSION_PHASES):
            raise ValueError(
                f"about = {row.about!r} has no effect after MAIL: name a phase up to mail,"
                ' or say about = "site"'
            )
        if row.about_later in ABOUT_SESSION:
            raise ValueError(f"about_later = {row.about_later!r} has no effect after MAIL")
    elif row.about_later is not None:
        raise ValueError('about_later needs about = "session" or about = "connections"')


def _condition(row: _ConditionRow) -> _Condition:
    if row == _ConditionRow():
        raise ValueError("a condition asks nothing")
    if row.no_reply and (row.code or row.enhanced or row.not_enhanced):
        raise ValueError("a condition with no_reply can't have code, enhanced or not_enhanced")
    return _Condition(
        no_reply=row.no_reply,
        codes=frozenset(code for pattern in row.code for code in _codes(pattern)) or None,
        enhanced=_one_of(_enhanced(pattern) for pattern in row.enhanced),
        not_enhanced=_one_of(_enhanced(pattern) for pattern in row.not_enhanced),
        text=_any_phrase(row.text),
        not_text=_any_phrase(row.not_text),
        regex=re.compile(row.regex, re.IGNORECASE) if row.regex else None,
    )


def _one_of(patterns: Iterable[str]) -> re.Pattern[str] | None:
    joined = "|".join(patterns)
    return re.compile(joined) if joined else None


def _any_phrase(phrases: Iterable[str]) -> re.Pattern[str] | None:
    """The phrases as one regular expression for a text in lower case; None: there are none.

    Those with the same first letter stand together, behind one word boundary: so most places of a
    text are passed at once, which is ten times as fast.
    """
    inside: list[str] = []  # those that begin with *
    starts: dict[str, list[str]] = {}  # the others, by first letter
    for phrase in phrases:
        pattern = _phrase(phrase.lower())
        if pattern.startswith(r"\b"):
            starts.setdefault(pattern[2], []).append(pattern[3:])
        else:
            inside.append(pattern)
    words = "|".join(f"{start}(?:{'|'.join(ends)})" for start, ends in starts.items())
    return _one_of([rf"\b(?:{words})"] * bool(words) + inside)


def _codes(pattern: str) -> range:
    """``550``, ``55x``, ``5xx`` or ``550-554`` as a range of codes."""
    if re.fullmatch(r"[3-5](\d\d|\dx|xx)", pattern):
        first, last = int(pattern.replace("x", "0")), int(pattern.replace("x", "9"))
    elif re.fullmatch(r"[3-5]\d\d-[3-5]\d\d", pattern):
        first, last = int(pattern[:3]), int(pattern[4:])
    else:
        first, last = 1, 0
    if first > last:
        raise ValueError(
            f"code {pattern!r} is not of the form 550, 55x, 5xx or 550-554, from 300 to 599"
        )
    return range(first, last + 1)


def _enhanced(pattern: str) -> str:
    """``5.1.1``, ``x.1.1``, ``x.5.x`` or ``5.7.20-29`` as a regular expression."""
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
    """A phrase as a regular expression, of whole words.

    ``*`` stands for any letters and digits, a space for any white space.
    """
    words = phrase.split()
    if not words or words == ["*"]:
        raise ValueError(f"text {phrase!r} is empty")
    pattern = r"\s+".join(
        r"\w*".join(re.escape(part) for part in word.split("*")) for word in words
    )
    before = r"\b" if words[0][0].isalnum() else ""
    after = r"\b" if words[-1][-1].isalnum() else ""
    return f"{before}{pattern}{after}"
