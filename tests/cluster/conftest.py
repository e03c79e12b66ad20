"""One cluster for all tests, which break it and see it recover, in the order of their files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster, engine_problem, until
from tests.support.needs import missing

_TIMEOUT = 300  # seconds for one test


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
        cluster.compose("build", timeout=900)
        cluster.up()
        cluster.sign_in()
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
    until(
        lambda: running_cluster.well() or running_cluster.up(),
        "all of the cluster is healthy",
        within=150,
        every=1,
        errors=(AssertionError,),
    )
    running_cluster.sign_in()
    return running_cluster
