"""What the tests of this room share."""

from __future__ import annotations

import pytest

from babygun.etcd import EtcdClient, plain_http
from babygun.store.upkeep import fullness as fullness_module
from babygun.store.upkeep.fullness import Fullness
from tests.store.upkeep.sizes import QUOTA
from tests.support.processes import PATIENCE


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for a moment is no etcd that says neither size nor time."""
    monkeypatch.setattr(fullness_module, "_PATIENCE", PATIENCE)
    monkeypatch.setattr(plain_http, "PATIENCE", PATIENCE)


@pytest.fixture
def fullness(etcd: EtcdClient) -> Fullness:
    return Fullness(etcd, QUOTA)
