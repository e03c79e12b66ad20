"""Names that a request may not have, and the one that may be meant."""

from __future__ import annotations

from babygun.api.http.unknown_names import no_such

FIELDS = ("sender", "to", "subject", "body", "send_at")


def test_name_of_another_api_or_with_a_typing_error_names_ours() -> None:
    meant = {"from": "sender", "text": "body", "sendAt": "send_at", "Subjct": "subject"}
    for name, ours in meant.items():
        assert no_such("field", name, FIELDS) == (
            f"There is no field `{name}`; did you mean `{ours}`?"
        )


def test_name_that_is_near_to_none_lists_the_few_that_there_are() -> None:
    assert no_such("parameter", "xyz", ("limit", "cursor")) == (
        "There is no parameter `xyz`; there are `limit`, `cursor`."
    )
    assert no_such("field", "xyz", [f"field_{n}" for n in range(20)]) == (
        "There is no field `xyz`."
    )
    assert len(no_such("field", "x" * 9999, FIELDS)) < 250
