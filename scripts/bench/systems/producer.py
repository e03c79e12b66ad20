"""The side of a queue that puts e-mails in, as a process that takes orders: peers/bullmq_queue.js, peers/celery_queue.py.

It runs on from order to order, as a web application would, and so is warm when it is measured. An order and its answer are one line of JSON each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.bench.loadgen import Mail, Sent
from scripts.bench.processes import BenchError, Stage, line_of

PEERS = Path(__file__).parents[1] / "peers"


class Producer:
    """Started; raises BenchError where it does not come up."""

    def __init__(
        self, stage: Stage, name: str, command: Sequence[str | Path], environment: Mapping[str, str]
    ) -> None:
        self._stage, self._name = stage, name
        self._process = stage.start(name, command, environment=environment, pipes=True)
        self._answer("it did not start")  # "ready"

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, mail: Mail, *, rate: float = 0, times: Path | None = None) -> Sent:
        """See :meth:`scripts.bench.systems.Running.send`; here the time that an e-mail was sent is when the call began that puts it into the queue."""
        assert self._process.stdin is not None
        if mail.recipients != 1:
            raise BenchError(f"{self._name} sends to one recipient")
        order = {
            "first": mail.first,
            "count": mail.count,
            "size": mail.size,
            "rate": rate,
            "times": str(times or ""),
        }
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        return Sent(**json.loads(self._answer("it ended")))

    def stop(self) -> None:
        self._stage.end(self._name)

    def _answer(self, what: str) -> bytes:
        line = line_of(self._process.stdout)
        if not line:
            raise BenchError(f"{self._name}: {what}:\n{self._stage.last_words(self._name)}")
        return line


class ProducerFed:
    """A system that gets its e-mails by a producer, and has processes besides. See :class:`scripts.bench.systems.Running`.

    ``processes``: their names on the stage by their roles, in the order in which they are to end.
    """

    def __init__(self, stage: Stage, producer: Producer, processes: Mapping[str, str]) -> None:
        self._stage, self._producer, self._processes = stage, producer, processes

    @property
    def roles(self) -> Mapping[str, Sequence[int]]:
        return {
            "producer": [self._producer.pid],
            **{role: [self._stage.pid(name)] for role, name in self._processes.items()},
        }

    def send(self, mail: Mail, *, rate: float = 0, times: Path | None = None) -> Sent:
        return self._producer.send(mail, rate=rate, times=times)

    def stop(self) -> None:
        self._producer.stop()
        for name in self._processes.values():
            self._stage.end(name)
