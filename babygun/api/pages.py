"""The web page: plain files, read once at the start. Nothing on it comes from elsewhere, and its policy says so to the browser."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from aiohttp import web

from babygun.api.context import SECURITY_HEADERS
from babygun.api.edge import Handler

_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# Path: file under page/, media type.
PAGES: dict[str, tuple[str, str]] = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page/view.js": ("view.js", "text/javascript; charset=utf-8"),
    "/page/style.css": ("style.css", "text/css; charset=utf-8"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
}


def add_pages(app: web.Application) -> None:
    for path, (name, media_type) in PAGES.items():
        app.router.add_get(path, _page(name, media_type))


def _page(name: str, media_type: str) -> Handler:
    data = files("babygun.api").joinpath("page", name).read_bytes()
    tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
    headers = {
        **SECURITY_HEADERS,
        "Cache-Control": "no-cache",  # kept, but asked about each time: a page never runs beside another version's script
        "Content-Security-Policy": _POLICY,
        "Content-Type": media_type,
        "ETag": tag,
        "Referrer-Policy": "no-referrer",
    }

    async def show(request: web.Request) -> web.Response:
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=data, headers=headers)

    return show
