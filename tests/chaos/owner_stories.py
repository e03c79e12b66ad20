"""Stories of owners: claims, workers that stall or die, and jobs that are taken over."""

from __future__ import annotations

from babygun.email import lifecycle
from scripts.chaos.history import ProcessEnded
from tests.chaos.book import DEFER, DELIVER, HOLD, A, Book, Happens


def sent_by_the_first(book: Book) -> str:
    found = book.posted("m1", A)
    book.claim(found)
    book.receive(found, "m1", A)
    return found


def take_over(book: Book, found: str) -> None:
    """The other worker sends a second copy."""
    book.claim(found, worker="w2")
    record = book.records[found]
    transition = lifecycle.reclaim(
        record, "one", worker_id="w2", previous_worker_id="w1", now=book.now
    )
    book.change(transition)
    book.receive(found, "m1", A)
    book.finish(found, DELIVER, worker="w2")


def _stalled(book: Book) -> str:
    """The first worker's lease runs out after the message was sent."""
    found = sent_by_the_first(book)
    book.later(3)
    book.lose(found)
    return found


def stalled_result_counts(book: Book) -> None:
    """The lease ran out after the message was sent, and nobody has touched the queue since."""
    found = _stalled(book)
    book.later(1)
    book.finish(found, DELIVER)


def stalled_result_counts_after_another_stall(book: Book) -> None:
    """Another worker has claimed the job meanwhile, and lost it as well."""
    found = _stalled(book)
    book.claim(found, worker="w2")
    book.later(3)
    book.lose(found)
    book.finish(found, DELIVER)


def stalled_result_counts_after_a_hold(book: Book) -> None:
    """Another worker's session was refused meanwhile: it has sent nothing."""
    found = _stalled(book)
    book.claim(found, worker="w2")
    book.finish(found, HOLD, worker="w2")
    book.finish(found, DELIVER)


def taken_over_from_a_killed_worker(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    book.receive(found, "m1", A)
    book.add(ProcessEnded(book.at, "worker", 1, 101, "SIGKILL"))
    book.later(4)
    book.lose(found)
    take_over(book, found)


# --- broken ---


def result_under_anothers_claim(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found, worker="w1")
    book.lose(found)
    book.claim(found, worker="w2")
    book.receive(found, "m1", A)
    book.finish(found, DELIVER, worker="w1")


def release_before_finish(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    book.receive(found, "m1", A)
    book.release(found)
    book.finish(found, DELIVER)


def claim_over_a_claim(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found, worker="w1")
    book.claim(found, worker="w2")


def stalled_result_overwrites_a_later_try(book: Book) -> None:
    """Another worker has tried it meanwhile, and it is due again."""
    found = _stalled(book)
    book.claim(found, worker="w2")
    book.finish(found, DEFER, worker="w2")
    book.due(found)
    book.finish(found, DELIVER)


def sent_without_a_claim(book: Book) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    book.lose(found)
    book.later(5)
    book.receive(found, "m1", A)


def taken_over_late(book: Book, *, after: float = 5.0) -> None:
    found = book.posted("m1", A)
    book.claim(found)
    book.add(ProcessEnded(book.at, "worker", 1, 101, "SIGKILL"))
    book.later(4)
    book.lose(found)
    book.later(after)
    book.claim(found, worker="w2")


def taken_over_late_behind_others(book: Book) -> None:
    """Too late for the five others of its queue that wait. Thirty more have ended before."""
    for number in range(30):
        other = book.posted(f"n{number}", A)
        book.claim(other)
        book.receive(other, f"n{number}", A)
        book.finish(other, DELIVER)
    for number in range(5):
        book.posted(f"w{number}", A)
    taken_over_late(book, after=2.2)


CLEAN: list[Happens] = [
    stalled_result_counts,
    stalled_result_counts_after_another_stall,
    stalled_result_counts_after_a_hold,
    taken_over_from_a_killed_worker,
]
BROKEN: list[tuple[str, Happens]] = [
    ("only-owner-writes", result_under_anothers_claim),
    ("only-owner-writes", release_before_finish),
    ("only-owner-writes", claim_over_a_claim),
    ("sent-by-an-owner", sent_without_a_claim),
    ("only-owner-writes", stalled_result_overwrites_a_later_try),
    ("recovers-in-time", taken_over_late),
    ("recovers-in-time", taken_over_late_behind_others),
]
