"""The pages of the mailbox, as text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from babygun.dev.mailbox.behaviours import TABLE

_MOST_ROWS = 200  # of the list page
_MOST_RECIPIENTS = 5  # of one row
_STYLE = """
body {
  font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff;
  max-width: 70rem; margin: 2rem auto; padding: 0 1rem
}
table { border-collapse: collapse; width: 100% }
td, th {
  text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0;
  border-bottom: 1px solid #ddd; overflow-wrap: anywhere
}
th { font-weight: 600; white-space: nowrap }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f5f5f3; padding: 1rem }
a { color: #0b57d0 }
details { margin: 1.5rem 0 }
iframe { width: 100%; height: 32rem; border: 1px solid #ddd; background: #fff }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #181818 }
  td, th { border-color: #444 }
  pre { background: #262626 }
  a { color: #8ab4f8 }
}
"""


def list_page(kept: Sequence[dict[str, Any]], total: int, to: str) -> str:
    """``kept``: summaries, the newest first. ``to``: the recipient that they are limited to."""
    form = (
        "<form><label>To one recipient: "
        f"<input name='to' type='search' size='30' value='{escape(to)}'></label>"
        " <button>Show</button></form>"
    )
    link = f"/messages?to={quote(to)}" if to else "/messages"
    counts = f"{total} received, {len(kept)} {'to this recipient' if to else 'kept'}"
    if len(kept) > _MOST_ROWS:
        counts += f", the newest {_MOST_ROWS} shown"
    shown = f"<p>{counts}. As JSON: <a href='{escape(link)}'>{escape(link)}</a></p>"
    if kept:
        rows = "".join(map(_row, kept[:_MOST_ROWS]))
        shown += f"<table><tr><th>UTC<th>From<th>To<th>Subject<th>Bytes</tr>{rows}</table>"
    else:
        shown += "<p>No mail yet. Reload to see what has come.</p>"
    return whole("Mailbox", f"{form}{shown}{_test_addresses()}")


def message_page(document: dict[str, Any]) -> str:
    """``document``: as :func:`documents.full` makes it."""
    headers = [
        ("envelope from", escape(document["sender"] or "<>")),
        ("envelope to", ", ".join(map(_recipient, document["recipients"]))),
        *((escape(name), escape(value)) for name, value in document["headers"]),
    ]
    rows = (f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in headers)
    number = document["number"]
    parts = [f"<table>{''.join(rows)}</table>"]
    if document["text"] is not None:
        parts.append(f"<h2>Text</h2><pre>{escape(document['text'])}</pre>")
    if document["html"] is not None:
        parts.append(
            f"<h2>HTML</h2><iframe sandbox title='HTML' src='/view/{number}/html'></iframe>"
            "<p>Nothing of it runs, and nothing is loaded from elsewhere.</p>"
            "<details><summary>HTML source</summary>"
            f"<pre>{escape(document['html'])}</pre></details>"
        )
    if document["attachments"]:
        items = (
            f"<li>{escape(a['filename'])} ({escape(a['content_type'])}, {a['size']} bytes)</li>"
            for a in document["attachments"]
        )
        parts.append(f"<h2>Attachments</h2><ul>{''.join(items)}</ul>")
    parts.append(
        f"<p><a href='/messages/{number}/raw'>as it came</a> · <a href='/'>all messages</a></p>"
    )
    return whole(document["subject"] or "(no subject)", "".join(parts))


def whole(title: str, body: str) -> str:
    """The page with this title, which is text, and this body, which is HTML."""
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
        f"<h1>{escape(title)}</h1>{body}</html>"
    )


def _row(message: dict[str, Any]) -> str:
    cells = (
        escape(message["received_at"][11:19]),
        escape(message["sender"] or "<>"),
        _people(message["recipients"]),
        f'<a href="/view/{message["number"]}">{escape(message["subject"] or "(no subject)")}</a>',
        str(message["size"]),
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _people(recipients: Sequence[str]) -> str:
    shown = ", ".join(map(_recipient, recipients[:_MOST_RECIPIENTS]))
    more = len(recipients) - _MOST_RECIPIENTS
    return f"{shown} and {more} more" if more > 0 else shown


def _recipient(address: str) -> str:
    return f"<a href='/?to={quote(address)}'>{escape(address)}</a>"


def _test_addresses() -> str:
    rows = "".join(
        f"<tr><td>{escape(address)}<td>{escape(said.replace('`', ''))}" for address, said in TABLE
    )
    return (
        "<details><summary>Test addresses: how mail fails</summary>"
        "<p>Any domain that ends with .test will do. Write a word behind a plus, such as"
        " bounce+1@any.test, and each test has an address of its own.</p>"
        f"<table>{rows}</table></details>"
    )
