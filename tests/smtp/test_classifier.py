"""The classification of SMTP replies, against a corpus: replies-corpus.toml beside this file."""

from __future__ import annotations

import random
import string
import tomllib
from typing import Any

import pytest
from msgspec.structs import replace

from babygun.errors import SettingsError
from babygun.routing.providers import load_providers
from babygun.smtp.classifier import HINT_MAX, Classifier
from babygun.smtp.replies import PHASES, SESSION_PHASES, Phase, Reply, parse_reply
from babygun.smtp.reply_rules import ROUTES
from tests.support.paths import ROOT

CORPUS: list[dict[str, Any]] = tomllib.loads(
    (ROOT / "tests" / "smtp" / "replies-corpus.toml").read_text()
)["reply"]
CLASSIFIER = Classifier.load()


def test_corpus_replies_are_classified_as_it_says():
    wrong = []
    for entry in CORPUS:
        phase, text = entry.get("phase", "rcpt"), entry["text"]
        found = CLASSIFIER.classify(parse_reply(text, phase), route=entry.get("route", "relay"))
        got = (found.rule, found.reply_class, found.action, found.alarm, found.suppress)
        got += (found.retry_after, found.fresh_connection, found.about)
        wanted = (entry["rule"], entry["class"], entry["action"], entry.get("alarm", False))
        wanted += (entry.get("suppress", False), entry.get("after"), entry.get("fresh", False))
        wanted += (entry.get("about"),)
        if got != wanted:
            wrong.append((phase, text, got))
    assert wrong == []


# Whom a reply is about that may slow or hold a site. None: it does not say.
OF_SITES = {"session", "connections", "site", "message", None}


def test_reply_that_slows_or_holds_a_provider_is_about_its_site():
    """Each row of providers.toml knows a reply of the corpus, which is not one mailbox's."""
    said = [(parse_reply(entry["text"]), entry.get("about")) for entry in CORPUS]
    found: dict[tuple[str, str], set[str | None]] = {}
    for provider in load_providers().by_name.values():
        for rule in provider.replies:
            for text in rule.texts:
                only = replace(rule, texts=(text,))
                found[provider.name, text] = {
                    about for reply, about in said if only.matches(f"{reply.code} {reply.text}")
                }
    assert {each for each, about in found.items() if not about & OF_SITES} == set()


@pytest.mark.parametrize("route", ROUTES)
def test_reply_about_a_mailbox_its_domain_or_a_sender_says_nothing_of_the_site(route):
    """What is said to one recipient's mail must not slow the mail of others."""
    for entry in CORPUS:
        for phase in ("rcpt", "data", "message"):
            found = CLASSIFIER.classify(parse_reply(entry["text"], phase), route=route)
            assert found.about not in ("session", "connections"), entry["text"]
            if found.reply_class.startswith("mailbox_") or found.suppress:
                assert found.about in ("mailbox", "domain"), entry["text"]


