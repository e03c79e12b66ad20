"""What the tests of this room share."""

from __future__ import annotations

import pytest

from babygun.etcd import EtcdClient
from babygun.store.upkeep.fullness import Fullness
from tests.store.upkeep.sizes import QUOTA


@pytest.fixture
def fullness(etcd: EtcdClient) -> Fullness:
    return Fullness(etcd, QUOTA)
