"""Fixtures for all tests. One etcd serves the whole run; each test has its own prefix in it."""

from __future__ import annotations

import gc
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from babygun.etcd import EtcdClient
from babygun.etcd.versions import lacking
from babygun.runtime.settings import Settings
from babygun.store.cluster import findings
from tests.support.etcd_server import Etcd, NoEtcd, etcd_version, shared_etcd
from tests.support.machines import be_steady
from tests.support.needs import missing
from tests.support.rig import Rig, quick, rig_for
from tests.support.smtp_server import MisbehavingServer

# The tests start hundreds of processes. Each would take 0.1 s of CPU to compile Babygun, and 0.1 s
# to read the system's authorities, which no test trusts.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ |= {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}

# Python's default, a collection after 700 new objects, takes 8 to 18 % of the tests' CPU.
gc.set_threshold(10_000, 10, 10)

be_steady()
HERE = Path(__file__).parent
# No test lets the shared etcd crash, so it need not wait for the disk. Alone, it needs no haste in
# elections.
SHARED = ("--unsafe-no-fsync", "--heartbeat-interval=100", "--election-timeout=600")
# Files that take long start first: else one of them would run alone at the end.
LONG = (
    # Of `make test`.
    "api/http/test_problems.py",
    *("api/suppressions/", "store/upkeep/"),
    *("api/openapi/test_fuzz.py", "chaos/"),
    *("store/emails/", "worker/sites/test_holds.py"),
    # Of `make test-system`.
    *("dev/test_command.py", "dev/test_cluster.py", "e2e/test_growth.py", "browser/"),
    *("faults/", "worker/test_faults.py", "attack/", "bench/", "e2e/", "hosts/"),
    *("cli/test_start.py", "cli/test_emails.py", "cli/"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorts the files. Under xdist, this needs ``--no-loadscope-reorder``."""
    items.sort(key=lambda item: _rank(item.path.relative_to(HERE).as_posix()))


def pytest_collection_finish() -> None:
    """What was imported so far is never collected, as in the product's own processes."""
    gc.collect()
    gc.freeze()


def _rank(name: str) -> int:
    return next((rank for rank, long in enumerate(LONG) if name.startswith(long)), len(LONG))


@pytest.fixture(scope="session")
def etcd_server() -> Iterator[Etcd]:
    """The etcd that all tests share. To kill, pause or fill one, make an EtcdServer of your own."""
    try:
        server = shared_etcd(SHARED).start()
    except NoEtcd as reason:
        missing(str(reason))
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def no_warning_of_the_tests_own_etcd(monkeypatch: pytest.MonkeyPatch) -> None:
    """``make test ETCD=…``: tests that count warnings don't count those of that version."""
    version, of_version = etcd_version(), findings.of_version
    if version and lacking(version):
        monkeypatch.setattr(
            findings, "of_version", lambda v, s: [] if v == version else of_version(v, s)
        )


@pytest.fixture
def one_day() -> None:
    """The day (UTC) does not end within the test: shortly before midnight, it waits for the next.

    For tests that count days. They say ``one_day`` before they ask for the time.
    """
    left = 86_400 - time.time() % 86_400
    if left < 60:
        time.sleep(left + 1)  # the clock may be set back a little meanwhile


@pytest.fixture
def etcd_prefix() -> str:
    """A prefix that no other test uses: ``/t1f2e…/``."""
    return f"/t{secrets.token_hex(6)}/"


@pytest.fixture
def settings(etcd_server: Etcd, etcd_prefix: str) -> Settings:
    """Settings for the shared etcd and this test's prefix.

    Clients send from any domain, and nothing warms up. A machine that stands still for a moment is
    no etcd that does not answer.
    """
    return Settings(
        etcd_endpoints=(etcd_server.endpoint,),
        etcd_timeout=20.0,
        prefix=etcd_prefix,
        require_domains=False,
        warm_up="off",
    )


@pytest.fixture
async def etcd(settings: Settings) -> AsyncIterator[EtcdClient]:
    """A client of the shared etcd."""
    async with EtcdClient.from_settings(settings) as client:
        yield client


@pytest.fixture
async def smtp() -> AsyncIterator[MisbehavingServer]:
    """A mail server that does what the local parts of the recipients say."""
    async with MisbehavingServer() as server:
        yield server
        server.release()


@pytest.fixture
async def rig(settings: Settings, smtp: MisbehavingServer) -> AsyncIterator[Rig]:
    """A store whose only relay is ``smtp``, with short times."""
    relays = {"main": {"url": smtp.url, "max_connections": 50}}
    async with rig_for(quick(settings, relays)) as rig:
        yield rig


@pytest.fixture
async def other_smtp() -> AsyncIterator[MisbehavingServer]:
    """A second mail server."""
    async with MisbehavingServer() as server:
        yield server
        server.release()


@pytest.fixture
async def two_queues(
    settings: Settings, smtp: MisbehavingServer, other_smtp: MisbehavingServer
) -> AsyncIterator[Rig]:
    """Two queues: ``a`` for recipients at a.example by ``smtp``, ``b`` for all others."""
    relays = {"a": {"url": smtp.url, "domains": ["a.example"]}, "b": {"url": other_smtp.url}}
    async with rig_for(quick(settings, relays)) as rig:
        yield rig
