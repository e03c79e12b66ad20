"""Which part of a path logs and traces may name: an e-mail's id."""

from __future__ import annotations

from aiohttp import web

from babygun.email.ids import is_email_id


def path_fields(request: web.Request) -> dict[str, str]:
    """The e-mail that the path names, if the text there has the form of an id."""
    email_id = request.match_info.get("id")
    return {"email_id": email_id} if email_id is not None and is_email_id(email_id) else {}
