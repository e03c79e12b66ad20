"""How a webhook's endpoint answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from babygun.store.webhooks.records import WebhookHealth
from babygun.webhooks.health import Health

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def test_endpoint_only_fails_once_as_many_tries_in_a_row_have_failed() -> None:
    health = Health(WebhookHealth(), 3)
    for count in range(3):
        assert not health.only_fails and health.failures == 0
        health.failure(NOW + timedelta(seconds=count), "no answer")
    assert health.only_fails and health.failing_since == NOW
    health.failure(NOW, "no answer")
    assert health.failures == 1
    health.success(NOW)
    assert not health.only_fails and health.failing_since is None


def test_endpoint_that_failed_before_this_worker_had_it_gets_one_try_first() -> None:
    assert Health(WebhookHealth(failing_since=NOW), 8).only_fails


def test_health_is_written_at_each_change_and_otherwise_now_and_then() -> None:
    health = Health(WebhookHealth(sent=5), 3)
    assert health.to_write(100.0) is None
    health.success(NOW)
    first = health.to_write(100.0)
    assert first is not None and (first.last_success_at, first.sent) == (NOW, 6)
    health.success(NOW)
    assert health.to_write(101.0) is None and not health.is_due(101.0)
    assert health.is_due(101.0, at_last=True)
    health.failure(NOW, "no answer")
    failing = health.to_write(101.0)
    assert failing is not None
    assert (failing.failing_since, failing.last_error, failing.failed) == (NOW, "no answer", 1)
    health.failure(NOW, "no answer")
    assert health.to_write(102.0) is None
    assert health.to_write(107.0) is not None
    assert health.to_write(120.0) is None, "nothing has changed"
