"""The page behind a link to unsubscribe, as HTML."""

from __future__ import annotations

import re

from babygun.api.unsubscribe import page
from babygun.store.unsubscribe.tokens import Subscription


def what(address: str = "ann@example.org", name: str = "news") -> Subscription:
    return Subscription("shop:1", name, address)


def test_page_shows_a_part_of_the_address_only() -> None:
    for shown in (page.ask(what()), page.done(what())):
        assert "a…@example.org" in shown and "ann@" not in shown


def test_page_names_the_list_or_the_sender() -> None:
    assert "the list <strong>news</strong>" in page.ask(what())
    assert "this sender" in page.ask(what(name="*"))


def test_address_with_html_in_it_is_text() -> None:
    shown = page.ask(what('"<script>"@x"><script>alert(1)</script>.org', "<b>"))
    assert "<script>" not in shown and "<b>" not in shown


def test_policy_allows_the_pages_own_style_and_form_and_nothing_else() -> None:
    policy = page.HEADERS["Content-Security-Policy"]
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[A-Za-z0-9+/=]+'; form-action 'self';"
        r" base-uri 'none'; frame-ancestors 'none'",
        policy,
    )
    for shown in (page.ask(what()), page.done(what()), page.NO_LINK, page.LATER):
        assert "<script" not in shown and " src=" not in shown and "style=" not in shown
        assert '<html lang="en">' in shown and shown.count("<h1>") == 1
