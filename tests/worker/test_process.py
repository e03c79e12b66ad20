"""``babygun worker`` as a process: what happens where it hangs."""

from __future__ import annotations

import signal
import sys

from tests.support.processes import environment, running
from tests.support.rig import Rig, changed
from tests.support.smtp_server import MisbehavingServer

# A worker whose event loop hangs from SIGUSR1 on.
WORKER = """
import signal, time
from babygun.cli.main import main

def hang(*_):
    time.sleep(600)

signal.signal(signal.SIGUSR1, hang)
main(["worker"])
"""


async def test_worker_that_hangs_ends_by_itself_and_its_mail_arrives_by_another(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    released = smtp.hang_once("ann@example.org")
    settings = changed(rig.settings, watchdog=12.0)  # a machine may stand still for a while
    async with running(sys.executable, "-c", WORKER, env=environment(settings)) as worker:
        email_id = await rig.send("ann@example.org")
        await smtp.hung.wait()
        worker.process.send_signal(signal.SIGUSR1)
        assert await worker.ended() == 1
        assert worker.lines("in hang")
    released.set()
    async with rig.worker():
        [email] = await rig.ended(email_id)
    assert email.status == "complete"


async def test_part_that_stands_still_ends_a_worker_with_a_watchdog_alone(rig: Rig) -> None:
    async with rig.worker(watchdog=60.0) as worker:
        worker.membership._check_in._turn_by = -60.0
        assert worker.stands_still() == "check-in"
        worker._settings = changed(worker._settings, watchdog=0.0)  # systemd may watch all the same
        assert worker.stands_still() == ""
