"""Celery with Redis and smtplib, as web applications send their mail.

Each e-mail is a task and each task has a connection of its own, with prefork and ``acks_late``.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from scripts.bench.loadgen import BUILD
from scripts.bench.processes import BenchError, Stage, Unavailable, run
from scripts.bench.systems.producer import PEERS, Producer, ProducerFed
from scripts.bench.systems.redis import DURABLE, redis_server, redis_version, start_redis

VENV = BUILD / "celery"
# Processes of the worker. With one per core, the default, a core is idle while the relay answers.
CONCURRENCY = 2 * len(os.sched_getaffinity(0))


class CeleryKind:
    """See :class:`scripts.bench.systems.Kind`."""

    name = "Celery"
    durable = DURABLE

    def prepare(self, say: Callable[[str], None]) -> None:
        redis_server()
        wanted, installed = PEERS / "celery-requirements.txt", VENV / "requirements.txt"
        if (
            installed.exists()
            and installed.read_text() == wanted.read_text()
            and (VENV / "bin" / "celery").exists()
        ):
            return
        say(f"installing Celery into {VENV}")
        shutil.rmtree(VENV, ignore_errors=True)
        try:
            run([sys.executable, "-m", "venv", VENV], within=120)
            run(
                [
                    VENV / "bin" / "python",
                    "-m",
                    "pip",
                    "--disable-pip-version-check",
                    "install",
                    "--quiet",
                    "-r",
                    wanted,
                ],
                within=300,
            )
        except BenchError as error:
            raise Unavailable(f"Celery could not be installed: {error}") from None
        shutil.copyfile(wanted, installed)

    def versions(self) -> Mapping[str, str]:
        lines = run(
            [
                VENV / "bin" / "python",
                "-c",
                "import celery, redis; print(celery.__version__, redis.__version__)",
            ]
        ).split()
        return {"celery": lines[0], "redis-py": lines[1], "redis": redis_version()}

    def start(self, stage: Stage, relay_port: int, *, deliver: bool) -> Celery:
        return Celery(stage, relay_port, deliver=deliver)


class Celery(ProducerFed):
    """See :class:`scripts.bench.systems.Running`."""

    def __init__(self, stage: Stage, relay_port: int, *, deliver: bool) -> None:
        redis = start_redis(stage)
        own = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "CELERY"))
        }
        environment = {
            **own,
            "PYTHONPATH": str(PEERS),
            "PYTHONDONTWRITEBYTECODE": "1",
            "BENCH_REDIS_PORT": str(redis),
            "BENCH_RELAY_PORT": str(relay_port),
        }
        if os.geteuid() == 0:
            environment["C_FORCE_ROOT"] = "1"
        if deliver:
            worker: list[str | Path] = [
                VENV / "bin" / "celery",
                "-A",
                "celery_mail",
                "worker",
                "--loglevel",
                "INFO",
                "--concurrency",
                str(CONCURRENCY),
            ]
            stage.start("celery-worker", worker, environment=environment)
            stage.ready("celery-worker", lambda: " ready." in stage.last_words("celery-worker"))
        producer = Producer(
            stage, "celery-queue", [VENV / "bin" / "python", PEERS / "celery_queue.py"], environment
        )
        super().__init__(
            stage,
            producer,
            {"worker": "celery-worker", "redis": "redis"} if deliver else {"redis": "redis"},
        )
