"""One cluster for all tests, which break it and see it recover, in the order of their files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.containers import engine_problem
from tests.cluster.operator import PAGE, Operator
from tests.support.needs import missing

_TIMEOUT = 1200  # seconds for one test, against those that hang


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(_TIMEOUT))


@pytest.fixture(scope="session")
def running_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    problem = engine_problem()
    if problem:
        missing(f"no Docker engine with Compose here ({problem})")
    cluster = Cluster(tmp_path_factory.mktemp("credentials"))
    try:
        operator = Operator(cluster, tmp_path_factory.mktemp("operator"))
        cluster.said = operator.sh(PAGE["By Compose"][0])
        yield cluster
    except BaseException:
        print(
            cluster.compose("ps", "--all", check=False),
            cluster.compose("logs", "--no-color", "--tail", "40", check=False),
            file=sys.stderr,
        )
        raise
    finally:
        cluster.down()


@pytest.fixture
def cluster(running_cluster: Cluster) -> Cluster:
    """The cluster, with all of it healthy."""
    running_cluster.until_well()
    running_cluster.sign_in()
    return running_cluster
