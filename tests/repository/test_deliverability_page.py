"""docs/deliverability.md shows the records, settings and words that the code has."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from babygun.domains.wanted import sending_of, wanted_records
from babygun.email.sending_domains import Selector, SendingDomain
from babygun.runtime.settings import Settings, load
from tests.support.paths import ROOT

PAGE = (ROOT / "docs/deliverability.md").read_text()
SOURCE = "\n".join(path.read_text() for path in (ROOT / "babygun").rglob("*.py"))
NOW = datetime(2030, 1, 31, 8, tzinfo=UTC)


def settings() -> Settings:
    """Those of step 4, as its reader sets them."""
    block = PAGE[PAGE.index("## 4.") :].split("```sh\n")[1].split("```")[0]
    return load(dict(re.findall(r"^(BABYGUN_\w+)=(\S+)", block, re.MULTILINE)))


def test_page_shows_the_records_that_its_settings_make_wanted() -> None:
    key = Selector("bg5f0c9d2a", "rsa2048", "MIIBIjANBgkqh" + "x" * 373 + "IDAQAB", "new", NOW)
    domain = SendingDomain("example.com", ("shop:1",), NOW, NOW, (key,))
    wanted = {each.purpose: each for each in wanted_records(domain, sending_of(settings()))}
    shown = {
        (name, kind): value
        for name, kind, value in re.findall(r"^([\w.]+)\.  +(TXT|MX)  +(.*)$", PAGE, re.MULTILINE)
    }
    for purpose in ("spf", "return_path_spf"):
        assert f'"{wanted[purpose].value}"' in PAGE
        assert (wanted[purpose].name, "TXT") in shown
    back = wanted["return_path"]
    assert shown[back.name, "MX"] == f"{back.value}."
    assert shown[wanted["dmarc"].name, "TXT"].startswith(f'"{wanted["dmarc"].value};')
    dkim = wanted[f"dkim:{key.name}"]
    begin, end = shown[dkim.name, "TXT"].strip('"').split('…" "…')
    assert dkim.value.startswith(begin) and dkim.value.endswith(end)
    assert 400 < len(dkim.value) < 420


@pytest.mark.parametrize(
    "words",
    [
        "is not a full one",
        "has no PTR record",
        "(PTR) and back, but EHLO says",
        "none of source_addresses is an address of this machine",
        "can be reached",
        "bounce messages can't come to",
        "takes bounce messages",
        "gets {result.result}: {result.sentence}",
        "it takes more than {MOST_LOOKUPS} look-ups",
    ],
)
def test_page_quotes_what_the_commands_say(words: str) -> None:
    said = {"{result.result}": "permerror", "{result.sentence}": "it takes", "{MOST_LOOKUPS}": "10"}
    assert words in SOURCE
    for name, value in said.items():
        words = words.replace(name, value)
    assert words in PAGE
