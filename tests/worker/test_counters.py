"""What a worker counts of recipients, and under which label."""

from __future__ import annotations

from babygun.email.model import Email, QueueState, Recipient
from babygun.runtime import metrics
from babygun.runtime.clock import utc_now
from babygun.runtime.exposition import render
from babygun.worker.counters import RecipientCounts


def email_to(address: str, queue: str) -> Email:
    now = utc_now()
    return Email(
        id="0" * 32,
        client_id="app",
        sender="app@example.org",
        subject="",
        recipients=(Recipient(address, "to", queue, "delivered", reply_class="test_label"),),
        queues={queue: QueueState(1, final=True)},
        created_at=now,
        updated_at=now,
    )


def test_counts_of_a_domain_have_the_label_of_its_site() -> None:
    counts = RecipientCounts({"mx:a.example": "mx:google"}.__getitem__)
    email = email_to("ann@a.example", "mx:a.example")
    counts.add("mx:a.example", {"ann@a.example"}, email)
    counts.add("mx:a.example", {"bob@a.example"}, email)
    assert (counts.delivered, counts.deferred, counts.failed) == (1, 0, 0)
    assert metrics.RECIPIENTS["mx:google", "delivered", "test_label"]
    shown = render("worker", "")[0].decode()
    labels = '{class="test_label",outcome="delivered",site="mx:google"}'
    assert f"babygun_recipients_total{labels} 1.0" in shown
    assert "a.example" not in shown
