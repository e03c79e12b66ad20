"""The pause after a claim that etcd did not answer."""

from __future__ import annotations

from babygun.consumer.pause import LEAST, MOST, GrowingPause


def test_pause_doubles_with_each_unanswered_claim_up_to_the_most() -> None:
    pause, now, lengths = GrowingPause(), 100.0, []
    assert pause.left(now) == 0.0
    for _ in range(8):
        lengths.append(pause.unanswered(now))
        assert pause.left(now) > 0.0
        now += lengths[-1]
    assert lengths[:3] == [LEAST, 2 * LEAST, 4 * LEAST] and lengths[-1] == MOST


def test_unanswered_claims_at_the_same_time_are_one_pause() -> None:
    pause = GrowingPause()
    assert pause.unanswered(0.0) == LEAST
    assert pause.unanswered(LEAST / 2) == 0.0
    assert pause.unanswered(LEAST) == 2 * LEAST


def test_pause_after_an_answered_claim_begins_with_the_least() -> None:
    pause = GrowingPause()
    pause.unanswered(0.0)
    pause.answered()
    assert pause.unanswered(10.0) == LEAST
