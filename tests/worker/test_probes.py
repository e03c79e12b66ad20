"""The worker's own HTTP server: its metrics, and whether it is ready: without etcd, draining."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from babygun.worker import Worker
from babygun.worker.probes import probed
from scripts.attack.bombs import compressed_request, many_members
from tests.support.bombs import inflated, status_of
from tests.support.etcd_server import EtcdServer, free_ports
from tests.support.processes import PATIENCE, babygun
from tests.support.rig import LONG_LEASE, SHORT_LEASE, Rig, changed, rig_for
from tests.support.scraping import Scraped
from tests.support.smtp_server import MisbehavingServer


class Probes:
    """A worker's probes, called as an orchestrator does."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url, self._session = url, session

    async def call(self, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, str]:
        """Status, headers, text."""
        async with self._session.request(method, self.url + path, headers=headers) as answer:
            return answer.status, answer.headers, await answer.text()

    async def scrape(self) -> Scraped:
        status, headers, text = await self.call("/metrics")
        assert (status, headers["Content-Type"]) == (
            200,
            "text/plain; version=0.0.4; charset=utf-8",
        ), text
        return Scraped(text)

    async def ready(self) -> tuple[int, dict[str, Any]]:
        status, _, text = await self.call("/readyz")
        document = json.loads(text)
        assert document.keys() == {"ready", "reasons", "warnings"} and document["ready"] == (
            status == 200
        ) == (not document["reasons"])
        return status, document

    async def until(self, holds: Callable[[Scraped], bool], within: float = PATIENCE) -> Scraped:
        """The first reading that is so."""
        async with asyncio.timeout(within):
            while not holds(seen := await self.scrape()):  # noqa: ASYNC110 (another process's state)
                await asyncio.sleep(0.02)
        return seen

    async def until_ready(self, status: int, within: float = PATIENCE) -> dict[str, Any]:
        async with asyncio.timeout(within):
            while (answer := await self.ready())[0] != status:  # noqa: ASYNC110 (another process's state)
                await asyncio.sleep(0.05)
        return answer[1]


@asynccontextmanager
async def probes_of(worker: Worker) -> AsyncIterator[Probes]:
    async with (
        probed(worker) as url,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session,
    ):
        yield Probes(url, session)


@asynccontextmanager
async def probes_at(port: int) -> AsyncIterator[Probes]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session:
        yield Probes(f"http://127.0.0.1:{port}", session)


def recipients(seen: Scraped, before: Scraped) -> float:
    """How many have been counted since; a count follows the commit that a test waits for."""
    return sum(
        seen.since(
            before,
            "babygun_recipients_total",
            **{f"{key}_": value for key, value in labels.items()},
        )
        for labels in seen.labels("babygun_recipients_total")
    )


async def test_recipients_are_counted_by_what_each_try_did(rig: Rig) -> None:
    async with rig.worker() as worker, probes_of(worker) as probes:
        before = await probes.scrape()
        await rig.ended(
            await rig.send("ann@example.org", "hard@example.org", "flaky-1@example.org"),
            await rig.send("soft@example.org"),
            await rig.send("bob@example.org"),
        )
        after = await probes.until(lambda seen: recipients(seen, before) == 8)
    for outcome, reply_class, count in (
        ("delivered", "delivered", 3),
        ("deferred", "temporary", 3),
        ("failed", "bad_mailbox", 1),
        ("failed", "temporary", 1),
    ):
        assert (
            after.since(
                before,
                "babygun_recipients_total",
                site="main",
                outcome=outcome,
                class_=reply_class,
            )
            == count
        ), (outcome, reply_class)
    assert (
        after.since(before, "babygun_emails_ended_total", status="failed") == 2
        and after.since(before, "babygun_emails_ended_total", status="complete") == 1
    )
    assert (
        after.since(before, "babygun_claims_total", outcome="claimed") == 6
    )  # two tries of the first, three of the second, one of the third
    assert (
        after.since(before, "babygun_claim_to_reply_seconds_count", site="main") == 3
    )  # messages that a server answered for
    assert after.since(before, "babygun_etcd_batch_transactions_sum") >= 12
    assert after.get("babygun_emails_accepted_total") is None, "that is the API's"


async def test_email_of_two_queues_ends_once(two_queues: Rig) -> None:
    async with two_queues.worker() as worker, probes_of(worker) as probes:
        before = await probes.scrape()
        await two_queues.ended(await two_queues.send("ann@a.example", "bob@b.example"))
        after = await probes.until(lambda seen: recipients(seen, before) == 2)
        assert after.since(before, "babygun_emails_ended_total", status="complete") == 1
        for queue in ("a", "b"):
            assert (
                after.since(
                    before,
                    "babygun_recipients_total",
                    site=queue,
                    outcome="delivered",
                    class_="delivered",
                )
                == 1
            )


async def test_state_is_shown_as_it_is_at_the_scrape(rig: Rig, smtp: MisbehavingServer) -> None:
    async with rig.worker(lease_ttl=LONG_LEASE) as worker, probes_of(worker) as probes:
        idle = await probes.scrape()
        assert (
            idle.get("babygun_jobs_in_flight", site="main"),
            idle.get("babygun_smtp_connections", site="main", state="busy"),
        ) == (0, 0)
        email_id = await rig.send("hang@example.org")
        async with asyncio.timeout(PATIENCE):
            await smtp.hung.wait()
        busy = await probes.scrape()
        assert (
            busy.get("babygun_jobs_in_flight", site="main"),
            busy.get("babygun_jobs_ready", site="main"),
        ) == (1, 0)
        assert (
            busy.get("babygun_smtp_connections", site="main", state="busy"),
            busy.get("babygun_smtp_waiting", site="main"),
        ) == (1, 0)
        assert busy.get("babygun_slice_shards") == 256
        assert 0 < (busy.get("babygun_lease_margin_seconds") or 0) <= LONG_LEASE
        smtp.release()
        await rig.ended(email_id)
        await probes.until(
            lambda seen: (
                seen.get("babygun_jobs_in_flight", site="main") == 0
                and seen.get("babygun_smtp_connections", site="main", state="idle") == 1
            )
        )