# Each word and code of the rules, in the shortest reply that has it: (phase, reply, rule).
WORDS: list[tuple[Phase, str, str]] = [
    ("connect", "null MX", "network"),
    ("rcpt", "550 NXDOMAIN", "bad_domain"),
    ("rcpt", "550 null mx", "bad_domain"),
    ("rcpt", "450 NXDOMAIN", "temporary"),
    ("rcpt", "556 no", "bad_domain"),
    ("rcpt", "451 4.5.3 no", "too_many_recipients"),
    ("rcpt", "452 4.5.3 no", "too_many_recipients"),
    ("rcpt", "552 5.5.3 no", "too_many_recipients"),
    ("rcpt", "451 too many recipients", "too_many_recipients"),
    ("rcpt", "452 too many  recipients", "too_many_recipients"),
    ("rcpt", "450 grey listed", "greylist"),
    ("rcpt", "450 gray listing", "greylist"),
    ("rcpt", "450 GREY-LISTED", "greylist"),
    ("rcpt", "450 gray-listed", "greylist"),
    ("rcpt", "450 temporarily deferred", "greylist"),
    ("rcpt", "450 temporarily rejected", "greylist"),
    ("rcpt", "450 try again in a while", "greylist"),
    ("rcpt", "450 too many connections, try again later", "rate_limit_4xx"),
    ("rcpt", "450 unusual rate, try again later", "rate_limit_4xx"),
    ("rcpt", "450 4.7.28 try again later", "rate_limit_4xx"),
    ("rcpt", "450 4.7.650 try again later", "rate_limit_4xx"),
    ("rcpt", "450 4.2.3 try again later", "too_large"),
    ("rcpt", "550 too frequently", "rate_limit_5xx"),
    ("rcpt", "550 RLY:B2", "rate_limit_5xx"),
    ("rcpt", "550 too many received headers", "rejected"),
    ("rcpt", "550 5.4.6 too many turns", "protocol"),
    ("rcpt", "450 4.7.0 no", "rate_limit_code"),
    ("rcpt", "450 4.7.28 no", "rate_limit_4xx"),
    ("rcpt", "450 [TSS04]", "rate_limit_4xx"),
    ("rcpt", "450 unusual rate", "rate_limit_4xx"),
    ("rcpt", "550 unusual rate", "rate_limit_5xx"),
    *(
        ("rcpt", f"550 {word}", "ip_block")
        for word in (
            "spamhaus",
            "RBL",
            "DNSBL",
            "dnsrbl",
            "blocklisted",
            "block list",
            "blacklisted",
            "blocked using",
            "S3140",
            "S3150",
        )
    ),
    ("rcpt", "450 spamhaus", "temporary"),
    ("rcpt", "550 uribl, a blocklist", "content"),
    ("rcpt", "550 spam content", "content"),
    ("rcpt", "450 virus", "temporary"),
    ("rcpt", "550 SPF", "authentication"),
    ("rcpt", "550 DKIM", "authentication"),
    ("rcpt", "550 5.7.20 no", "authentication"),
    ("rcpt", "550 5.7.29 no", "authentication"),
    ("rcpt", "550 5.7.2 no", "policy"),
    *(
        ("rcpt", f"550 {word}", "bad_mailbox")
        for word in (
            "user unknown",
            "unknown user",
            "no such user",
            "no such mailbox",
            "does not exist",
            "doesn't exist",
            "invalid recipient",
            "mailbox unavailable",
        )
    ),
    ("rcpt", "554 user unknown", "rejected"),
    ("rcpt", "550 5.1.2 user unknown", "domain_not_served"),
    ("rcpt", "550 5.1.3 user unknown", "bad_address"),
    ("rcpt", "550 5.1.7 user unknown", "configuration"),
    ("rcpt", "550 5.1.8 user unknown", "configuration"),
    ("rcpt", "550 5.2.2 mailbox unavailable", "mailbox_full"),
    ("mail", "550 Sending account suspended", "configuration_account"),
    ("rcpt", "450 4.1.6 moved", "inactive"),
    ("rcpt", "550 5.2.1 no", "inactive"),
    ("rcpt", "525 5.7.13 no", "account_disabled"),
    ("rcpt", "550 5.7.13 no", "policy"),
    ("rcpt", "525 no", "rejected"),
    ("rcpt", "550 disabled", "inactive"),
    ("rcpt", "550 inactive", "inactive"),
    ("rcpt", "450 disabled", "temporary"),
    ("rcpt", "550 5.7.1 disabled", "policy"),
    ("rcpt", "550 5.7.14 disabled", "policy"),
    ("rcpt", "451 4.2.2 no", "mailbox_full"),
    *(
        ("rcpt", f"550 {word}", "mailbox_full")
        for word in (
            "over quota",
            "overquota",
            "quota exceeded",
            "mailbox full",
            "mailbox is full",
            "mailbox size",
            "storage",
        )
    ),
    ("rcpt", "452 storage", "mailbox_full"),
    ("rcpt", "452 system storage", "temporary"),
    ("rcpt", "552 5.2.3 storage", "too_large"),
    ("rcpt", "552 too big", "too_large"),
    ("rcpt", "552 size", "too_large"),
    *(("auth", f"{code} no", "login") for code in (432, 500, 504, 525, 530, 534, 535, 538, 554)),
    ("auth", "454 no", "login_temporary"),
    ("auth", "421 no", "remote_busy"),
    ("auth", "the server does not offer AUTH", "login_not_offered"),
    ("tls", "the server does not offer STARTTLS", "tls_unusable"),
    ("tls", "TLS handshake failed: UNEXPECTED_EOF_WHILE_READING", "network"),
    ("tls", "501 no", "tls_refused"),
    ("tls", "454 4.7.0 no", "tls_temporary"),
    ("rcpt", "504 5.5.2 <x>: Helo command rejected: need fully-qualified hostname", "helo"),
    ("mail", "550 5.4.5 Daily user sending limit exceeded", "sending_quota"),
    ("mail", "550 5.1.3 no", "sender_address"),
    ("mail", "550 5.7.1 sender refused", "sender_policy"),
    ("mail", "553 5.6.7 no", "message_form"),
    ("mail", "503 no", "bad_sequence"),
    ("mail", "550 5.7.1 no", "mail_policy"),
    ("mail", "550 no", "mail_refused"),
    *(("mail", f"{code} no", "configuration_login") for code in (530, 534, 535, 538)),
    ("mail", "550 5.1.7 no", "configuration"),
    ("rcpt", "535 no", "configuration_login"),
    ("mail", "450 relaying denied", "configuration_relay"),
    *(
        ("mail", f"550 {word}", "configuration_relay")
        for word in (
            "relay denied",
            "relay access denied",
            "relay not permitted",
            "relaying not permitted",
        )
    ),
    *(
        ("rcpt", f"{code} {word}", "configuration_relay")
        for code in (450, 550)
        for word in (
            "relay denied",
            "relay access denied",
            "relaying denied",
            "relay not permitted",
            "relaying not permitted",
            "relaying not allowed",
            "unable to relay",
            "relay prohibited",
            "relaying prohibited",
        )
    ),
    *(("rcpt", f"{code} no", "protocol") for code in (500, 501, 502, 504)),
    *(("data", f"{code} no", "data_not_known") for code in (500, 502, 504)),
    *(("rcpt", f"451 {code} no", "remote_busy") for code in ("4.3.1", "4.3.2")),
    *(("rcpt", f"451 {code} no", "next_server") for code in ("4.4.1", "4.4.2", "4.4.3", "4.4.5")),
    ("rcpt", "451 4.7.1 no", "temporary"),
]


