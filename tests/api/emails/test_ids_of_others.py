"""Each call with ids of another client's e-mails: as if they did not exist.

The calls come from the table of calls and the examples of its documents, so a new one is covered.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from babygun.api.app import ROUTES
from babygun.api.emails.fields import EMAIL_ID, OTHER_ID
from babygun.api.http.routes import Route
from babygun.api.openapi.document import build_document
from babygun.intake.ids import new_email_id
from babygun.store import Store
from tests.support.api import Answer, RunningApi
from tests.support.tries import GONE, finished

DOCUMENT: dict[str, Any] = json.loads(json.dumps(build_document(ROUTES)))
# Calls of operators. A client without the scope is refused before its path is looked at.
NAMING = [route for route in ROUTES if route.tag == "emails" or route.kind == "stream"]


def _operation(route: Route) -> Any:
    return DOCUMENT["paths"][route.path][route.method.lower()]


def _bodies(route: Route) -> list[Any]:
    """The examples of the call's body that name e-mails; one, where the path names it."""
    if route.body is None:
        return [None]
    content = _operation(route)["requestBody"]["content"]["application/json"]
    examples = [named["value"] for named in content.get("examples", {}).values()]
    bodies = examples or [content["example"]]
    if "{id}" in route.path:
        return bodies[:1]
    return [body for body in bodies if EMAIL_ID in json.dumps(body)]


def _names_an_email(route: Route) -> bool:
    in_place = any(p.name == "id" and p.where in ("path", "query") for p in route.parameters)
    return in_place or any(_bodies(route))


CALLS = [route for route in NAMING if _names_an_email(route)]


def test_calls_that_name_emails_are_found_in_the_table() -> None:
    found = {route.name for route in CALLS}
    assert found >= {"show_email", "cancel_email", "cancel_emails", "show_attachment"}
    by_path = {route.name for route in ROUTES if "/emails/{id}" in route.path}
    assert by_path <= found, "each call on one e-mail is tried"


@pytest.mark.parametrize("final", [False, True], ids=["waiting", "final"])
async def test_call_with_another_clients_id_answers_as_for_one_that_does_not_exist(
    api: RunningApi, store: Store, final: bool
) -> None:
    attachment = {"filename": "secret.txt", "content": "c2VjcmV0", "content_type": "text/plain"}
    theirs = await api.accepted(subject="secret", html="secret", attachments=[attachment])
    if final:
        await finished(store, theirs, {"ann@example.org": GONE})
    other = await api.token_for()
    before = await api.call("GET", f"/emails/{theirs}")
    assert before.status == 200
    for route in CALLS:
        for body in _bodies(route):
            seen = [
                _shape(await _called(api, route, email_id, other, body, before.headers["ETag"]))
                for email_id in (new_email_id(), theirs)
            ]
            assert seen[0] == seen[1], route.name
            assert seen[0][0] in (200, 404), f"it is the id that is refused: {route.name}"
        after = await api.call("GET", f"/emails/{theirs}")
        assert after.json == before.json, f"nothing has changed: {route.name}"


async def _called(
    api: RunningApi, route: Route, email_id: str, token: str, body: Any, etag: str
) -> Answer:
    """The call as its example shows it, with this e-mail in place of the example's."""
    examples = {p.name: str(p.example) for p in route.parameters if p.where == "path"}
    path = route.path.format_map(examples | {"id": email_id})
    query = (
        {"id": email_id}
        if any(p.where == "query" and p.name == "id" for p in route.parameters)
        else {}
    )
    text = json.dumps(body).replace(EMAIL_ID, email_id).replace(OTHER_ID, email_id)
    sent = {} if body is None else {"data": text, "content_type": "application/json"}
    known = {"If-None-Match": etag}
    return await api.call(route.method, path, token=token, params=query, headers=known, **sent)


def _shape(answer: Answer) -> tuple[int, str, list[str]]:
    """An answer without what differs from call to call: ids, times."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "<id>", answer.text)
    assert "secret" not in text
    if answer.json is not None and "request_id" in answer.json:
        text = text.replace(answer.json["request_id"], "<request>")
    return answer.status, text, sorted(name for name in answer.headers if name != "Date")
