"""The history: what is written is read back, whole and e-mail by e-mail."""

from __future__ import annotations

from pathlib import Path

from babygun.email.ids import email_id
from scripts.chaos.history import (
    KEYS,
    Answered,
    Asked,
    History,
    Injected,
    Mail,
    Received,
    Recorder,
    Revision,
    mark_of,
    subject,
)

ID = email_id(1, "0" * 16)
RECORD = (
    b'{"id":"%b","client_id":"c","sender":"a@example.com","subject":"Hi [chaos m1]","recipients":'
    b'[],"queues":{},"created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z"}'
) % ID.encode()


def _written(folder: Path, *events: object) -> History:
    recorder = Recorder(folder / "history")
    for event in events:
        recorder.add(event)  # type: ignore[arg-type]
    recorder.close()
    return History(folder / "history")


def test_history_events_written_are_read_back_in_order(tmp_path: Path) -> None:
    first, second = Injected(1.0, 1, "kill", {"role": "worker"}), Injected(2.0, 2, "pause")
    asked = Asked(1.5, 1, "shop", 0, "send", "key", (Mail("m1", ("b@example.com",), "d"),))
    history = _written(tmp_path, first, asked, second)
    assert list(history.events(Injected)) == [first, second]
    assert list(history.events(Asked, Injected)) == [first, asked, second]
    assert history.end == 2.0


def test_history_unanswered_request_is_found_by_the_mark_of_the_stored_subject(
    tmp_path: Path,
) -> None:
    asked = Asked(1.0, 1, "shop", 0, "send", None, (Mail("m1", ("b@example.com",), "d"),))
    nothing = Answered(2.0, 1, 0, problem="timed out")
    stored = Revision(1.5, 7, KEYS.email(ID), RECORD, 0, 7, 1, False)
    history = _written(tmp_path, asked, stored, nothing)
    assert history.of_email(ID) == [asked, stored, nothing]


def test_history_answer_and_message_belong_to_the_e_mail_that_they_name(tmp_path: Path) -> None:
    asked = Asked(1.0, 1, "shop", 0, "send", None, (Mail("m1", ("b@example.com",), "d"),))
    answered = Answered(2.0, 1, 202, (ID,))
    received = Received(3.0, "a", "m1", f"<{ID}@x>", ID, ("b@example.com",), "d", "250 OK", True)
    cancel = Asked(4.0, 2, "shop", 1, "cancel", email_id=ID)
    refused = Answered(5.0, 2, 409, problem="conflict")
    history = _written(tmp_path, asked, answered, received, cancel, refused)
    assert history.of_email(ID) == [asked, answered, received, cancel, refused]
    assert list(history.email_ids()) == [ID]


def test_subject_with_a_mark_gives_it_back() -> None:
    assert mark_of(subject("Hello", "m-12")) == "m-12"
    assert mark_of("Hello") == ""


def test_history_cut_within_an_event_has_the_events_before_it(tmp_path: Path) -> None:
    first, second = Injected(1.0, 1, "kill"), Injected(2.0, 2, "pause")
    _written(tmp_path, first, second)
    path = tmp_path / "history"
    path.write_bytes(path.read_bytes()[:-3])
    assert list(History(path).events(Injected)) == [first]


def test_history_of_an_empty_file_has_nothing(tmp_path: Path) -> None:
    history = _written(tmp_path)
    assert list(history.events(Asked)) == [] and history.end == 0.0
