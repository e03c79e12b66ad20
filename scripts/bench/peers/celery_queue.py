"""Puts e-mails into Celery's queue, by orders; see scripts/bench/systems/producer.py."""

from __future__ import annotations

import array
import json
import sys
import threading
import time
from itertools import count as counter
from pathlib import Path
from typing import Any

from celery_mail import app, send

THREADS = 8  # like requests of a web application: Redis writes some together, with one fsync
LINE = "The quick brown fox jumps over the lazy dog, and then it does so once more.\n"


def produce(first: int, count: int, size: int, rate: float, times: str) -> dict[str, Any]:
    text = LINE * -(-size // len(LINE))
    taken = array.array("q", bytes(16 * count))
    numbers = counter()  # its next() is atomic
    refused: list[Exception] = []
    start = time.monotonic_ns()

    def work() -> None:
        for i in numbers:
            if i >= count:
                return
            if rate and (wait := start / 1e9 + i / rate - time.monotonic()) > 0:
                time.sleep(wait)
            taken[2 * i] = time.monotonic_ns()
            try:
                send.delay(
                    "sender@example.com", f"b{first + i}@example.net", f"message {first + i}", text
                )
            except Exception as error:
                refused.append(error)
            taken[2 * i + 1] = time.monotonic_ns()

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    end = time.monotonic_ns()
    if refused:
        print(refused[0], file=sys.stderr)
    if times:
        Path(times).write_bytes(taken.tobytes())
    return {"start": start / 1e9, "end": end / 1e9, "refused": len(refused), "cpu": 0}


def main() -> None:
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=100)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(produce(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
