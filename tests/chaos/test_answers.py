"""When a client of the load may repeat a call: as docs/api.md says."""

from __future__ import annotations

import pytest

from scripts.chaos.answers import Answer, may_repeat


@pytest.mark.parametrize(
    ("answer", "with_key", "without_key"),
    [
        pytest.param(Answer(0), True, False, id="no answer"),
        pytest.param(Answer(0, sent=False), True, True, id="not sent"),
        pytest.param(Answer(503, problem="not-stored"), True, True, id="not stored"),
        pytest.param(Answer(503, problem="outcome-unknown"), True, False, id="unknown"),
        pytest.param(Answer(503, problem="repeat-with-key"), True, True, id="repeat with key"),
        pytest.param(Answer(503, problem="out-of-memory"), True, False, id="no memory"),
        pytest.param(Answer(207), True, False, id="a part of a batch"),
        pytest.param(Answer(401), True, True, id="token ended"),
        pytest.param(Answer(429), True, True, id="too many"),
        pytest.param(Answer(429, problem="daily-limit"), False, False, id="no more today"),
        pytest.param(Answer(400), False, False, id="refused"),
        pytest.param(Answer(409), False, False, id="another body"),
    ],
)
def test_call_is_repeated_only_if_nothing_can_be_stored_twice(
    answer: Answer, with_key: bool, without_key: bool
) -> None:
    assert may_repeat(answer, with_key=True) is with_key
    assert may_repeat(answer, with_key=False) is without_key
