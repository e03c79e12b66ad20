"""A time limit that is set again for each reply, on a loop whose clock the test turns.

A real process is stopped beyond its limits too.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from babygun.smtp.deadline import SLEPT, Deadline, time_limit
from tests.smtp.scripted import Peer, ScriptedServer
from tests.support.paths import ROOT


class Timer:
    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at, self.call, self.cancelled = at, call, False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """As much of an event loop as a deadline uses."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(at, call))
        return self.timers[-1]

    def call_soon(self, call: Callable[[], None]) -> Timer:
        return self.call_at(self.now, call)

    def sleep_until(self, now: float) -> None:
        """The process is stopped meanwhile: its timers are late."""
        self.now = now
        self.turn_to(now)

    def turn_to(self, now: float) -> None:
        while due := [t for t in self.timers if t.at <= now and not t.cancelled]:
            first = min(due, key=lambda timer: timer.at)
            self.timers.remove(first)
            self.now = max(self.now, first.at)
            first.call()
        self.now = now


def deadline_on(clock: Clock, passed: list[float], often: float = 5.0) -> Deadline:
    loop = cast(asyncio.AbstractEventLoop, cast(Any, clock))
    return Deadline(loop, lambda: passed.append(clock.now), often=often)


def test_deadline_passes_with_the_latest_limit() -> None:
    clock, passed = Clock(), list[float]()
    deadline = deadline_on(clock, passed)
    deadline.set(10.0)
    clock.turn_to(8.0)
    deadline.set(5.0)
    clock.turn_to(12.9)
    assert passed == []
    clock.turn_to(13.0)
    assert passed == [13.0]


def test_deadline_that_is_renewed_passes_so_much_later() -> None:
    clock, passed = Clock(), list[float]()
    deadline = deadline_on(clock, passed)
    deadline.set(3.0)
    clock.turn_to(2.0)
    deadline.renew()
    clock.turn_to(20.0)
    assert passed == [5.0]


def test_deadline_shorter_than_the_one_before_passes_in_time() -> None:
    clock, passed = Clock(), list[float]()
    deadline = deadline_on(clock, passed, often=60.0)
    deadline.set(60.0)
    deadline.set(1.0)
    clock.turn_to(2.0)
    assert passed == [1.0]


def test_deadline_that_is_cancelled_never_passes() -> None:
    clock, passed = Clock(), list[float]()
    deadline = deadline_on(clock, passed)
    deadline.set(1.0)
    deadline.cancel()
    clock.turn_to(100.0)
    assert passed == []


def test_thousand_limits_that_do_not_pass_take_few_timers() -> None:
    clock, passed = Clock(), list[float]()
    deadline = deadline_on(clock, passed)
    started = 0
    for n in range(1000):
        before = len(clock.timers)
        deadline.set(5.0)
        started += len(clock.timers) - before
        clock.turn_to(n * 0.001)
    assert started == 1 and passed == []


def test_deadline_begins_again_where_the_process_was_stopped() -> None:
    clock, passed = Clock(), list[float]()
    deadline = deadline_on(clock, passed)
    deadline.set(3.0)
    clock.sleep_until(100.0)
    assert passed == []
    clock.turn_to(200.0)
    assert passed == [103.0]


async def test_time_limit_raises_timeout_error_and_ends_with_its_body() -> None:
    with pytest.raises(TimeoutError):
        async with time_limit(0.01):
            await asyncio.Event().wait()
    async with time_limit(0.01):
        pass
    await asyncio.sleep(0.05)  # the limit has ended too: nothing is cancelled here


LIMIT = 2.5  # s
# It stops itself wherever it waits for a reply. So its limits never run while the server, a busy
# process too, is at work.
SENDER = """
import asyncio, os, signal, sys, uvloop
from aiosmtplib.protocol import SMTPProtocol
from babygun.routing.destination import to_relay
from babygun.routing.server import Server
from babygun.smtp import Envelope, SmtpPool
from babygun.smtp.connection import Connection

def stopping(wait):
    def wait_stopped(*given, **named):  # what was written goes out before the loop's next turn
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGSTOP)
        return wait(*given, **named)
    return wait_stopped

SMTPProtocol.read_response = stopping(SMTPProtocol.read_response)
Connection.collect = stopping(Connection.collect)

async def main():
    limit = float(sys.argv[2])
    pool = SmtpPool(
        to_relay("default", Server("127.0.0.1", int(sys.argv[1]))), hostname="sender.example",
        connect_timeout=limit, timeout=limit, data_timeout=limit, idle=30,
    )
    message = b"Subject: x\\r\\n\\r\\nHello.\\r\\n"
    envelope = Envelope("a@example.org", ("b@example.org",), lambda *offered: message)
    print((await pool.deliver(envelope, may_send=lambda: True)).replies["b@example.org"])

loop = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}[sys.argv[3]]
asyncio.Runner(loop_factory=loop).run(main())
"""


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def test_reply_that_came_while_the_process_was_stopped_is_read() -> None:
    """A process is stopped at each reply for longer than its limits, and goes on."""

    async def send(loop: str) -> None:
        async def late(peer: Peer, reply: bytes, seconds: float) -> None:
            while not is_stopped(sender.pid):  # noqa: ASYNC110 (the system does not say)
                await asyncio.sleep(0.01)
            peer.say(reply)
            await asyncio.sleep(seconds)  # that a limit passes is what the test is about
            os.kill(sender.pid, signal.SIGCONT)

        async def script(peer: Peer) -> None:
            # One limit counts for the whole handshake: with this stop it begins again.
            await late(peer, b"220 scripted.example\r\n", LIMIT + SLEPT + 0.1)
            await peer.hear("EHLO")
            await late(peer, b"250-scripted.example\r\n250 PIPELINING\r\n", 0)
            await peer.hear("MAIL", "RCPT", "DATA")
            await late(peer, b"250 ok\r\n250 ok\r\n354 go\r\n", LIMIT + 0.1)
            await peer.message()
            await late(peer, b"250 2.0.0 Taken\r\n", LIMIT + 0.1)

        async with ScriptedServer(script) as server:
            command = (sys.executable, "-c", SENDER, str(server.port), str(LIMIT), loop)
            sender = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=PIPE)
            output, _ = await sender.communicate()
            assert b"code=250" in output, output
            assert server.connections == 1

    await asyncio.gather(send("uvloop"), send("asyncio"))
