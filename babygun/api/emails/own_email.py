"""Reads an e-mail that a call's path names, if the caller may see it."""

from __future__ import annotations

from aiohttp import web

from babygun.api.access.authenticator import access_of
from babygun.api.http.context import STORE
from babygun.api.http.problem_types import CONTENT_GONE
from babygun.api.http.problems import Problem
from babygun.email.model import Content, Email
from babygun.errors import NotFound
from babygun.store.emails import reading


async def own_email(
    request: web.Request, email_id: str, *, content: bool = True
) -> reading.EmailView:
    """The e-mail, with its content if asked for. Raises NotFound for another client's e-mail, too.

    So nobody learns which ids exist.
    """
    view = await reading.get_email(request.app[STORE], email_id, content=content)
    if view is None or not may_see(request, view.email):
        raise no_such_email()
    return view


async def own_content(request: web.Request) -> tuple[Email, Content]:
    """The e-mail that the path names, with its content.

    Raises NotFound, and the 410 problem if the content is not kept any more.
    """
    view = await own_email(request, request.match_info["id"])
    if view.content is None:
        raise Problem(CONTENT_GONE, "The e-mail's content is not kept any more.")
    return view.email, view.content


def may_see(request: web.Request, email: Email) -> bool:
    access = access_of(request)
    return access.is_admin or email.client_id == access.client.identity


def no_such_email() -> NotFound:
    return NotFound(
        "There is no e-mail with this id. "
        "E-mails are kept for a time after their end, then removed."
    )
