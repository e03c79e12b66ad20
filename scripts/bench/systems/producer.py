"""The process that puts e-mails into a queue: peers/bullmq_queue.js or peers/celery_queue.py.

It takes orders on its standard input; an order and its answer are a line of JSON each. It keeps
running between orders, as a web application would, so it is warm when it is measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.bench.loadgen import Mail, Sent
from scripts.bench.processes import BenchError, Stage, line_of

PEERS = Path(__file__).parents[1] / "peers"


class Producer:
    """Starts the process. Raises BenchError if it does not start."""

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
        """See :meth:`scripts.bench.systems.Running.send`.

        An e-mail counts as sent when the call that puts it into the queue begins.
        """
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
    """A system that gets its e-mails by a producer. See :class:`scripts.bench.systems.Running`.

    ``processes``: by role, the names of its other processes, in the order in which they are ended.
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
