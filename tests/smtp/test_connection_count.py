"""How many connections all pools have together."""

from __future__ import annotations

from babygun.routing.destination import to_relay
from babygun.routing.server import Server
from babygun.smtp import KnownServers, SmtpPool
from babygun.smtp.connection_count import ConnectionCount
from tests.smtp.conftest import TIMES, send
from tests.smtp.test_pool import settle
from tests.support.smtp_server import MisbehavingServer


async def test_no_connection_is_kept_idle_where_all_pools_have_enough() -> None:
    known = KnownServers(count=ConnectionCount(most=2))
    async with MisbehavingServer() as server:
        there = Server("127.0.0.1", server.port)
        pools = [
            SmtpPool(to_relay(name, there), hostname="sender.example", known=known, **TIMES)
            for name in ("one", "two", "three")
        ]
        for pool in pools:
            await send(pool, "a@example.org")
        await settle(lambda: server.connections == 1)
        assert [pool.connections.open for pool in pools] == [1, 0, 0]
        assert known.count.open == 1
        for pool in pools:
            await pool.close()
        assert known.count.open == 0


async def test_count_is_right_after_refusals_and_cuts() -> None:
    known = KnownServers()
    async with MisbehavingServer() as server:
        relay = to_relay("one", Server("127.0.0.1", server.port))
        pool = SmtpPool(relay, hostname="sender.example", known=known, **TIMES)
        await send(pool, "drop-data@example.org")
        await send(pool, "a@example.org")
        await server.cut()
        await settle(lambda: known.count.open == 0)
        await pool.close()
        await server.stop()
        await send(
            pool := SmtpPool(relay, hostname="x.example", known=known, **TIMES), "b@c.example"
        )
        assert known.count.open == 0
        await pool.close()
        await server.start()
