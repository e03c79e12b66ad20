"""A Redis server that writes durably: each write is in a file, with fsync, before the answer."""

from __future__ import annotations

import shutil

from scripts.bench.machine import version
from scripts.bench.processes import Stage, Unavailable, is_listening

DURABLE = "Redis with appendfsync always"


def redis_server() -> str:
    """The program. Raises Unavailable."""
    found = shutil.which("redis-server")
    if not found:
        raise Unavailable("Redis is not installed: apt-get install redis-server")
    return found


def redis_version() -> str:
    return version("redis-server", "--version")


def start_redis(stage: Stage) -> int:
    """Starts an empty one as the stage's process ``redis``; returns its port."""
    port, folder = stage.port(), stage.folder / "redis"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    stage.start("redis", [redis_server(), *words])
    stage.ready("redis", lambda: is_listening(port))
    return port
