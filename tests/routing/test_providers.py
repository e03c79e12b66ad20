"""The table of providers: ours is sound, one's own comes first, and mistakes in it are refused."""

from __future__ import annotations

import pytest

from babygun.errors import SettingsError
from babygun.routing.providers import Limits, Rate, load_providers

OWN = """\
[example]
mx = ["mx.example.net"]
connections = 3
"""


def test_our_table_has_the_large_providers() -> None:
    google = load_providers().of(("aspmx.l.google.com", "alt1.aspmx.l.google.com"))
    assert google is not None
    assert google.name == "google"
    assert google.limits == Limits(5, 50, Rate(100, 1))
    assert google.tls_required


@pytest.mark.parametrize(
    "hosts", [("mx.example.org",), ("notgoogle.com",), ("aspmx.l.google.com", "mx.example.org"), ()]
)
def test_provider_must_run_all_hosts_of_a_domain(hosts: tuple[str, ...]) -> None:
    assert load_providers().of(hosts) is None


def test_what_a_provider_leaves_out_is_as_by_default() -> None:
    found = load_providers(OWN).by_name["example"]
    assert found.limits == Limits(3, 100, Rate(100, 1))


def test_own_entry_comes_before_ours_and_replaces_the_one_of_its_name() -> None:
    own = '[google]\nmx = ["google.com"]\nconnections = 1\n[close]\nmx = ["icloud.com"]\n'
    providers = load_providers(own)
    assert providers.by_name["google"].limits.connections == 1
    found = providers.of(("mx01.mail.icloud.com",))
    assert found is not None
    assert found.name == "close"


def test_own_default_holds_for_our_providers_too() -> None:
    own = '[default]\nmx = []\nconnections = 2\nmessages_per_connection = 9\nrate = "5/min"\n'
    providers = load_providers(own)
    assert providers.default.limits == Limits(2, 9, Rate(5, 60))
    assert providers.by_name["google"].limits.rate == Rate(5, 60)


def test_reply_that_slows_a_provider_never_raises_its_limits() -> None:
    own = OWN + '[[example.reply]]\ntext = ["Slow"]\nthen = "slow"\nconnections = 9\nlasts = "1h"\n'
    rule = load_providers(own).by_name["example"].replies[0]
    assert rule.slow == Limits(3, 100, Rate(100, 1))
    assert rule.matches("421 4.7.0 Please SLOW down")
    assert not rule.matches("421 4.7.0 later")
    assert rule.lasts == 3600


def test_replies_by_default_are_asked_after_the_providers_own() -> None:
    replies = load_providers().by_name["google"].replies
    assert [rule.texts[0] for rule in replies] == [
        "unusual rate",
        "detected that this message is likely",
        "deferred due to user complaints",
    ]


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ("[x", "providers: "),
        ("[Example]\nmx = []", "lower-case"),
        ("[example]", "mx"),
        ("[example]\nmx = []", "ends of its hosts"),
        ('[example]\nmx = ["*.example.org"]', "'*.example.org' is no end of a host's name"),
        ('[example]\nmx = [""]', "'' is no end of a host's name"),
        (OWN + "conections = 1", "conections"),
        (OWN.replace("3", "0"), "above 0"),
        (OWN + 'rate = "fast"', "rate 'fast' is not of the form"),
        (OWN + "[[example.reply]]\ntext = ['x']\nthen = 'stop'\nlasts = '1h'", "stop"),
        (OWN + "[[example.reply]]\ntext = ['x']\nthen = 'slow'\nlasts = '1h'", "needs a limit"),
        (OWN + "[[example.reply]]\ntext = ['x']\nthen = 'hold'\nlasts = 'long'", "lasts"),
        (OWN + "[[example.reply]]\ntext = []\nthen = 'hold'\nlasts = '1h'", "needs a text"),
        (
            OWN + "[[example.reply]]\ntext = ['x']\nthen = 'hold'\nlasts = '1h'\nconnections = 1",
            "has no limits",
        ),
        ("[default]\nmx = []\nconnections = 1", "default: needs"),
    ],
)
def test_mistake_in_ones_own_table_is_refused_with_its_place(own: str, words: str) -> None:
    with pytest.raises(SettingsError, match=r"^providers: ") as caught:
        load_providers(own)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("rate", "text"), [(Rate(10, 1), "10/s"), (Rate(1, 60), "1/min"), (Rate(5, 3600), "5/h")]
)
def test_rate_is_written_as_it_is_read(rate: Rate, text: str) -> None:
    assert str(rate) == text


def test_limits_within_others_are_the_smaller_of_both() -> None:
    assert Limits(5, 10, Rate(1, 1)).within(Limits(3, 20, Rate(10, 60))) == Limits(
        3, 10, Rate(10, 60)
    )
