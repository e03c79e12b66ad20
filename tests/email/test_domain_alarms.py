"""What a refusal says of a domain's authentication, and the remedy."""

from __future__ import annotations

import pytest

from babygun.email.domain_alarms import CAUSES, Cause, cause_of, remedy, sentence_of


@pytest.mark.parametrize(
    ("enhanced", "text", "cause"),
    [
        ("4.7.27", "rate limited because SPF authentication didn't pass for this message", "spf"),
        ("5.7.27", "Sender address has a null MX", "null_mx"),
        ("4.7.30", "rate limited because DKIM authentication didn't pass", "dkim"),
        ("5.7.26", "All senders must authenticate with either SPF or DKIM", "unauthenticated"),
        ("5.7.9", "Requires all senders to authenticate with SPF or DKIM", "unauthenticated"),
        ("4.7.32", "the From: header isn't aligned with SPF or DKIM", "alignment"),
        ("4.7.40", "your email does not have a DMARC record", "dmarc"),
        ("4.7.31", "rate limited, no policy record", "dmarc"),
        ("5.7.1", "the sending domain has no DMARC record", "dmarc"),
        (
            "5.7.1",
            "Unauthenticated email is not accepted due to domain's DMARC policy",
            "alignment",
        ),
        ("5.7.509", "does not pass DMARC verification", "alignment"),
        ("5.7.515", "doesn't meet the required authentication level", "unauthenticated"),
        ("5.7.23", "The message was rejected because of Sender Policy Framework violation", "spf"),
        ("4.7.24", "The SPF record has suspicious entries", "spf"),
        ("5.7.20", "No passing DKIM signature found", "dkim"),
        (None, "SPF check failed", "spf"),
        (None, "blocked", "unauthenticated"),
    ],
)
def test_refusal_names_what_it_misses(enhanced: str | None, text: str, cause: Cause) -> None:
    assert cause_of(enhanced, text) == cause


@pytest.mark.parametrize("cause", CAUSES)
def test_each_cause_names_the_record_to_repair_and_the_command(cause: Cause) -> None:
    said = sentence_of(cause, "example.com")
    assert "Repair the" in said and "record" in said and "example.com" in said
    assert remedy(cause, "example.com") == (
        f"{said}. `babygun doctor domain example.com` says what is wrong."
    )
