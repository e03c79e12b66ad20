"""Token buckets: how they fill, what waits, what is forgotten."""

from __future__ import annotations

from babygun.runtime.token_buckets import TokenBuckets


def test_full_bucket_gives_its_burst_and_then_a_token_at_a_time() -> None:
    buckets = TokenBuckets(seconds=10, most=10)
    for _ in range(20):
        assert buckets.wait("a", 2.0, 0.0) == 0
        buckets.take("a", 2.0, 0.0)
    assert buckets.wait("a", 2.0, 0.0) == 1 and buckets.wait("b", 2.0, 0.0) == 0
    assert buckets.wait("a", 2.0, 0.5) == 0


def test_more_than_a_bucket_holds_waits_until_it_is_full() -> None:
    buckets = TokenBuckets(seconds=1, most=10)
    assert buckets.wait("a", 5.0, 0.0, count=1000) == 0
    buckets.take("a", 5.0, 0.0, count=15)
    assert buckets.wait("a", 5.0, 0.0) == 3 and buckets.wait("a", 5.0, 0.0, count=1000) == 3


def test_bucket_that_was_used_longest_ago_is_forgotten() -> None:
    buckets = TokenBuckets(seconds=1, most=2)
    for key in ("a", "b", "a", "c"):
        buckets.take(key, 1.0, 0.0)
    assert [buckets.wait(key, 1.0, 0.0) for key in "abc"] == [2, 0, 1]
