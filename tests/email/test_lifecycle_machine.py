"""The pure life cycle beside a plain model of it: any sequence of events, compared at each step."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from babygun.email import late, lifecycle, log, tries, wide
from babygun.email.bounces import Bounce, Complaint
from babygun.email.compose import new_email
from babygun.email.edit import Edit, edit
from babygun.email.model import Email, Recipient
from babygun.email.return_path import of_recipient
from babygun.email.suppression import Suppression
from babygun.email.transition import Transition, changed
from babygun.email.tries import QueueResult, RecipientResult
from babygun.errors import Conflict
from tests.email.steps import NOW, schedule
from tests.support import email_model as model
from tests.support.machines import run_machine

QUEUES = st.sampled_from(["a", "b", "c"])
# Each recipient's queue. One e-mail has at most four recipients here.
RECIPIENTS = st.lists(QUEUES, min_size=1, max_size=4)
OUTCOMES = st.lists(
    st.tuples(
        st.sampled_from(
            [
                model.DELIVER,
                model.DELIVER,
                model.FAIL,
                model.GONE,
                model.RETRY,
                model.HOLD,
                model.PUT_OFF,
                model.SUPPRESS,
            ]
        ),
        st.none() | st.sampled_from([1.0, 900.0]),
    )
    | st.none(),  # the try ended without a word of this recipient
    min_size=4,
    max_size=4,
)
SECONDS = st.sampled_from([0.0, 1.0, 700.0, 5000.0])
MANUAL = Suppression("manual", NOW)
DAY = 86400.0
MANY = st.lists(QUEUES, min_size=1, max_size=3, unique=True)


class LifeCycle(RuleBasedStateMachine):
    """One e-mail, its keys as the transitions say, and who owns its queues."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.claims, self.edits = 0.0, 0, 0
        self.jobs: set[str] = set()
        self.waiting: dict[str, float] = {}
        self.keyed: dict[int, str] = {}
        self.claimed: dict[str, model.Try] = {}  # the try under way, by queue
        self.gone: set[str] = set()  # what the last transition suppresses

    @initialize(
        queues=RECIPIENTS,
        send_at=st.none() | st.sampled_from([60.0]),
        ends=st.none() | st.sampled_from([300.0, 3000.0]),
        suppressed=st.just(()) | st.lists(st.integers(0, 3), unique=True),
        in_rounds=st.booleans(),
    )
    def accept(
        self,
        queues: list[str],
        send_at: float | None,
        ends: float | None,
        suppressed: list[int],
        in_rounds: bool,
    ) -> None:
        self.in_rounds = in_rounds  # its tries: it has links to unsubscribe
        queue_of = {f"r{n}@example.org": queue for n, queue in enumerate(queues)}
        email = new_email(
            "id",
            client_id="shop",
            sender="me@example.com",
            subject="",
            recipients=tuple(Recipient(a, "to", queue) for a, queue in queue_of.items()),
            now=NOW,
            send_at=None if send_at is None else self._at(send_at),
            expires_at=None if ends is None else self._at(ends),
        )
        found = {a: MANUAL for n, a in enumerate(queue_of) if n in suppressed}
        self.model = model.accept(queue_of, send_at=send_at, ends=ends, suppressed=found)
        self._perform(lifecycle.accept(self._begun(email), found))

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(queue=QUEUES)
    def due(self, queue: str) -> None:
        if self.waiting.get(queue, self.now + 1) <= self.now:
            del self.waiting[queue]
            self.jobs.add(queue)
            self.model = model.due(self.model, queue)

    @rule(queue=QUEUES, dead=st.booleans())
    def claim(self, queue: str, dead: bool) -> None:
        """``dead``: a worker that had it has died, so the claim is logged."""
        if queue not in self.jobs:
            return
        if (before := self.claimed.pop(queue, None)) is not None:
            self.model = model.lease_ends(self.model, {before.claim})
        self.claims += 1
        self.model = model.claim(self.model, queue, self.claims)
        if dead and before is not None:
            self.model = model.reclaim(self.model, queue, self.claims)
            self._perform(
                lifecycle.reclaim(
                    self._seen(queue),
                    queue,
                    worker_id="w2",
                    previous_worker_id="w1",
                    now=self._at(),
                )
            )
        began = model.part(self.model, queue)
        self.claimed[queue] = model.Try(queue, self.claims, began, {})

    @rule(queue=QUEUES)
    def release(self, queue: str) -> None:
        if (given_up := self.claimed.pop(queue, None)) is not None:
            self.model = model.release(self.model, queue, given_up.claim)

    @precondition(lambda self: self.claimed)
    @rule(queues=MANY, outcomes=OUTCOMES)
    def finish(self, queues: list[str], outcomes: list[tuple[str, float | None] | None]) -> None:
        named = zip(self.model.queue_of, outcomes, strict=False)
        known = {address: outcome for address, outcome in named if outcome is not None}
        ended = []
        for queue in queues:
            if (one := self.claimed.pop(queue, None)) is None:
                continue
            found = self._with_turn(queue, known)
            if found or not self.in_rounds:
                ended.append(model.Try(queue, one.claim, one.began, found, self.in_rounds))
            else:  # a round comes to somebody
                self.model = model.release(self.model, queue, one.claim)
        if not ended:
            return
        results = [
            QueueResult(
                one.queue,
                "w1",
                self._at(),
                {a: _result(*outcome) for a, outcome in one.outcomes.items()},
                one.in_rounds,
            )
            for one in ended
        ]
        self.model, written = model.finish(self.model, ended, self.now)
        assert written == [one.queue for one in ended]
        seen = self._seen(*(one.queue for one in ended))
        self._perform(tries.finish(seen, results, now=self._at(), schedule=schedule, suppress=DAY))

    def _with_turn(
        self, queue: str, outcomes: dict[str, tuple[str, float | None]]
    ) -> dict[str, tuple[str, float | None]]:
        """Of a try in rounds: the outcomes of those that it is still to come to."""
        if not self.in_rounds:
            return outcomes
        turns = {r.email for r in tries.recipients_of_try(self._seen(queue), queue)}
        mail = self.model
        expected = {
            address
            for address, name in mail.queue_of.items()
            if name == queue and mail.statuses[address] in model.OPEN
        } - mail.queues[queue].done
        assert turns == expected
        return {address: found for address, found in outcomes.items() if address in turns}

    @rule()
    def cancel(self) -> None:
        self._on_request(
            lambda: model.cancel(self.model),
            lambda: lifecycle.cancel(self.email, sending=self.claimed, now=self._at()),
        )

    @rule()
    def send_now(self) -> None:
        self._on_request(
            lambda: model.send_now(self.model),
            lambda: lifecycle.send_now(self.email, sending=self.claimed, now=self._at()),
        )

    @rule(at=st.none() | st.sampled_from([0.0, 60.0, 400.0, 9000.0]))
    def edit(self, at: float | None) -> None:
        self.edits += 1
        wanted = Edit(None if at is None else self._at(at), (f"tag-{self.edits}",))

        def real() -> Transition:
            after = edit(self.email, wanted, sending=self.claimed, now=self._at())
            assert after is not None
            return after

        self._on_request(lambda: model.edit(self.model, at, self.now), real)

    @rule()
    def retry(self) -> None:
        self._on_request(
            lambda: model.retry(self.model, self.now),
            lambda: lifecycle.retry(self.email, now=self._at()),
        )

    @rule(queue=QUEUES)
    def expire(self, queue: str) -> None:
        if queue in self.waiting:
            return  # the store asks for the job
        outcome = RecipientResult("retry", "expired", reason="too late")
        if queue in self.email.queues:
            self._on_request(
                lambda: model.expire(self.model, queue),
                lambda: lifecycle.expire(
                    self._seen(queue),
                    queue,
                    sending=self.claimed,
                    worker_id="w1",
                    now=self._at(),
                    outcome=outcome,
                ),
            )

    @rule(number=st.integers(0, 3), earlier=st.integers(0, 1), gone=st.booleans())
    def bounce_message_comes(self, number: int, earlier: int, gone: bool) -> None:
        """About the last delivery, or about one before a retry."""
        address = list(self.model.queue_of)[number % len(self.model.queue_of)]
        retries = max(0, self.model.retries.get(address, 0) - earlier)
        path = of_recipient("id", address, retries, "shop")
        report = Bounce(status_code=550, reply_class="x", suppress=gone)

        def real() -> Transition:
            seen = self._seen(self.model.queue_of[address])
            recipient = late.recipient_of(seen, path, ())
            assert recipient is not None
            if late.fate_of_bounce(path, recipient) != "apply":
                raise Conflict("it changes nothing")
            return late.bounce(seen, recipient, report, now=self._at(), suppress=DAY)

        self._on_request(lambda: model.late_bounce(self.model, address, retries, gone=gone), real)

    @rule(number=st.integers(0, 3))
    def complaint_comes(self, number: int) -> None:
        address = list(self.model.queue_of)[number % len(self.model.queue_of)]

        def real() -> Transition:
            seen = self._seen(self.model.queue_of[address])
            recipient = next(r for r in seen.recipients if r.email == address)
            if recipient.complained_at is not None:
                raise Conflict("it is known")
            until = self._at() + timedelta(seconds=DAY)
            word = Suppression("complaint", self._at(), until)
            return late.complain(seen, recipient, Complaint(), now=self._at(), suppression=word)

        self._on_request(lambda: model.complaint(self.model, address), real)

    @invariant()
    def record_is_as_the_model_says(self) -> None:
        email, expected = self.email, self.model
        assert {r.email for r in email.recipients if r.late} == expected.late
        assert {r.email for r in email.recipients if r.complained_at} == expected.complained
        assert {r.email: r.status for r in email.recipients} == expected.statuses
        assert email.status == expected.status
        assert self.gone == expected.gone
        assert email.log_seq == expected.changes
        assert (email.expires_at is None) == (expected.ends is None)
        for name, queue in expected.queues.items():
            state = email.queues[name]
            assert (state.final, state.tries, state.reclaims) == (
                not queue.place,
                queue.tries,
                queue.reclaims,
            ), name

    @invariant()
    def jobs_are_where_the_model_says(self) -> None:
        queues = self.model.queues
        assert self.jobs == {name for name, queue in queues.items() if queue.place == "job"}
        assert self.waiting == {
            name: queue.due for name, queue in queues.items() if queue.place == "waiting"
        }
        due = min(self.waiting.values(), default=None)
        if not self.email.wide and not any(name in self.jobs for name in queues):
            assert self.email.not_before == (None if due is None else self._at(due))

    @invariant()
    def log_has_one_entry_for_each_change(self) -> None:
        held = [entry.event for entry in log.entries_in_record(self.email)]
        assert len(held) == self.email.first_log_key
        assert sorted(self.keyed) == list(range(len(held), self.email.log_seq + 1))
        events = (*held, *(self.keyed[seq] for seq in sorted(self.keyed)))
        assert (events[0], *events[1:][-(model.LOG_ENTRIES - 1) :]) == self.model.log

    def _begun(self, email: Email) -> Email:
        return email

    def _seen(self, *queues: str) -> Email:
        """The record as a change of these queues sees it."""
        return self.email

    def _on_request(self, expected: Any, real: Any) -> None:
        """Both do it, or both refuse."""
        try:
            after = expected()
        except model.Refused:
            try:
                real()
            except Conflict:
                return
            raise AssertionError("the model refuses what the life cycle does") from None
        self.model = after
        self._perform(real())

    def _perform(self, transition: Transition) -> None:
        """Does to the keys what docs/design/life-cycle.md says of each transition."""
        self.email = self._written(transition)
        assert transition.entry.seq == transition.email.log_seq
        assert transition.entry in (*transition.keyed, *log.entries_in_record(self.email))
        for entry in transition.keyed:
            assert entry.seq not in self.keyed
            self.keyed[entry.seq] = entry.event
        for suppression in (each.suppression for each in transition.suppressed):
            assert suppression.until is not None
            since = suppression.until - timedelta(seconds=DAY)
            assert self._at() <= since <= transition.entry.at
        self.gone = {each.address for each in transition.suppressed}
        for queue in transition.touched:
            self.jobs.discard(queue)
            self.waiting.pop(queue, None)
        self.jobs |= set(transition.ready)
        self.waiting |= {q: (due - NOW).total_seconds() for q, due in transition.waiting}

    def _written(self, transition: Transition) -> Email:
        return transition.email

    def _at(self, seconds: float | None = None) -> Any:
        return NOW + timedelta(seconds=self.now if seconds is None else seconds)


