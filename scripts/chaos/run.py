"""One run: a stage, its load and its faults, until all is quiet again."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from babygun.dev.etcd.binary import EtcdBinary
from babygun.errors import EtcdError
from babygun.store.keys import JobRef
from scripts.bench.processes import Stage as Processes
from scripts.chaos.clients import Clients
from scripts.chaos.faults import Broken, Fault
from scripts.chaos.highest_rate import flowing, highest_rate
from scripts.chaos.history import KEYS, Healed, Injected, Leftovers, Recorder
from scripts.chaos.leftovers import count, count_notices, leftovers, unfinished
from scripts.chaos.load import Source
from scripts.chaos.plan import PAUSES, Turn, plan
from scripts.chaos.rules.left_behind import unsettled
from scripts.chaos.samples import line, sample
from scripts.chaos.stage import LEASE_TTL, UPLOAD_LEASE, Stage
from scripts.chaos.watcher import Watcher

EVERY = 5.0  # s, between two lines of progress
QUIET = 240.0  # s, from the end of the load until every e-mail must be final
FAULT = 120.0  # s, that a fault may take to begin, and to heal
SHOWN = 20  # stuck e-mails that are listed


@dataclass(frozen=True)
class Options:
    """``only``: names of faults; all that are possible if empty.

    ``rate``: e-mails a second; 0 for half of the highest, which is measured first, and at most
    ``most``. ``pauses``: between faults. ``samples``: s between two of them; none for 0.
    ``settings``: Babygun's, beside the stage's. ``spare``: the first worker and the first API
    process live as long as the run.
    """

    seed: int
    seconds: float
    members: int = 1
    rate: float = 0.0
    most: float = 60.0
    only: tuple[str, ...] = ()
    quiet: float = QUIET
    pauses: tuple[float, float] = PAUSES
    samples: float = 0.0
    settings: Mapping[str, str] = field(default_factory=dict)
    spare: bool = False


@dataclass
class Outcome:
    """How a run ended. ``done``: the faults that were injected. ``impossible``: reasons, by fault.

    ``problems``: what the rules do not see, such as a fault that did not heal.
    """

    turns: Sequence[Turn] = ()
    done: set[str] = field(default_factory=set)
    impossible: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    rate: float = 0.0  # of the load, in e-mails a second


class Unknown(ValueError):
    """``only`` names no fault of the folder. The message says which there are."""


class Run:
    """A run on this machine. ``say`` gets its lines."""

    def __init__(
        self,
        options: Options,
        etcd: EtcdBinary,
        faults: Sequence[Fault],
        sources: Sequence[Source],
        say: Callable[[str], None],
    ) -> None:
        self.options, self.outcome = options, Outcome()
        self._etcd, self._sources, self.say = etcd, sources, say
        self._faults = {fault.name: fault for fault in faults}
        self._begun: list[asyncio.Event] = []  # by turn
        self._healed: list[asyncio.Event] = []
        self._ended = asyncio.Event()  # the load: no fault begins any more, and each heals
        if unknown := set(options.only) - set(self._faults):
            raise Unknown(f"no fault is called {', '.join(sorted(unknown))}: see --list")

    async def run(self, history: Path) -> Outcome:
        """Runs it; writes the history into this file. Raises BenchError, TooShort."""
        recorder = Recorder(history)
        try:
            with Processes() as processes:
                stage = Stage(processes, self._etcd, recorder, members=self.options.members)
                stage.settings |= self.options.settings
                stage.spared = [stage.apis[0], stage.workers[0]] if self.options.spare else []
                self._plan(stage)
                try:
                    async with stage:
                        endpoints = tuple(member.endpoint for member in stage.members)
                        async with Watcher(recorder, endpoints) as watcher:
                            await self._on_stage(stage, watcher)
                finally:
                    for log in processes.folder.glob("*.log"):
                        shutil.copy(log, history.parent)
        finally:
            recorder.close()
        return self.outcome

    def _plan(self, stage: Stage) -> None:
        chosen = [
            fault
            for fault in self._faults.values()
            if not self.options.only or fault.name in self.options.only
        ]
        reasons = {fault.name: fault.possible(stage) for fault in chosen}
        self.outcome.impossible = {name: reason for name, reason in reasons.items() if reason}
        possible = [fault for fault in chosen if not reasons[fault.name]]
        self.outcome.turns = plan(
            self.options.seed, self.options.seconds, possible, self.options.pauses
        )
        self.say("plan, in seconds of the load:")
        for turn in self.outcome.turns:
            self.say(f"{turn.at:7.1f} to {turn.heal_at:6.1f}  {turn.fault}")
        for fault in possible:
            fault.prepare(stage)

    async def _on_stage(self, stage: Stage, watcher: Watcher) -> None:
        recorder = stage.recorder
        before = await leftovers(stage, "before")
        recorder.add(before)
        random = Random(f"{self.options.seed} load")
        async with Clients(stage, recorder, random) as clients:
            stage.clients = clients
            self.outcome.rate = self.options.rate
            if not self.options.rate:
                self.outcome.rate = await self._half_of_highest(stage)
            progress = asyncio.create_task(self._progress(stage, clients))
            try:
                await self._load_and_faults(stage, clients)
                self._line(recorder, "the load has ended: waiting until every e-mail is final")
                await self._until_quiet(stage, clients)
            finally:
                progress.cancel()
            self.outcome.counts = dict(clients.counts)
            self.outcome.problems += [f"{n} × {what}" for what, n in clients.surprises.items()]
        await stage.returns.stop()  # what it would still bring, the watch would not see
        try:
            async with asyncio.timeout(FAULT):
                await watcher.caught_up()
                recorder.add(await _settled(stage, before))
        except (EtcdError, TimeoutError) as error:
            self.outcome.problems.append(f"etcd does not answer at the end: {error}")

    async def _load_and_faults(self, stage: Stage, clients: Clients) -> None:
        """All sources, for the time of the run, and all turns.

        On a busy machine faults heal late. Then the load lasts until each has begun.
        """
        begin = stage.recorder.now()
        turns = [
            asyncio.create_task(self._turn(stage, number, turn, begin))
            for number, turn in enumerate(self.outcome.turns, 1)
        ]
        self._begun, self._healed = ([asyncio.Event() for _ in turns] for _ in range(2))
        sampling = asyncio.create_task(self._sample(stage))
        seed = f"{self.options.seed}"
        try:
            async with flowing(self._sources, clients, seed, self.outcome.rate) as loads:
                ended, _ = await asyncio.wait(
                    loads,
                    timeout=self.options.seconds,
                    return_when=asyncio.FIRST_EXCEPTION,
                )
                for load in ended:
                    load.result()
                    self.outcome.problems.append(f"the source {load.get_name()} has ended")
                with suppress(TimeoutError):
                    async with asyncio.timeout(FAULT):
                        for begun in self._begun:
                            await begun.wait()
        finally:
            sampling.cancel()
            self._ended.set()
            await asyncio.gather(*turns)

    async def _half_of_highest(self, stage: Stage) -> float:
        """A load that the machine does not carry would show its limits, and hide what is broken."""
        most = self.options.most
        highest = await highest_rate(
            stage, self._sources, self.options.seed, self.say, most=2 * most
        )
        rate = min(most, highest / 2)
        self.say(f"{highest:.0f} e-mails a second are carried here: the load is {rate:.0f}")
        return rate

    async def _sample(self, stage: Stage) -> None:
        while self.options.samples:
            sampled = await sample(stage)
            stage.recorder.add(sampled)
            self._line(stage.recorder, line(sampled))
            await asyncio.sleep(self.options.samples)

    async def _turn(self, stage: Stage, number: int, turn: Turn, begin: float) -> None:
        """Injects one fault and heals it. What goes wrong with that is a problem of the run."""
        recorder = stage.recorder
        await self._until(recorder, begin + turn.at)
        for earlier, healed in zip(self.outcome.turns, self._healed, strict=True):
            if earlier.heal_at <= turn.at:
                await healed.wait()  # it may have taken longer than planned
        if self._ended.is_set():
            self._healed[number - 1].set()
            return
        fault, clients = self._faults[turn.fault], stage.clients
        assert clients is not None
        try:
            began = recorder.now()
            async with asyncio.timeout(FAULT):
                broken = await fault.inject(stage, Random(turn.seed))
            self.outcome.done.add(turn.fault)
            self._begun[number - 1].set()
            recorder.add(Injected(began, number, turn.fault, {"what": broken.what}))
            self._line(recorder, f"+ {turn.fault}: {broken.what}")
            await self._until(recorder, recorder.now() + turn.heal_at - turn.at)
            await self._heal(stage, number, turn, broken)
        except Exception as error:  # of any fault: the others go on, and the run fails
            self.outcome.problems.append(f"{turn.fault}: {error or type(error).__name__}")
            self._line(recorder, f"! {turn.fault}: {error or type(error).__name__}")
        finally:
            self._begun[number - 1].set()
            self._healed[number - 1].set()

    async def _heal(self, stage: Stage, number: int, turn: Turn, broken: Broken) -> None:
        async with asyncio.timeout(FAULT):
            await broken.heal()
        stage.recorder.add(Healed(stage.recorder.now(), number, turn.fault))
        self._line(stage.recorder, f"- {turn.fault}")

    async def _until_quiet(self, stage: Stage, clients: Clients) -> None:
        """Waits until every e-mail is final, but not for ever. What is stuck is a problem."""
        for problem in await stage.heal():
            self.outcome.problems.append(problem)
        with suppress(EtcdError):
            await stage.end_holds()
        deadline = stage.recorder.now() + self.options.quiet
        left: dict[JobRef, str] = {}
        notices = 0
        while stage.recorder.now() < deadline:
            with suppress(EtcdError):
                left = await unfinished(stage.etcd)
                notices = await count_notices(stage.etcd)
                if not (left or notices or clients.open or stage.returns.open):
                    return
            await asyncio.sleep(0.2)
        self.outcome.problems += [f"{notices} events were never sent"] * (notices > 0)
        self.outcome.problems += [f"{clients.open} calls were never answered"] * (clients.open > 0)
        open = stage.returns.open
        self.outcome.problems += [f"{open} messages never came back"] * (open > 0)
        self.outcome.problems += [
            f"stuck: {ref.email_id} in queue {ref.queue}, {state}" for ref, state in left.items()
        ][:SHOWN]
        if len(left) > SHOWN:
            self.outcome.problems.append(f"stuck: {len(left) - SHOWN} more")

    async def _progress(self, stage: Stage, clients: Clients) -> None:
        while True:
            await asyncio.sleep(EVERY)
            stored = "etcd does not answer"
            with suppress(EtcdError):
                left = {ref.email_id for ref in await unfinished(stage.etcd)}
                final = await count(stage.etcd, KEYS.emails) - len(left)
                stored = f"final {final}, not final {len(left)}"
            counts = clients.counts
            received = sum(receiver.messages for receiver in stage.receivers)
            self._line(
                stage.recorder,
                f"asked {counts['asked']}, accepted {counts['accepted']}, {stored},"
                f" messages received {received}, events sent {stage.webhook.events},"
                f" calls open {clients.open}",
            )

    def _line(self, recorder: Recorder, text: str) -> None:
        self.say(f"{recorder.now():7.1f} s  {text}")

    async def _until(self, recorder: Recorder, at: float) -> None:
        """Waits until then, or until the load has ended."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, at - recorder.now())):
                await self._ended.wait()


async def _settled(stage: Stage, before: Leftovers) -> Leftovers:
    """What is left when the leases and connections of broken calls have ended too."""
    deadline = stage.recorder.now() + UPLOAD_LEASE + LEASE_TTL
    while True:
        after = await leftovers(stage, "after")
        if not unsettled(before, after) or stage.recorder.now() > deadline:
            return after
        await asyncio.sleep(0.5)
