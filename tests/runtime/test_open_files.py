"""The limit of open files."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from babygun.runtime.open_files import allow_open_files


@pytest.fixture
def limit() -> Iterator[int]:
    """A soft limit below the hard one."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = 256
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    yield soft
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_limit_of_open_files_is_raised_and_never_lowered(limit: int) -> None:
    assert allow_open_files(limit + 10) == limit + 10
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == limit + 10
    assert allow_open_files(10) == limit + 10


def test_limit_of_open_files_stays_below_the_hard_one(limit: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY:
        pytest.skip("there is no hard limit here")
    assert allow_open_files(hard + 1) == hard
