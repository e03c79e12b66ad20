"""The classification of SMTP replies, against a corpus: tests/data/replies-corpus.toml."""

from __future__ import annotations

import random
import string
import tomllib
from typing import Any, get_args

import pytest

from babygun.errors import SettingsError
from babygun.smtp.replies import HINT_MAX, Classifier, Phase, Reply, make_reply, parse_reply
from tests.support.paths import ROOT

CORPUS: list[dict[str, Any]] = tomllib.loads(
    (ROOT / "tests" / "data" / "replies-corpus.toml").read_text()
)["reply"]
CLASSIFIER = Classifier.load()
PHASES: tuple[Phase, ...] = get_args(Phase)


def _entry_id(entry: dict[str, Any]) -> str:
    return f"{entry['rule']}: {entry.get('phase', 'rcpt')} {entry['text'][:40]}"


@pytest.mark.parametrize("entry", CORPUS, ids=_entry_id)
def test_classify_corpus_reply_gets_its_verdict(entry):
    verdict = CLASSIFIER.classify(parse_reply(entry["text"], entry.get("phase", "rcpt")))
    assert (verdict.rule, verdict.reply_class, verdict.action) == (
        entry["rule"],
        entry["class"],
        entry["action"],
    )
    assert verdict.alarm == entry.get("alarm", False)
    assert verdict.suppress == entry.get("suppress", False)
    assert verdict.retry_after == entry.get("after")
    assert verdict.close_connection == entry.get("close", False)
    assert verdict.fresh_connection == entry.get("fresh", False)


# Every word and code of the rules, in the shortest reply that needs it: (phase, reply, rule).
WORDS: list[tuple[Phase, str, str]] = [
    ("connect", "null MX", "bad_domain"),
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
    ("rcpt", "450 4.7.0 no", "rate_limit_4xx"),
    ("rcpt", "450 4.7.28 no", "rate_limit_4xx"),
    ("rcpt", "450 [TSS04]", "rate_limit_4xx"),
    ("rcpt", "450 unusual rate", "rate_limit_4xx"),
    ("rcpt", "550 unusual rate", "rejected"),
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
    ("rcpt", "550 5.1.2 user unknown", "bad_address"),
    ("rcpt", "550 5.1.3 user unknown", "bad_address"),
    ("rcpt", "550 5.1.7 user unknown", "configuration"),
    ("rcpt", "550 5.1.8 user unknown", "configuration"),
    ("rcpt", "550 5.2.2 mailbox unavailable", "mailbox_full"),
    ("mail", "550 Sending account suspended", "rejected"),
    ("rcpt", "450 4.1.6 moved", "inactive"),
    ("rcpt", "550 5.2.1 no", "inactive"),
    ("rcpt", "525 5.7.13 no", "inactive"),
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
    *(("connect", f"{code} no", "configuration_login") for code in (525, 530, 534, 535, 538)),
    ("connect", "550 authentication required", "configuration_login"),
    ("connect", "550 authentication failed", "configuration_login"),
    ("connect", "450 authentication failed", "temporary"),
    ("mail", "550 5.1.7 no", "configuration"),
    ("rcpt", "535 no", "configuration"),
    ("mail", "450 relaying denied", "configuration_relay"),
    *(
        ("mail", f"550 {word}", "configuration_relay")
        for word in (
            "authentication required",
            "relay denied",
            "relay access denied",
            "relay not permitted",
            "relaying not permitted",
        )
    ),
    *(("rcpt", f"{code} no", "protocol") for code in (500, 501, 502, 504)),
    *(
        ("rcpt", f"451 {code} no", "remote_busy")
        for code in ("4.3.1", "4.3.2", "4.4.1", "4.4.2", "4.4.3", "4.4.5")
    ),
    ("rcpt", "451 4.7.1 no", "temporary"),
]