async def test_jobs_of_a_dead_worker_are_counted_as_reclaimed(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    async with rig.worker_process(lease_ttl=LONG_LEASE) as dead:
        email_id = await rig.send("hang@example.org")
        async with asyncio.timeout(PATIENCE):
            await smtp.hung.wait()
        async with rig.worker() as worker, probes_of(worker) as probes:
            before = await probes.scrape()
            await rig.shares(worker.membership.worker_id)  # else it would not see the other one go
            dead.kill()
            await rig.bury(dead)
            smtp.release()
            await rig.ended(email_id)
            assert (await probes.scrape()).since(before, "babygun_jobs_reclaimed_total") == 1


async def test_metrics_token_closes_the_metrics_and_not_the_health(rig: Rig) -> None:
    async with rig.worker(metrics_token="s3cret") as worker, probes_of(worker) as probes:
        for sent in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret"}):
            status, headers, text = await probes.call("/metrics", **sent)
            assert (
                status == 401
                and headers["WWW-Authenticate"].startswith("Bearer")
                and "babygun_" not in text
            )
        assert (await probes.call("/metrics", Authorization="Bearer s3cret"))[0] == 200
        assert (await probes.call("/healthz"))[0] == 200
        await probes.until_ready(200)


async def test_head_openmetrics_and_unknown_paths_are_answered(rig: Rig) -> None:
    async with rig.worker() as worker, probes_of(worker) as probes:
        await probes.until_ready(200)
        for path in ("/healthz", "/readyz", "/metrics"):
            status, headers, text = await probes.call(path, "HEAD")
            assert (status, text, headers["Server"]) == (200, "", "babygun")
        assert (await probes.call("/metrics", Accept="application/openmetrics-text;version=1.0.0"))[
            2
        ].endswith("# EOF\n")
        assert (await probes.call("/"))[0] == 404 and (await probes.call("/metrics", "POST"))[
            0
        ] == 405
        assert json.loads((await probes.call("/healthz"))[2])["status"] == "ok"


async def test_worker_is_not_ready_while_etcd_is_away_and_again_when_it_is_back(rig: Rig) -> None:
    with EtcdServer(fsync=False) as etcd:
        settings = changed(
            rig.settings,
            etcd_endpoints=(etcd.endpoint,),
            etcd_timeout=0.5,
            lease_ttl=SHORT_LEASE,
        )
        async with rig_for(settings) as own, own.worker() as worker, probes_of(worker) as probes:
            await probes.until_ready(200)
            before = lease_errors(await probes.scrape())
            etcd.kill()
            document = await probes.until_ready(503)
            assert any("etcd" in reason for reason in document["reasons"])
            await probes.until(lambda seen: seen.get("babygun_lease_margin_seconds") == 0)
            assert any("lease" in reason for reason in (await probes.ready())[1]["reasons"])
            assert (await probes.call("/healthz"))[0] == 200
            await probes.until(lambda seen: lease_errors(seen) > before)
            etcd.start()
            await probes.until_ready(200)
            await probes.until(lambda seen: (seen.get("babygun_lease_margin_seconds") or 0) > 0)


def lease_errors(seen: Scraped) -> float:
    """Requests about a lease that failed. A renewal fails once its lease has ended."""
    name = "babygun_etcd_rpc_errors_total"
    return sum(
        seen.get(name, **labels) or 0.0
        for labels in seen.labels(name)
        if labels["rpc"] in ("keep_alive", "grant")
    )


async def test_worker_that_drains_says_so_and_answers_to_its_end(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    [port] = free_ports(1)
    async with rig.worker_process(worker_port=port) as worker, probes_at(port) as probes:
        await probes.until_ready(200)
        email_id = await rig.send("hang@example.org")
        async with asyncio.timeout(PATIENCE):
            await smtp.hung.wait()
        worker.process.terminate()
        document = await probes.until_ready(503)
        assert any("stopping" in reason for reason in document["reasons"])
        assert (await probes.call("/healthz"))[0] == 200
        assert (await probes.scrape()).get("babygun_jobs_in_flight", site="main") == 1
        smtp.release()
        async with asyncio.timeout(PATIENCE):
            assert await worker.process.wait() == 0
        [email] = await rig.ended(email_id)
        assert email.status == "complete"


async def test_busy_port_ends_the_worker_with_a_sentence(rig: Rig) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with babygun(changed(rig.settings, worker_port=port), "worker") as process:
            assert await process.ended() == 2
    assert (
        f"something listens on 127.0.0.1:{port} already; stop it,"
        " or set worker_port to another port (0: no server at all)" in process.log
    )


async def test_body_sent_to_a_probe_is_not_inflated(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rig.worker() as worker, probes_of(worker) as probes:
        begun = inflated(monkeypatch)
        port = int(probes.url.rpartition(":")[2])
        for path in ("/healthz", "/nothing"):
            bomb = compressed_request(many_members(100), path=path, method="GET")
            assert await status_of(port, bomb) in (200, 404)
        assert not begun
