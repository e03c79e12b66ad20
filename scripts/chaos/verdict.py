"""The verdict on a run: figures, violations with the stories of their e-mails, clean or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from scripts.chaos.faults import all_faults
from scripts.chaos.history import (
    Answered,
    Asked,
    Gap,
    History,
    Injected,
    ProcessEnded,
    Received,
    Reported,
    Returned,
    Revision,
)
from scripts.chaos.rules import Run, Violation, all_rules
from scripts.chaos.rules.duplicates import count
from scripts.chaos.rules.recovery import recoveries
from scripts.chaos.stage import LEASE_TTL
from scripts.chaos.states import Step
from scripts.chaos.story import Story, stories, story

RETENTION = 7 * 86400.0  # s, the product's default: no run takes that long
_SHOWN = 5  # violations of one rule that are shown with their story
_LINES = 60  # of one story


@dataclass
class Figures:
    """What happened, in numbers. Times in seconds."""

    asked: int = 0  # e-mails, repeated requests included
    acknowledged: int = 0  # e-mails by id
    stored: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    signed: int = 0  # messages with valid signatures
    enforced: int = 0  # recipient domains whose TLS policy is enforced
    reports: int = 0
    came_back: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)  # of processes
    revisions: int = 0
    gaps: int = 0
    lost: int = 0
    stuck: int = 0
    duplicates: Counter[str] = field(default_factory=Counter)
    recovery: float | None = None  # the longest, where no other fault met it
    recoveries: int = 0
    wait: float = 0.0  # the longest from acceptance, or a retry, to the end
    seconds: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """``stories``: violations with the stories of their e-mails, ready to be read."""

    figures: Figures
    violations: list[Violation]
    stories: str

    @property
    def clean(self) -> bool:
        return not self.violations

    @property
    def rules(self) -> Counter[str]:
        """How often each rule was broken."""
        return Counter(violation.rule for violation in self.violations)

    def text(self) -> str:
        """All of it, for a terminal."""
        rows = figure_rows(self.figures)
        width = max(len(name) for name, _ in rows)
        lines = [f"{name:<{width}}  {value}" for name, value in rows]
        if self.stories:
            lines += ["", self.stories]
        return "\n".join([*lines, "", self.sentence()])

    def sentence(self) -> str:
        """One line: clean or not."""
        if self.clean:
            return "clean: nothing lost, nothing stuck, every duplicate explained, every rule held"
        rules = ", ".join(f"{rule} {n}" for rule, n in self.rules.most_common())
        return f"NOT CLEAN: {len(self.violations)} violations: {rules}"


def verdict(history: History, *, retention: float = RETENTION) -> Verdict:
    """Checks every rule on a run of the stage. ``retention``: of its records, in seconds."""
    touches = {fault.name: fault.touches for fault in all_faults()}
    return judge(history, lease_ttl=LEASE_TTL, touches=touches, retention=retention)


def judge(
    history: History,
    *,
    lease_ttl: float,
    touches: Mapping[str, frozenset[str]] | None = None,
    retention: float = RETENTION,
) -> Verdict:
    """Checks every rule. ``lease_ttl``: of workers; ``retention``: of records; both in seconds.

    ``touches``: by fault's name.
    """
    run = Run(history, lease_ttl=lease_ttl, touches=touches or {}, retention=retention)
    rules = all_rules()
    figures = _of_run(run)
    violations: list[Violation] = []
    for each in stories(history):
        _add(figures, each, run)
        for rule in rules:
            if rule.of_email is not None:
                violations += (replace(v, rule=rule.name) for v in rule.of_email(each, run))
    for rule in rules:
        if rule.of_run is not None:
            violations += (replace(v, rule=rule.name) for v in rule.of_run(run))
    violations.sort(key=lambda violation: violation.at)
    return Verdict(figures, violations, _stories(history, violations))


def figure_rows(figures: Figures) -> list[tuple[str, str]]:
    """The figures as names and values."""
    recovery = (
        "none was killed with a job while all else worked"
        if figures.recovery is None
        else (f"{figures.recovery:.1f} s at most, of {figures.recoveries} jobs")
    )
    return [
        ("e-mails asked for", f"{figures.asked:,}"),
        ("acknowledged", f"{figures.acknowledged:,}"),
        ("stored", f"{figures.stored:,}"),
        *((f"final: {status}", f"{n:,}") for status, n in sorted(figures.by_status.items())),
        ("messages received", f"{figures.messages:,}, {figures.signed:,} of them signed"),
        ("domains with a TLS policy", str(figures.enforced)),
        ("TLS reports taken", str(figures.reports)),
        *((f"came back: {what}", str(n)) for what, n in sorted(figures.came_back.items())),
        ("revisions", f"{figures.revisions:,}, with {figures.gaps} gaps"),
        ("faults", f"{figures.faults.total()} of {len(figures.faults)} kinds"),
        *((f"fault: {name}", str(n)) for name, n in sorted(figures.faults.items())),
        *((f"ended: {how}", str(n)) for how, n in sorted(figures.ends.items())),
        ("lost", str(figures.lost)),
        ("stuck", str(figures.stuck)),
        ("copies beyond the first", str(figures.duplicates.total())),
        *((f"copies: {why}", str(n)) for why, n in sorted(figures.duplicates.items())),
        ("recovery after a SIGKILL of a worker", recovery),
        ("longest wait for the end", f"{figures.wait:.1f} s"),
        ("length of the run", f"{figures.seconds:.0f} s"),
    ]


def _of_run(run: Run) -> Figures:
    history = run.history
    figures = Figures(seconds=history.end)
    figures.asked = sum(len(asked.mails) for asked in history.events(Asked))
    figures.acknowledged = len({i for a in history.events(Answered) for i in a.ids if i})
    figures.messages = sum(1 for _ in history.events(Received))
    figures.signed = sum(bool(each.signed) for each in history.events(Received))
    figures.enforced = len(run.enforced)
    figures.reports = sum(each.status < 300 for each in history.events(Reported))
    figures.came_back = Counter(
        f"{'forged ' * each.forged}{each.kind}, {'taken' if each.reply[:1] == '2' else 'refused'}"
        for each in history.events(Returned)
        if each.reply[:1] in ("2", "5")
    )
    figures.revisions = sum(1 for _ in history.events(Revision))
    figures.gaps = sum(1 for _ in history.events(Gap))
    figures.faults = Counter(event.fault for event in history.events(Injected))
    figures.ends = Counter(f"{e.role} {e.how}" for e in history.events(ProcessEnded))
    times = [each.seconds for each in recoveries(run) if each.alone]
    figures.recovery, figures.recoveries = max(times, default=None), len(times)
    return figures


def _add(figures: Figures, each: Story, run: Run) -> None:
    record = each.record
    if record is None:
        figures.lost += each.acknowledged() is not None
        return
    figures.stored += 1
    figures.duplicates += count(each, run)
    if not record.final:
        figures.lost += each.last.record is None
        figures.stuck += each.last.record is not None
        return
    figures.by_status[record.status] += 1
    figures.wait = max(figures.wait, _longest_wait(each))


def _longest_wait(each: Story) -> float:
    """From when it was accepted, or tried again by a client, to when it was final."""
    since, longest = None, 0.0
    for step in each.steps:
        record = step.after.record
        if record is None or record.send_at is not None:
            continue
        if not record.final and since is None:
            since = step.at
        elif record.final and since is not None:
            longest, since = max(longest, step.at - since), None
    return longest


def _stories(history: History, violations: list[Violation]) -> str:
    """The violations, each e-mail's story once."""
    lines: list[str] = []
    shown: Counter[str] = Counter()
    seen: set[str] = set()
    for violation in violations:
        shown[violation.rule] += 1
        if shown[violation.rule] > _SHOWN:
            continue
        at = f"{violation.at:.2f} s" + (
            f", revision {violation.revision}" * bool(violation.revision)
        )
        lines += [
            f"[{violation.rule}] {violation.email_id or 'the run'} at {at}",
            f"    seen:     {violation.seen}",
            f"    expected: {violation.expected}",
        ]
        if violation.email_id and violation.email_id not in seen:
            seen.add(violation.email_id)
            lines += [f"    | {line}" for line in brief(story(history, violation.email_id))]
    for rule, n in shown.items():
        if n > _SHOWN:
            lines.append(f"[{rule}] and {n - _SHOWN} more")
    return "\n".join(lines)


