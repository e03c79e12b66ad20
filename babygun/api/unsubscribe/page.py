"""What a recipient sees: a page without scripts and pictures, in light and dark. No I/O.

A link may be passed on with its e-mail, and programs read it. So the page shows only a part of the
address.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape

from babygun.email.suppression import ALL_MAIL
from babygun.store.unsubscribe.tokens import Subscription

_EMAILS = "e&#8209;mails"  # a hyphen at which no line ends
# What a mail program sends to unsubscribe in one click (RFC 8058, 3.1), and the button too.
FIELD, VALUE = "List-Unsubscribe", "One-Click"

_STYLE = """
:root { color-scheme: light dark; --text: #1c1f24; --back: #fff; --button: #0b57d0; --on: #fff }
@media (prefers-color-scheme: dark) {
  :root { --text: #e8eaed; --back: #17191c; --button: #a8c7fa; --on: #062e6f }
}
body { margin: 0; background: var(--back); color: var(--text);
  font: 1.0625rem/1.5 system-ui, sans-serif }
main { max-width: 32rem; margin: 0 auto; padding: 3rem 1.25rem; overflow-wrap: anywhere }
h1 { margin: 0 0 1rem; font-size: 1.5rem; line-height: 1.25 }
strong { display: inline-block; max-width: 100% }
button { min-height: 2.75rem; margin-top: .5rem; padding: .5rem 1.5rem; border: 0;
  border-radius: .375rem; background: var(--button); color: var(--on); font: inherit;
  font-weight: 600; cursor: pointer }
button:focus-visible { outline: 3px solid var(--text); outline-offset: 3px }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
}


def ask(what: Subscription) -> str:
    """The page with the button."""
    return _page(
        "Unsubscribe",
        f"<p>Press the button, and {_address(what)} gets no more {_EMAILS} from {_source(what)}."
        f'</p><form method="post"><input type="hidden" name="{FIELD}" value="{VALUE}">'
        '<button type="submit">Unsubscribe</button></form>',
    )


def done(what: Subscription) -> str:
    """The page after that."""
    return _page(
        "You are unsubscribed",
        f"<p>{_address(what)} gets no more {_EMAILS} from {_source(what)}.</p>"
        "<p>One that is on its way may still arrive.</p>",
    )


def _page(title: str, content: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{title}</h1>{content}</main></body></html>\n"
    )


def _address(what: Subscription) -> str:
    local, _, domain = what.address.rpartition("@")
    return f"<strong>{escape(local[:1])}…@{escape(domain)}</strong>"


def _source(what: Subscription) -> str:
    if what.list == ALL_MAIL:
        return "this sender"
    return f"the list <strong>{escape(what.list)}</strong>"


# Also for a forged link: why it does not work is nobody's business.
NO_LINK = _page(
    "This link does not work",
    "<p>It may be incomplete or too old. Open it from the e&#8209;mail again, or ask the sender to"
    " take you off the list.</p>",
)
LATER = _page(
    "Please try again later",
    "<p>That did not work just now, and nothing was changed.</p>",
)