class WideLifeCycle(LifeCycle):
    """The same of a wide e-mail. A change sees the parts of its queues, a client's request all."""

    def _begun(self, email: Email) -> Email:
        return wide.begun(email)

    def _seen(self, *queues: str) -> Email:
        return wide.with_parts(wide.record_of(self.email), wide.parts_of(self.email, queues))

    def _written(self, transition: Transition) -> Email:
        before = wide.parts_of(self.email) if hasattr(self, "email") else {}
        parts = before | wide.parts_of(transition.email, transition.changed)
        return wide.with_parts(wide.record_of(transition.email), parts)

    @invariant()
    def record_counts_what_the_parts_are(self) -> None:
        assert self.email.wide is not None and wide.is_whole(self.email)
        email = self.email
        whole = changed(email, email.recipients, email.queues, email.updated_at)
        assert (email.status, email.tries) == (whole.status, whole.tries)
        assert email.status_reason == whole.status_reason
        logs = self.email.wide.logs
        kept = {entry.seq: entry.event for entry in wide.merged_log(logs.values())}
        assert kept.items() <= self.keyed.items()
        newest = [seq for seq in self.keyed if seq > self.email.log_seq - model.LOG_ENTRIES + 1]
        assert kept.keys() >= set(newest)


def _result(action: str, wait: float | None) -> RecipientResult:
    if action == model.SUPPRESS:
        return tries.left_out(MANUAL)
    gone = action == model.GONE
    if action == model.PUT_OFF:
        return RecipientResult("put_off", "warm_up", reason="said", retry_after=wait)
    code = {model.DELIVER: 250, model.FAIL: 550, model.GONE: 550, model.RETRY: 451, model.HOLD: 535}
    return RecipientResult(
        model.FAIL if gone else action,  # type: ignore[arg-type]
        "x",
        code[action],
        reason="said",
        retry_after=wait,
        suppress=gone,
    )


def test_machine_of_the_life_cycle_goes_with_the_model() -> None:
    run_machine(LifeCycle, examples=150, steps=40)


def test_machine_of_a_wide_email_goes_with_the_model() -> None:
    run_machine(WideLifeCycle, examples=100, steps=40)
