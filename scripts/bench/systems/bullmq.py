"""BullMQ: a queue of jobs in Redis, and a worker that sends them with nodemailer's pool.

There is no HTTP: the calls of its library are measured.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping

from scripts.bench.loadgen import BUILD
from scripts.bench.machine import version
from scripts.bench.processes import BenchError, Stage, Unavailable, run
from scripts.bench.systems.producer import PEERS, Producer, ProducerFed
from scripts.bench.systems.redis import DURABLE, redis_server, redis_version, start_redis

PACKAGES = BUILD / "bullmq"


class BullMqKind:
    """See :class:`scripts.bench.systems.Kind`."""

    name = "BullMQ"
    durable = DURABLE

    def prepare(self, say: Callable[[str], None]) -> None:
        redis_server()
        if not shutil.which("node"):
            raise Unavailable("Node.js is not installed: apt-get install nodejs npm (20 or newer)")
        wanted, installed = PEERS / "package.json", PACKAGES / "package.json"
        if (PACKAGES / ".installed").exists() and installed.read_text() == wanted.read_text():
            return
        if not shutil.which("npm"):
            raise Unavailable("npm is not installed: apt-get install npm")
        say(f"installing BullMQ and nodemailer into {PACKAGES}")
        shutil.rmtree(PACKAGES, ignore_errors=True)
        PACKAGES.mkdir(parents=True)
        shutil.copyfile(wanted, installed)
        try:
            options = ("--no-package-lock", "--no-fund", "--no-audit", "--loglevel=error")
            run(["npm", "install", *options], cwd=PACKAGES, within=300)
        except BenchError as error:
            raise Unavailable(f"BullMQ could not be installed: {error}") from None
        (PACKAGES / ".installed").touch()

    def versions(self) -> Mapping[str, str]:
        return {
            "bullmq": _package("bullmq"),
            "nodemailer": _package("nodemailer"),
            "node": version("node", "--version"),
            "redis": redis_version(),
        }

    def start(self, stage: Stage, relay_port: int, *, deliver: bool) -> BullMq:
        return BullMq(stage, relay_port, deliver=deliver)


class BullMq(ProducerFed):
    """See :class:`scripts.bench.systems.Running`."""

    def __init__(self, stage: Stage, relay_port: int, *, deliver: bool) -> None:
        redis = start_redis(stage)
        environment = {
            **os.environ,
            "NODE_PATH": str(PACKAGES / "node_modules"),
            "NODE_ENV": "production",
        }
        if deliver:
            stage.start(
                "bullmq-worker",
                ["node", PEERS / "bullmq_worker.js", str(redis), str(relay_port)],
                environment=environment,
            )
            stage.ready("bullmq-worker", lambda: "ready" in stage.last_words("bullmq-worker"))
        producer = Producer(
            stage, "bullmq-queue", ["node", PEERS / "bullmq_queue.js", str(redis)], environment
        )
        super().__init__(
            stage,
            producer,
            {"worker": "bullmq-worker", "redis": "redis"} if deliver else {"redis": "redis"},
        )


def _package(name: str) -> str:
    return str(
        json.loads((PACKAGES / "node_modules" / name / "package.json").read_text())["version"]
    )
