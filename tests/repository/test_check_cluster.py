"""scripts/check-cluster: it sends e-mails only where they all end in Mailpit."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime
from importlib.machinery import SourceFileLoader
from types import ModuleType

import pytest

from babygun.routing.routes import load_routes
from babygun.runtime.settings import load
from babygun.store.records import Worker
from tests.support.paths import ROOT

NOW = datetime(2030, 1, 31, tzinfo=UTC)
MAILPIT = "smtp://mailpit:1025"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    loader = SourceFileLoader("check_cluster", str(ROOT / "scripts/check-cluster"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def worker(**settings: str) -> Worker:
    """What a worker with these settings writes to etcd."""
    variables = {f"BABYGUN_{name.upper()}": value for name, value in settings.items()}
    return Worker(
        id="mail-1",
        hostname="mail",
        version="1",
        pid=1,
        started_at=NOW,
        last_checkin=NOW,
        ip="192.0.2.1",
        checkins=1,
        in_flight=0,
        slice=(0, 256),
        draining=False,
        queues=load_routes(load(variables)).fingerprints(),
        delivered=0,
        deferred=0,
        failed=0,
    )


TO_MAILPIT = {"relay_url": MAILPIT}
TO_A_RELAY = {"relay_url": "smtp://user:password@relay.example.net:587"}


@pytest.mark.parametrize(
    ("workers", "sends"),
    [
        ([TO_MAILPIT, TO_MAILPIT], True),
        ([{"routes": '{"main": {"url": "smtp://mailpit:1025"}}'}], True),
        ([], False),
        ([TO_A_RELAY], False),
        ([TO_MAILPIT, TO_A_RELAY], False),
        ([{"default": "mx"}], False),
        ([{"routes": '{"x": {"mx": true, "domains": ["x.example"]}}', **TO_MAILPIT}], False),
        ([{}], False),
    ],
    ids=["Mailpit", "by another name", "no worker", "a relay", "both", "mx", "partly", "nothing"],
)
def test_emails_are_sent_only_if_all_workers_deliver_to_mailpit(
    script: ModuleType, workers: list[dict[str, str]], sends: bool
) -> None:
    assert script.SMTP_PORT == 1025
    assert script.all_deliver_to(MAILPIT, [worker(**each) for each in workers]) == sends