def brief(each: Story) -> list[str]:
    """A story in brief: every request, message and revision, in order of time."""
    rows: list[tuple[float, str]] = []
    for asked in each.asked:
        key = f" with key {asked.key}" if asked.key else ""
        rows.append((asked.at, f"{asked.client} asks api {asked.api}: {asked.call}{key}"))
        if (answer := each.answers.get(asked.number)) is not None:
            said = answer.status or "nothing"
            rows.append((answer.at, f"answer to {asked.call}: {said} {answer.problem}".rstrip()))
    for copy in each.received:
        took = {True: "took", False: "refused", None: "took, without a reply,"}[copy.committed]
        rows.append(
            (
                copy.at,
                f"relay {copy.relay} {took} it for {', '.join(copy.recipients)}: {copy.reply}",
            )
        )
    rows += [(step.at, f"revision {step.revision}: {_said(step)}") for step in each.steps]
    lines = [f"{at:8.2f} {text}" for at, text in sorted(rows, key=lambda row: row[0])]
    if len(lines) > _LINES:
        lines[_LINES // 2 : -_LINES // 2] = [f"         … {len(lines) - _LINES} more lines …"]
    return lines


def _said(step: Step) -> str:
    """What a revision did to the e-mail."""
    before, after = step.before, step.after
    said: list[str] = [] if step.whole else ["(after a gap)"]
    if step.changes_record and after.record is not None:
        record, entry = after.record, step.entry
        who = f" by {entry.worker_id}" if entry and entry.worker_id else ""
        said.append(f"{entry.event if entry else 'no entry'}{who}: {record.status}")
        said += [f"{r.email} {r.status}" for r in record.recipients[:6]]
        said.append(f"log {record.log_seq}")
    elif before.record is not None and after.record is None:
        said.append("record gone")
    for queue, owner in after.owners.items():
        if before.owners.get(queue) != owner:
            said.append(f"{owner.worker_id} owns {queue} (token {owner.created})")
    said += [f"owner of {queue} gone" for queue in before.owners.keys() - after.owners.keys()]
    said += [f"job {queue}" for queue in sorted(step.jobs_put)]
    said += [f"job {queue} gone" for queue in sorted(before.jobs - after.jobs)]
    said += [f"{queue} waits until {due:%T}" for queue, due in after.waiting - before.waiting]
    said += [f"{queue} waits no more" for queue, _ in before.waiting - after.waiting]
    if before.chunks.keys() - after.chunks.keys():
        said.append("content gone")
    return ", ".join(said) or "other keys"
