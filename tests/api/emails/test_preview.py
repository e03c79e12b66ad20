"""An e-mail's HTML for the page: harmless, and with its own pictures.

That a browser obeys it: tests/browser.
"""

from __future__ import annotations

import base64

import pytest

from babygun.api.emails import preview
from babygun.api.emails.preview import harmless
from babygun.email.model import Attachment
from tests.support.api import RunningApi

GIF = base64.b64decode("R0lGODlhAQABAAAAACwAAAAAAQABAAA=")
PICTURE = Attachment("logo.gif", "image/gif; name=logo.gif", GIF, "logo@shop")


async def test_html_comes_with_a_policy_that_lets_it_do_nothing(api: RunningApi) -> None:
    email_id = await api.accepted(html="<p>Grüße<script>alert(1)</script>")
    answer = await api.call("GET", f"/emails/{email_id}/html")
    assert (answer.status, answer.text, answer.headers["Content-Type"]) == (
        200,
        "<p>Grüße<script>alert(1)</script>",
        "text/html; charset=utf-8",
    )
    assert answer.headers["Cache-Control"] == "no-store"
    rules = answer.headers["Content-Security-Policy"].split("; ")
    assert "sandbox" in rules  # with no exception: no scripts, no forms, no origin
    assert "default-src 'none'" in rules
    assert "form-action 'none'" in rules
    assert {rule.split()[0] for rule in rules if "'none'" not in rule} == {
        "sandbox",
        "style-src",
        "img-src",
        "frame-ancestors",
    }


async def test_html_of_an_email_without_any_and_of_another_client_is_not_found(
    api: RunningApi,
) -> None:
    (await api.call("GET", f"/emails/{await api.accepted()}/html")).problem(404, "not-found")
    email_id = await api.accepted(html="<p>mine")
    (await api.call("GET", f"/emails/{email_id}/html", token=await api.token_for())).problem(
        404, "not-found"
    )


@pytest.mark.parametrize(
    "name", ["cid:logo@shop", "CID:logo@shop", "cid:logo%40shop", "cid:logo&#64;shop"]
)
def test_picture_that_came_along_stands_in_the_html(name: str) -> None:
    assert (
        harmless(f'<img src="{name}">', (PICTURE,))
        == f'<img src="data:image/gif;base64,{base64.b64encode(GIF).decode()}">'
    )


def test_attachment_that_is_no_plain_picture_stays_out() -> None:
    svg = Attachment("a.svg", "image/svg+xml", b"<svg onload=alert(1)>", "a")
    page = Attachment("a.html", "text/html", b"<script>", "b")
    html = '<img src="cid:a"><img src="cid:b"><img src="cid:none">'
    assert harmless(html, (svg, page, PICTURE)) == html


def test_pictures_named_again_and_again_stop_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "MAX_PICTURES", 100)
    html = '<img src="cid:logo@shop">' * 50
    assert len(harmless(html, (PICTURE,))) < len(html) + 150


@pytest.mark.parametrize(
    "tag",
    [
        '<link rel="preconnect" href="//a.example">',
        "<LINK\nrel=dns-prefetch href=//a.example>",
        '<meta http-equiv="refresh" content="0;url=//a.example">',
        "<base/href=//a.example>",
        "<iframe src=//a.example>",
        "<video poster=//a.example>",
    ],
)
def test_element_that_connects_by_itself_becomes_an_unknown_one(tag: str) -> None:
    assert harmless(f"<p>{tag}</p>", ()) == f"<p><x-{tag[1:]}</p>"


def test_links_lead_nowhere_and_look_like_links() -> None:
    assert harmless("<abbr><a href=x style='color: red'>go</a></abbr>", ()).startswith(
        "<abbr><x-a href=x style='color: red'>go</x-a></abbr><style>x-a "
    )
