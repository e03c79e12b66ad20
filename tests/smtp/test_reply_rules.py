"""Rules of an operator's own file: what is wrong with one is said, with its number and name."""

from __future__ import annotations

import pytest

from babygun.errors import SettingsError
from babygun.smtp.replies import PHASES, SESSION_PHASES
from babygun.smtp.reply_rules import compile_rules

RULE = '[[rule]]\nname = "mine"\nclass = "mine"\naction = "fail"\n'
RETRY = RULE.replace('"fail"', '"retry"')


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
        *(
            (RULE + f'phases = ["rcpt", "{phase}"]\n', f"fail can't have the phase '{phase}'")
            for phase in SESSION_PHASES
        ),
        (RULE + 'phases = ["mail"]\n', 'about = "sender" or about = "message"'),
        *(
            (
                RULE + f'about = "{about}"\nphases = ["mail", "auth"]\n',
                "fail can't have the phase 'auth'",
            )
            for about in ("sender", "message")
        ),
        (
            RULE.replace('"fail"', '"retry"') + 'action_4xx = "fail"\nphases = ["greeting"]\n',
            "fail can't have the phase 'greeting'",
        ),
        (RULE + 'about = "relay"\n', "about"),
        (RULE + 'about = "session"\n', "'session' needs the action retry"),
        (
            RETRY.replace('"retry"', '"split"') + 'about = "connections"\n',
            "'connections' needs the action retry",
        ),
        (RETRY + 'about = "session"\nphases = ["rcpt"]\n', "has no effect after MAIL"),
        (RULE + 'about = "site"\n', "'site' needs the action retry"),
        (RETRY + 'about = "session"\nabout_later = "session"\n', "has no effect after MAIL"),
        (RETRY + 'about = "sender"\nabout_later = "site"\n', "about_later needs about"),
        (RETRY + 'route = "queue"\n', "route"),
        (RULE + 'route = "mx"\nphases = ["greeting"]\n', "fail can't have the phase 'greeting'"),
        (
            RULE + 'about = "domain"\nphases = ["greeting"]\n',
            "fail can't have the phase 'greeting'",
        ),
        # Until the phases of a session had names of their own, connect meant all of them.
        (RETRY + 'phases = ["connect"]\n', "greeting, ehlo, tls and auth"),
        (
            RETRY + 'phases = ["connect"]\nwhen = [{ code = ["535"] }]\n',
            "greeting, ehlo, tls and auth",
        ),
        (
            RETRY + 'phases = ["connect"]\nwhen = [{ no_reply = true }, { text = ["a"] }]\n',
            "no reply comes",
        ),
    ],
)
def test_classifier_bad_rules_raise_naming_the_rule(text, message):
    with pytest.raises(SettingsError, match=f"reply_rules: .*{message}"):
        compile_rules(text, "reply_rules: rules.toml")


@pytest.mark.parametrize(
    ("text", "phases"),
    [
        (RETRY, PHASES),
        (RETRY + 'about = "session"\n', PHASES),
        (RULE, ("rcpt", "data", "message")),
        (RULE + 'about = "sender"\n', ("mail", "rcpt", "data", "message")),
        (RULE + 'about = "domain"\nroute = "mx"\nphases = ["greeting"]\n', ("greeting",)),
        (RULE + 'about = "message"\nphases = ["mail"]\n', ("mail",)),
        (
            RETRY + 'phases = ["connect", "tls"]\nwhen = [{ no_reply = true }]\n',
            ("connect", "tls"),
        ),
    ],
)
def test_rule_without_phases_has_those_in_which_its_action_can_be_right(text, phases):
    [rule] = compile_rules(text, "rules.toml")
    assert rule.phases == phases
