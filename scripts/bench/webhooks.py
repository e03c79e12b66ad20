"""Events to webhooks: how many a second, beside endpoints that hang, and beside mail."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import msgspec

from babygun.dev.etcd.binary import EtcdBinary
from babygun.etcd import Txn, put
from babygun.intake.ids import new_email_id
from babygun.runtime.clock import utc_now
from babygun.runtime.processes.interpreter import python_command, python_environment
from babygun.runtime.settings import Settings
from babygun.store import Store, codec
from babygun.store.access.clients import create_client
from babygun.store.keys import NoticeRef
from babygun.store.records import Client
from babygun.store.webhooks.change import create_webhook
from babygun.store.webhooks.records import MOST_WEBHOOKS, Notice, Webhook
from scripts.bench import parts
from scripts.bench.loadgen import Sink
from scripts.bench.measure import MIB, Numbers, measure
from scripts.bench.parts import Say
from scripts.bench.processes import BenchError, Stage, line_of
from scripts.bench.procstat import cpu_seconds, largest_peak
from scripts.bench.systems.babygun import Babygun

PARTS = ("one", "hanging", "mail")
_SETTINGS = {
    "BABYGUN_WEBHOOK_ALLOW_HTTP": "yes",
    "BABYGUN_WEBHOOK_ALLOW_NETWORKS": "127.0.0.0/8",
}
_TARGET = 1000  # events a second to one endpoint
_ENDPOINTS, _HANGING = 100, 30
_STALL = 60.0  # s without an event, after which a run has failed
_RECIPIENT = {"email": "someone@example.net", "kind": "to", "queue": "main", "tries": 1}


def add_command(commands: Any) -> argparse.ArgumentParser:
    """``webhooks`` on the command line; ``commands``: argparse's subparsers."""
    command = parts.add_command(
        commands,
        "webhooks",
        PARTS,
        help="events to webhooks: rates, endpoints that hang, mail beside them",
    )
    command.add_argument("--rounds", type=int, default=3, help="of each part (default: 3)")
    command.add_argument("--events", type=int, default=20_000, help="to one endpoint")
    command.add_argument("--emails", type=int, default=15_000, help="of one measurement of mail")
    return command