@pytest.mark.parametrize(("phase", "text", "rule"), WORDS, ids=lambda value: value)
def test_classify_each_word_and_code_of_a_rule_counts(phase, text, rule):
    assert CLASSIFIER.classify(parse_reply(text, phase)).rule == rule


def test_corpus_reaches_every_rule():
    rules = {name for name, _, _ in CLASSIFIER.rules}
    assert rules - {entry["rule"] for entry in CORPUS} == set()


def test_rules_each_state_their_reason():
    assert [name for name, _, why in CLASSIFIER.rules if len(why) < 20] == []


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
                verdict = CLASSIFIER.classify(Reply(phase, code, enhanced, reply.text))
                assert verdict.action != "fail" or verdict.reply_class == "too_large", (
                    phase,
                    code,
                    entry["text"],
                )
                assert not verdict.suppress


def test_classify_reply_about_the_connection_or_sender_never_suppresses():
    for entry in CORPUS:
        for phase in ("connect", "mail"):
            assert not CLASSIFIER.classify(parse_reply(entry["text"], phase)).suppress


@pytest.mark.parametrize("reply_class", ["ip_block", "authentication", "configuration", "policy"])
def test_classify_refusal_for_our_own_fault_never_suppresses(reply_class):
    entries = [entry for entry in CORPUS if entry["class"] == reply_class]
    assert entries
    for entry in entries:
        for phase in PHASES:
            verdict = CLASSIFIER.classify(parse_reply(entry["text"], phase))
            assert verdict.reply_class != reply_class or not verdict.suppress


def test_classify_503_asks_for_a_fresh_connection_once():
    reply = parse_reply("503 5.5.1 Bad sequence of commands", "mail")
    first, second = CLASSIFIER.classify(reply), CLASSIFIER.classify(reply, repeated=True)
    assert (first.action, first.fresh_connection, first.close_connection) == ("retry", True, True)
    assert (second.action, second.fresh_connection, second.reply_class) == (
        "fail",
        False,
        "protocol",
    )


def test_classify_lost_reply_after_the_dot_is_uncertain():
    verdict = CLASSIFIER.classify(
        Reply("message", None, None, "connection lost after the final dot", uncertain=True)
    )
    assert (verdict.reply_class, verdict.action, verdict.close_connection) == (
        "uncertain",
        "retry",
        True,
    )


@pytest.mark.parametrize("seed", range(5))
def test_classify_any_code_and_text_gets_a_verdict(seed):
    rng = random.Random(seed)
    texts = [entry["text"] for entry in CORPUS]
    actions = {"deliver", "retry", "fail", "split"}
    for code in (None, 0, 100, 199, 600, 999, 99999, *range(200, 600)):
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
        verdict = CLASSIFIER.classify(Reply(rng.choice(PHASES), code, enhanced, text))
        assert verdict.action in actions and verdict.rule and verdict.reply_class
        assert (verdict.action == "deliver") == (code is not None and 200 <= code <= 299)
        assert verdict.retry_after is None or 10 <= verdict.retry_after <= HINT_MAX


@pytest.mark.parametrize("seed", range(3))
def test_parse_reply_any_text_gives_a_reply(seed):
    rng = random.Random(seed)
    for _ in range(500):
        text = "".join(rng.choices("2345 -.\r\n\x0b\x00#ab@ä", k=rng.randint(0, 40)))
        CLASSIFIER.classify(parse_reply(text, rng.choice(PHASES)))


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "text", ["a" * 1_000_000, "a@" * 500_000, " " * 1_000_000, "in " * 300_000, "too " * 250_000]
)
def test_classify_huge_text_takes_no_time(text):
    assert CLASSIFIER.classify(Reply("rcpt", 550, None, text)).rule == "rejected"


def test_parse_reply_single_line_splits_codes_from_text():
    assert parse_reply("550 5.1.1 User unknown") == Reply("rcpt", 550, "5.1.1", "User unknown")