def test_each_word_and_code_of_a_rule_counts():
    wrong = [
        (phase, text, rule, found)
        for phase, text, rule in WORDS
        if (found := CLASSIFIER.classify(parse_reply(text, phase)).rule) != rule
    ]
    assert wrong == []


def test_corpus_reaches_every_rule():
    rules = {rule.row.name for rule in CLASSIFIER.rules}
    assert rules - {entry["rule"] for entry in CORPUS} - {rule for _, _, rule in WORDS} == set()


def test_rules_each_state_their_reason():
    assert [rule.row.name for rule in CLASSIFIER.rules if len(rule.row.why) < 20] == []


def _outcomes(rule: str, low: int) -> set[str]:
    """What the corpus shows a rule to do with codes of one hundred."""
    found = set()
    for entry in CORPUS:
        reply = parse_reply(entry["text"])
        if entry["rule"] == rule and reply.code is not None and low <= reply.code < low + 100:
            found.add(entry["action"])
    return found


@pytest.mark.parametrize("rule", ["rate_limit_5xx", "ip_block", "mailbox_full"])
def test_classify_5xx_that_passes_by_itself_is_retried(rule):
    assert _outcomes(rule, 500) == {"retry"}


def test_classify_4xx_too_large_fails():
    assert _outcomes("too_large", 400) == {"fail"}


def test_classify_any_corpus_text_with_a_4xx_fails_only_when_too_large():
    for entry in CORPUS:
        reply = parse_reply(entry["text"])
        if reply.code is None:
            continue
        enhanced = "4" + reply.enhanced[1:] if reply.enhanced else None
        for phase in PHASES:
            for code in (421, 450, 451, 452, 454):
                found = CLASSIFIER.classify(Reply(phase, code, enhanced, reply.text))
                assert found.action != "fail" or found.reply_class == "too_large", (
                    phase,
                    code,
                    entry["text"],
                )
                assert not found.suppress


def test_classify_reply_about_the_connection_or_sender_never_suppresses():
    for entry in CORPUS:
        for phase in SESSION_PHASES:
            assert not CLASSIFIER.classify(parse_reply(entry["text"], phase)).suppress


@pytest.mark.parametrize("reply_class", ["ip_block", "authentication", "configuration", "policy"])
def test_classify_refusal_for_our_own_fault_never_suppresses(reply_class):
    entries = [entry for entry in CORPUS if entry["class"] == reply_class]
    assert entries
    for entry in entries:
        for phase in PHASES:
            found = CLASSIFIER.classify(parse_reply(entry["text"], phase))
            assert found.reply_class != reply_class or not found.suppress


def test_classify_reply_with_a_code_of_policy_never_suppresses():
    """Policy, authentication and reputation: RFC 3463, x.7.x."""
    for entry in CORPUS:
        reply = parse_reply(entry["text"])
        for phase in ("rcpt", "data", "message"):
            for detail in (0, 1, 13, 23, 26, 27, 28, 60, 509, 606, 708):
                said = Reply(phase, reply.code, f"5.7.{detail}", reply.text)
                assert not CLASSIFIER.classify(said).suppress, said


# What a reply says that must suppress nobody, and classes of the corpus that say it.
SAYS_NOTHING_OF_THE_ADDRESS = {
    "a full mailbox": "mailbox_full",
    "a mailbox's own limit": "mailbox_rate",
    "policy": "policy",
    "spam": "content",
    "authentication": "authentication",
    "reputation": "ip_block",
    "the sender": "configuration",
    "a rate": "rate_limit",
    "greylisting": "greylist",
    "a message that is too large": "too_large",
    "a refusal without a reason": "rejected",
    "the domain": "bad_domain",
    "no reply": "network",
    "the session": "tls",
}