def command(arguments: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Does the run that the command line asks for."""
    return parts.run(
        "webhooks",
        PARTS,
        arguments.only,
        say,
        lambda stage, etcd: Webhooks(stage, etcd, say, arguments),
    )


def markdown(result: Mapping[str, Any]) -> str:
    """A row for each figure, and whether its target was reached."""
    return parts.markdown(result, "", "found")


class Webhooks:
    """The parts. Each has ``rows`` for the table, beside its figures."""

    def __init__(
        self, stage: Stage, etcd: EtcdBinary, say: Say, arguments: argparse.Namespace
    ) -> None:
        self._stage, self._etcd, self._say, self._given = stage, etcd, say, arguments
        self._sink, self._numbers = Sink(stage), Numbers()
        self._receiver = Receiver(stage)

    def one(self) -> dict[str, Any]:
        """As many events as wait, to one endpoint that answers at once."""
        rounds = [self._one() for _ in range(self._given.rounds)]
        rate = median(each["rate"] for each in rounds)
        cpu = median(each["cpu"] for each in rounds)
        found = f"{rate:,.0f} events /s, {cpu:,.0f} µs of a worker's CPU each"
        return {
            "rounds": rounds,
            "rows": [_row("one endpoint", found, f"{_TARGET:,} /s", rate >= _TARGET)],
        }

    def hanging(self) -> dict[str, Any]:
        """100 endpoints, all quick, and the same with 30 of them that never answer."""
        each = max(1, self._given.events // _ENDPOINTS)
        rounds = [
            {"quick": self._many(0, each), "hanging": self._many(_HANGING, each)}
            for _ in range(self._given.rounds)
        ]
        share = median(
            one["hanging"]["seconds"] / one["quick"]["seconds"] * 100 / 70 for one in rounds
        )
        memory = max(one["hanging"]["memory"] for one in rounds)
        return {
            "rounds": rounds,
            "rows": [
                _row(
                    "100 endpoints of which 30 hang: time per event to the other 70, of that "
                    "without hanging ones",
                    f"{share:.0%}",
                    "150 % or less",
                    share <= 1.5,
                ),
                _row(
                    "memory of the worker then",
                    f"{memory:.0f} MiB",
                    "300 MiB or less",
                    memory <= 300,
                ),
            ],
        }

    def mail(self) -> dict[str, Any]:
        """Mail end to end, without a webhook and with one that gets every event."""
        rounds = []
        for number in range(self._given.rounds):
            pair = [False, True] if number % 2 == 0 else [True, False]
            found = {"with" if one else "without": self._mail(webhook=one) for one in pair}
            self._say(f"mail: {json.dumps(found)}")
            rounds.append(found)
        share = median(one["with"]["rate"] / one["without"]["rate"] for one in rounds)
        rates = [median(one[name]["rate"] for one in rounds) for name in ("with", "without")]
        late = median(one["with"]["late"] for one in rounds)
        cpu = [
            median(sum(one[name]["cpu"].values()) for one in rounds) for name in ("with", "without")
        ]
        return {
            "rounds": rounds,
            "rows": [
                _row(
                    "mail end to end with a webhook on every event, of that without",
                    f"{share:.0%} ({rates[0]:,.0f} of {rates[1]:,.0f} /s)",
                    "80 % or more",
                    share >= 0.8,
                ),
                _row(
                    "CPU of an e-mail without it, of that with it and what is sent meanwhile",
                    f"{cpu[1] / cpu[0]:.0%} ({cpu[1]:,.0f} of {cpu[0]:,.0f} µs)",
                    "80 % or more",
                    cpu[1] / cpu[0] >= 0.8,
                ),
                _row(
                    f"its {2 * self._given.emails:,} events: the last one after the last e-mail",
                    f"{late:.1f} s",
                    "30 s or less",
                    late <= 30,
                ),
            ],
        }

    # --- runs ---

    def _one(self) -> dict[str, float]:
        running = self._start(workers=0)
        try:
            asyncio.run(_fill(running, [self._receiver.url("/one")], self._given.events))
            self._receiver.ask("reset")
            running.start_workers(1)
            began, before = time.monotonic(), self._cpu(running)
            end = self._receiver.wait(self._given.events)
            self._await_finished()
            cpu = (self._cpu(running) - before) * 1e6 / self._given.events
            found = {"rate": self._given.events / (end - began), "cpu": cpu}
            self._say(f"one endpoint: {json.dumps(found)}")
            return found
        finally:
            running.stop()

    def _many(self, hanging: int, each: int) -> dict[str, float]:
        running = self._start(workers=0)
        urls = [
            self._receiver.url(f"/{'hang' if number < hanging else 'quick'}{number}")
            for number in range(_ENDPOINTS)
        ]
        try:
            asyncio.run(_fill(running, urls, each))
            self._receiver.ask("reset")
            running.start_workers(1)
            began = time.monotonic()
            end = self._receiver.wait(each * (_ENDPOINTS - hanging))
            found = {
                "seconds": end - began,
                "memory": largest_peak(running.roles["worker"]) / MIB,
                "requests that hang": self._receiver.ask("count")["hanging"],
            }
            self._say(f"{_ENDPOINTS} endpoints, {hanging} hang: {json.dumps(found)}")
            return found
        finally:
            running.stop()

    def _mail(self, *, webhook: bool) -> dict[str, Any]:
        running = self._start(workers=1)
        try:
            if webhook:
                asyncio.run(_webhook(running, self._receiver.url("/mail")))
            self._receiver.ask("reset")
            measure(running, self._numbers.mail(500), self._sink, self._stage.folder)
            done = measure(
                running, self._numbers.mail(self._given.emails), self._sink, self._stage.folder
            )
            found: dict[str, Any] = {"rate": done.rate, "cpu": dict(done.cpu)}
            if webhook:
                ended = time.monotonic()
                found["meanwhile"] = self._receiver.ask("count")["distinct"]
                last = self._receiver.wait(2 * (500 + self._given.emails))
                found["late"] = max(0.0, last - ended)
            return found
        finally:
            running.stop()

    def _start(self, *, workers: int) -> Babygun:
        running = Babygun(self._stage, self._sink.port, self._etcd, settings=_SETTINGS)
        return running.start(workers=workers)

    def _cpu(self, running: Babygun) -> float:
        return cpu_seconds(running.roles["worker"])

    def _await_finished(self) -> None:
        time.sleep(0.5)  # the last results are written


class Receiver:
    """:mod:`scripts.bench.webhook_receiver`, as a process of the stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._process = stage.start(
            "receiver",
            python_command("scripts.bench.webhook_receiver"),
            environment=python_environment({}),
            pipes=True,
        )
        self.port = int(line_of(self._process.stdout))

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def ask(self, line: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(line_of(self._process.stdout))

    def wait(self, count: int) -> float:
        """When the last of so many events came, by time.monotonic(). Raises BenchError."""
        last, moved = -1, time.monotonic()
        while True:
            found = self.ask("count")
            if found["distinct"] >= count:
                return float(found["last"])
            if found["distinct"] != last:
                last, moved = found["distinct"], time.monotonic()
            elif time.monotonic() - moved > _STALL:
                raise BenchError(f"{last} of {count} events came, then none for {_STALL:g} s")
            self._stage.check()
            time.sleep(0.05)


# --- what etcd holds ---


def _settings(running: Babygun) -> Settings:
    return Settings(etcd_endpoints=(running.endpoint,))


async def _webhook(running: Babygun, url: str) -> None:
    """The webhook of the client that sends the mail."""
    async with Store(_settings(running)) as store:
        found = await store.client.get(store.keys.client(running.client_id))
        assert found is not None
        client = codec.decode_state(found.value, Client)
        await create_webhook(store, client.identity, url=url)


async def _fill(running: Babygun, urls: Sequence[str], each: int) -> None:
    """Makes a webhook for each URL, with so many events that wait."""
    async with Store(_settings(running)) as store:
        for number, url in enumerate(urls):
            if number % MOST_WEBHOOKS == 0:
                client, _ = await create_client(store, name="bench", scopes=["emails:send"])
            webhook, _ = await create_webhook(store, client.identity, url=url)
            for start in range(0, each, 100):
                ops = [_notice(store, webhook) for _ in range(min(100, each - start))]
                await store.client.txn(Txn([], ops))


def _notice(store: Store, webhook: Webhook) -> Any:
    """As a delivery to one recipient writes it."""
    now, email_id = utc_now(), new_email_id()
    event_id = f"{email_id}-0002-delivered"
    data = {
        "event_id": event_id,
        "sequence": 2,
        "email_id": email_id,
        "client_id": "bench",
        "sender": "me@example.com",
        "subject": "A subject of some length, as mail has it",
        "tags": ["bench"],
        "metadata": {"order": "12345"},
        "recipients": [
            {**_RECIPIENT, "status": "delivered", "status_code": 250, "status_reason": "2.0.0 ok"}
        ],
        "queues": ["main"],
        "try": 1,
    }
    body = msgspec.json.encode({"type": "delivered", "timestamp": now, "data": data})
    return put(
        store.keys.notice(NoticeRef(webhook.id, event_id)),
        codec.encode_notice(Notice(msgspec.Raw(body), now)),
    )


def _row(what: str, found: str, target: str, ok: bool) -> dict[str, Any]:
    return {"what": what, "found": found, "target": target, "ok": ok}