def test_parse_reply_several_lines_joins_them():
    text = "550-5.1.1 The account\r\n550-5.1.1 does not\r\n550 5.1.1 exist"
    assert parse_reply(text, "data") == Reply("data", 550, "5.1.1", "The account does not exist")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("250", Reply("rcpt", 250, None, "")),
        ("250 OK", Reply("rcpt", 250, None, "OK")),
        ("550 5.1.1", Reply("rcpt", 550, "5.1.1", "")),
        ("  550 5.1.1: no", Reply("rcpt", 550, "5.1.1", "no")),
        ("550 #5.1.0 Address rejected.", Reply("rcpt", 550, "5.1.0", "Address rejected.")),
        ("554 5.7.1.2 odd", Reply("rcpt", 554, None, "5.7.1.2 odd")),
        ("550 10.0.0.1 is listed", Reply("rcpt", 550, None, "10.0.0.1 is listed")),
        ("5501 no code", Reply("rcpt", None, None, "5501 no code")),
        ("Connection reset by peer", Reply("rcpt", None, None, "Connection reset by peer")),
        ("", Reply("rcpt", None, None, "")),
    ],
)
def test_parse_reply_odd_forms(text, expected):
    assert parse_reply(text) == expected


def test_make_reply_control_characters_become_spaces():
    assert make_reply("rcpt", 550, "5.1.1 no\x1b[31m such\tuser") == Reply(
        "rcpt", 550, "5.1.1", "no [31m such user"
    )


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


RULE = '[[rule]]\nname = "mine"\nclass = "mine"\naction = "fail"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[rule", "rules.toml: "),
        ("[[rules]]\n", "there is no table 'rules'"),
        ('[rule]\nname = "a"\n', "in double brackets"),
        ("rule = [1]\n", "rule 1: "),
        ('[[rule]]\nname = "mine"\n', "rule 1 \\(mine\\): .*class"),
        (RULE + 'when = [{ text = ["a"], txt = ["b"] }]\n', "rule 1 \\(mine\\): .*txt"),
        (RULE + RULE, "rule 2 \\(mine\\): the name is taken"),
        (RULE.replace('"fail"', '"bounce"'), "rule 1 \\(mine\\): .*bounce"),
        (RULE.replace('"fail"', '"deliver"'), "rule 1 \\(mine\\): the action can't be deliver"),
        (
            RULE.replace('class = "mine"', 'class = "My class"'),
            "rule 1 \\(mine\\): class is 'My class'",
        ),
        (RULE.replace('name = "mine"', 'name = " "'), "rule 1 .*name is empty"),
        (RULE + "when = []\n", "when is empty"),
        (RULE + "when = [{}]\n", "a condition asks nothing"),
        (RULE + 'phases = ["quit"]\n', "rule 1 \\(mine\\): .*quit"),
        (RULE + 'when = [{ code = ["250"] }]\n', "code '250' is not of the form"),
        (RULE + 'when = [{ code = ["554-550"] }]\n', "code '554-550' is not of the form"),
        (RULE + 'when = [{ enhanced = ["5.1"] }]\n', "enhanced code '5.1' is not of the form"),
        (RULE + 'when = [{ text = ["*"] }]\n', "text '\\*' is empty"),
        (RULE + 'when = [{ regex = "(" }]\n', "rule 1 \\(mine\\): "),
        (RULE + 'when = [{ no_reply = true, code = ["550"] }]\n', "no_reply can't have code"),
        (RULE.replace('"fail"', '"retry"') + "suppress = true\n", "suppress needs the action fail"),
    ],
)
def test_classifier_bad_rules_raise_naming_the_rule(rules_file, text, message):
    with pytest.raises(SettingsError, match=f"reply_rules: .*{message}"):
        Classifier.load(rules_file(text))


def test_classifier_missing_rules_file_raises_naming_the_setting():
    with pytest.raises(SettingsError, match=r"reply_rules: /nonexistent/rules\.toml"):
        Classifier.load("/nonexistent/rules.toml")
