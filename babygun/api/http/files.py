"""Serves the web page: plain files, read and compressed once at the start.

Nothing on the page comes from elsewhere, and its policy says so to the browser. Every view has an
address of its own, and all of them answer the same ``index.html``, which shows what the address
names. All modules go out as one script, and all style sheets as one: that is a third less on the
wire. The path of these files holds a hash of all of them. So browsers may keep them for ever, and a
page never runs with another version's script.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from functools import cache
from importlib.resources import files

from aiohttp import web

from babygun.api.http.context import Handler
from babygun.api.http.modules import bundle
from babygun.api.http.responses import SECURITY_HEADERS

VIEWS = (
    "/",
    "/page/overview",
    "/page/emails",
    "/page/emails/{id}",
    "/page/compose",
    "/page/schedule",
    "/page/workers",
    "/page/sites",
    "/page/domains",
    "/page/domains/{id}",
    "/page/warm-ups",
    "/page/clients",
    "/page/privacy",
    "/page/audit",
    "/page/webhooks",
    "/page/webhooks/{id}",
    "/page/suppressions",
)
FILES = "/page/files/{version}/{name}"
_MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "frame-src 'self'",  # an e-mail's HTML, which has a policy of its own
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",  # no script of ours can make HTML of a text
        "trusted-types babygun",  # its one policy names the one script of a worker
    )
)
_FOR_EVER = "public, max-age=31536000, immutable"
_REVALIDATED = "no-cache"  # kept, but checked with the server at each use


class Page:
    """The files that are served, by name. ``version``: a hash of all of them."""

    def __init__(self, prefix: str) -> None:
        index, self.files, self.version = _prepared()
        self.index = index.replace("{files}", self.path("")).replace("{prefix}", prefix).encode()

    def path(self, name: str) -> str:
        return FILES.format(version=self.version, name=name)


@cache  # the files are the package's, and take a tenth of a second
def _prepared() -> tuple[str, dict[str, bytes], str]:
    """index.html with its places, the other files as they are served, and a hash of all."""
    found = {
        file.name: lean(file.read_text(), file.name)
        for file in files("babygun.api").joinpath("page").iterdir()
    }
    index = found["index.html"]
    served = {
        "main.js": bundle(found, "main.js"),
        "stream.js": found["stream.js"],  # a shared worker runs it alone
        "style.css": "".join(found[f"{name}.css"] for name in ("style", "views", "operators")),
        "icon.svg": found["icon.svg"],
    }
    as_bytes = {name: text.encode() for name, text in served.items()}
    digest = hashlib.sha256(index.encode())
    for name, data in as_bytes.items():
        digest.update(name.encode() + b"\0" + data + b"\0")
    return index, as_bytes, digest.hexdigest()[:16]


_COMMENT = re.compile(r"/\*.*?\*/|(?:^|(?<=[;,{}()\]])) *// [^\"'`\n]*$", re.MULTILINE)


# What joins the parts of a long text, each on a line of its own.
_JOIN = re.compile(r"([\"`]) \+\n\1")
# Line breaks that a bracket, a comma or another sign beside them makes superfluous, by language.
_BREAKS = {
    "js": re.compile(r"(?<=[(\[{,])\n|\n(?=[)\]}.?:])"),
    "css": re.compile(r"(?<=[{,;])\n|\n(?=})"),
}


def lean(text: str, name: str) -> str:
    """A file without the comments and most white space, which nobody needs on the way.

    No literal of a script holds a line break. A comment without a line of its own holds no quotes.
    """
    language = name.rpartition(".")[2]
    if language not in _BREAKS:
        return text
    lines = (line.strip() for line in text.splitlines())
    kept = "\n".join(line for line in lines if line and not line.startswith("//"))
    kept = re.sub(r"\n+", "\n", _COMMENT.sub("", kept))
    return _BREAKS[language].sub("", _JOIN.sub("", kept))


def add_pages(app: web.Application, prefix: str) -> None:
    """``prefix``: of the keys in etcd, for the commands that the page shows."""
    page = Page(prefix)
    show = _shown(page.index, "html", _REVALIDATED)
    for path in VIEWS:
        app.router.add_get(path, show)
    kept = {
        name: _shown(data, name.rpartition(".")[2], _FOR_EVER) for name, data in page.files.items()
    }
    other = {
        name: _shown(data, name.rpartition(".")[2], "no-store") for name, data in page.files.items()
    }

    async def show_file(request: web.Request) -> web.StreamResponse:
        """A file of the page.

        Another version's file gets ours, which is better than none: an API process of that version
        may have named it, behind the same balancer.
        """
        ours = request.match_info["version"] == page.version
        handler = (kept if ours else other).get(request.match_info["name"])
        if handler is None:
            raise web.HTTPNotFound
        return await handler(request)

    app.router.add_get(FILES, show_file)


def _shown(data: bytes, kind: str, caching: str) -> Handler:
    tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
    packed = _packed(data)
    headers = {
        **SECURITY_HEADERS,
        "Cache-Control": caching,
        "Content-Security-Policy": _POLICY,
        "Content-Type": _MEDIA_TYPES[kind],
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "ETag": tag,
        "Referrer-Policy": "no-referrer",
        "Vary": "Accept-Encoding",
    }
    packed_headers = {**headers, "Content-Encoding": "gzip"}

    async def show(request: web.Request) -> web.Response:
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        if _takes_gzip(request.headers.get("Accept-Encoding", "")):
            return web.Response(body=packed, headers=packed_headers)
        return web.Response(body=data, headers=headers)

    return show


@cache
def _packed(data: bytes) -> bytes:
    """Two handlers show the same file, and compressing takes longer than all else here."""
    return gzip.compress(data, 9, mtime=0)


def _takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding header allows gzip; ``gzip;q=0`` does not."""
    for entry in accepted.lower().split(","):
        name, _, weight = entry.partition(";")
        if name.strip() in ("gzip", "*"):
            return weight.replace(" ", "").rstrip("0.") not in ("q=", "q")
    return False
