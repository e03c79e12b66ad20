"""Rules of an operator's own file: what is wrong with one is said, with its number and name."""

from __future__ import annotations

import pytest

from babygun.errors import SettingsError
from babygun.smtp.reply_rules import compile_rules

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
def test_classifier_bad_rules_raise_naming_the_rule(text, message):
    with pytest.raises(SettingsError, match=f"reply_rules: .*{message}"):
        compile_rules(text, "reply_rules: rules.toml")
