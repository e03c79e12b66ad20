"""The event loop: its delay, and what it reports."""

from __future__ import annotations

import asyncio
import sys
import time

from babygun.runtime.event_loop import watch_lag
from babygun.runtime.exposition import render
from tests.support.processes import running
from tests.support.scraping import Scraped

# A stream that is closed refuses what TLS still wants to write; another error is one of ours.
REPORTS = """
import asyncio
from babygun.runtime import event_loop, logs

async def main():
    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    transport, protocol = await loop.create_connection(asyncio.Protocol, host, port)
    transport.abort()
    await asyncio.sleep(0)
    errors = [RuntimeError("a fault of ours")]
    try:
        transport.write(b"last words")
    except RuntimeError as error:
        errors.append(error)
    assert len(errors) == 2, "uvloop has changed"
    for error in errors:
        loop.call_exception_handler({"message": "Fatal error on SSL protocol", "exception": error})

logs.configure("test")
event_loop.run(main())
print("done")
"""


async def test_stall_of_the_event_loop_is_measured() -> None:
    watching = asyncio.create_task(watch_lag(0.05))
    await asyncio.sleep(0)
    time.sleep(0.25)  # noqa: ASYNC251 (the stall)
    try:
        async with asyncio.timeout(20):
            while (  # noqa: ASYNC110
                Scraped(render("api")[0].decode()).get("babygun_event_loop_lag_seconds") or 0
            ) < 0.15:
                await asyncio.sleep(0.01)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def test_last_words_of_a_closed_connection_are_not_reported_as_an_error() -> None:
    async with running(sys.executable, "-c", REPORTS) as process:
        await process.until("done")
        assert process.lines("RuntimeError: a fault of ours")
        assert not process.lines("the handler is closed")
        assert await process.ended() == 0
