"""The parts of the benchmark of many domains: its zones, its black holes, its watching server."""

from __future__ import annotations

import smtplib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from babygun.dns import Resolver
from scripts.bench.destinations import markdown
from scripts.bench.dns import address_of, start_knot
from scripts.bench.limited_site import LimitedSite, Seen
from scripts.bench.loadgen import Mail, Sink, arrival_times
from scripts.bench.machine import describe
from scripts.bench.processes import Stage, Unavailable
from tests.bench.test_bench import needs_compiler
from tests.support.needs import missing
from tests.support.processes import PATIENCE


@pytest.fixture
def site() -> Iterator[LimitedSite]:
    site = LimitedSite("127.0.0.1")
    site.start(0)
    yield site
    site.stop()


def test_limited_site_counts_messages_and_connections_but_not_those_to_ignore(
    site: LimitedSite,
) -> None:
    site.ignored.add("paused")
    with (
        smtplib.SMTP("127.0.0.1", site.port, "a", timeout=PATIENCE) as first,
        smtplib.SMTP("127.0.0.1", site.port, "paused", timeout=PATIENCE) as paused,
    ):
        paused.ehlo()
        for connection in (first, paused, first):
            connection.sendmail("a@example.com", ["b1@example.net"], "Subject: x\n\n.\nx\n")
    assert [name for _, name in site.seen.messages] == ["a", "paused", "a"]
    assert site.seen.recipients == {"b1@example.net"}
    assert site.seen.most_open == 2  # before its EHLO, the other could have been anybody


def test_most_messages_within_a_time_are_those_of_any_window() -> None:
    seen = Seen(messages=[(at, "") for at in (0.0, 4.0, 9.9, 10.0, 10.1, 13.9, 30.0)])
    assert seen.most_within(10.0) == 5
    assert seen.most_within(1.0) == 3


@needs_compiler
def test_sink_on_all_addresses_answers_all_but_the_black_holes(tmp_path: Path) -> None:
    times = tmp_path / "arrived"
    with Stage() as stage:
        sink = Sink(stage, address="0.0.0.0")
        sink.expect(Mail(0, 2), times)
        with smtplib.SMTP(address_of(70_000), sink.port, timeout=PATIENCE) as connection:
            connection.sendmail("a@example.com", ["b1@d1.example"], "Subject: x\n\nx\n")
        with socket.create_connection((address_of(99, holes=True), sink.port)) as hole:
            hole.settimeout(0.2)
            with pytest.raises(TimeoutError):
                hole.recv(1)
        assert sink.count().distinct == 1
    assert [at > 0 for at in arrival_times(times)] == [False, True]


async def test_knot_has_a_mail_host_with_an_address_for_each_domain() -> None:
    with Stage() as stage:
        try:
            server = start_knot(stage, {"tail.example": (300, False), "holes.example": (300, True)})
        except Unavailable as reason:
            missing(str(reason))
        resolver = Resolver([server])
        hosts = await resolver.lookup("d299.holes.example", "MX")
        assert [record.value for record in hosts.records] == ["mx299.holes.example"]
        for zone, address in (("tail", "127.16.1.44"), ("holes", "127.9.1.44")):
            found = await resolver.lookup(f"mx299.{zone}.example", "A")
            assert [record.value for record in found.records] == [address]


def test_table_shows_which_targets_are_reached(tmp_path: Path) -> None:
    rows = [
        {"what": "this", "found": "5 /s", "target": "4 /s", "ok": True},
        {"what": "that", "found": "3 /s", "target": "4 /s", "ok": False},
    ]
    result = {"parts": {"ten": {"rows": rows}}, "at": "2026-01-01", "command": "", "commit": ""}
    text = markdown(result | {"machine": describe(tmp_path), "versions": {"etcd": "3.6"}})
    assert " yes |" in text and " **no** |" in text