@pytest.mark.parametrize("reason", SAYS_NOTHING_OF_THE_ADDRESS)
def test_corpus_suppresses_no_address_for_a_reason_that_says_nothing_of_it(reason):
    reply_class = SAYS_NOTHING_OF_THE_ADDRESS[reason]
    entries = [entry for entry in CORPUS if entry["class"] == reply_class]
    assert entries and not any(entry.get("suppress") for entry in entries)


def test_corpus_suppresses_for_each_class_that_says_that_the_mailbox_is_gone():
    assert {entry["class"] for entry in CORPUS if entry.get("suppress")} == {
        "bad_mailbox",
        "bad_address",
        "inactive",
    }


def test_classify_503_asks_for_a_fresh_connection_once():
    reply = parse_reply("503 5.5.1 Bad sequence of commands", "mail")
    first, second = CLASSIFIER.classify(reply), CLASSIFIER.classify(reply, repeated=True)
    assert (first.action, first.fresh_connection) == ("retry", True)
    assert (second.action, second.fresh_connection, second.reply_class) == (
        "retry",
        False,
        "protocol",
    )
    late = CLASSIFIER.classify(parse_reply("503 5.5.1 Bad sequence", "data"), repeated=True)
    assert (late.action, late.reply_class) == ("retry", "protocol")


def test_classify_lost_reply_after_the_dot_is_uncertain():
    found = CLASSIFIER.classify(
        Reply("message", None, None, "connection lost after the final dot", uncertain=True)
    )
    assert (found.reply_class, found.action) == ("uncertain", "retry")


def test_classify_any_code_and_text_is_classified():
    rng = random.Random(0)
    texts = [entry["text"] for entry in CORPUS]
    actions = {"deliver", "retry", "fail", "split"}
    for code in (None, 0, 100, 199, 600, 999, 99999, *range(200, 600)) * 5:
        enhanced = rng.choice(
            [
                None,
                "",
                "garbage",
                f"{rng.randint(0, 9)}.{rng.randint(0, 999)}.{rng.randint(0, 999)}",
            ]
        )
        noise = "".join(rng.choices(string.printable + "äß中\x00\u2028@<>", k=rng.randint(0, 200)))
        text = rng.choice([noise, rng.choice(texts) + noise])
        phase = rng.choice(PHASES)
        found = CLASSIFIER.classify(Reply(phase, code, enhanced, text))
        assert found.action in actions and found.rule and found.reply_class
        taken = code is not None and 200 <= code <= 299 and phase in ("rcpt", "message")
        assert (found.action == "deliver") == taken
        assert found.retry_after is None or 10 <= found.retry_after <= HINT_MAX


@pytest.mark.parametrize(
    "text", ["a" * 1_000_000, "a@" * 500_000, " " * 1_000_000, "in " * 300_000, "too " * 250_000]
)
def test_classify_huge_text_ends(text):
    assert CLASSIFIER.classify(Reply("rcpt", 550, None, text)).rule == "rejected"


@pytest.fixture
def rules_file(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "rules.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_classifier_with_own_rules_asks_them_first(rules_file):
    path = rules_file(
        """
        [[rule]]
        name = "slow_partner"
        class = "partner"
        action = "retry"
        phases = ["rcpt"]
        when = [{ code = ["550"], enhanced = ["5.1.1"], regex = "queue \\\\d+ busy" }]
        """
    )
    classifier = Classifier.load(path)
    own = classifier.classify(parse_reply("550 5.1.1 Queue 12 busy"))
    assert (own.rule, own.reply_class, own.action, own.suppress) == (
        "slow_partner",
        "partner",
        "retry",
        False,
    )
    assert classifier.classify(parse_reply("550 5.1.1 Queue twelve busy")).rule == "bad_mailbox"
    assert (
        classifier.classify(parse_reply("550 5.1.1 Queue 12 busy", "message")).rule == "bad_mailbox"
    )
    assert classifier.classify(parse_reply("250 2.1.5 Queue 12 busy")).rule == "delivered"


def test_classifier_own_rule_without_conditions_takes_all_refusals(rules_file):
    classifier = Classifier.load(
        rules_file('[[rule]]\nname = "all"\nclass = "held"\naction = "retry"\n')
    )
    for text in ("550 5.1.1 no", "421 bye", "Connection refused", "354 go"):
        assert classifier.classify(parse_reply(text)).rule == "all"


def test_classifier_missing_rules_file_raises_naming_the_setting():
    with pytest.raises(SettingsError, match=r"reply_rules: /nonexistent/rules\.toml"):
        Classifier.load("/nonexistent/rules.toml")
