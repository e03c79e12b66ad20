"""Which e-mails a client may see."""

from __future__ import annotations

import re

from babygun.api.app import ROUTES
from babygun.intake.ids import new_email_id
from tests.support.api import RunningApi

ATTACHED = {"filename": "a", "content": "AAAA"}


async def test_email_of_another_client_is_not_found(api: RunningApi) -> None:
    email_id, none = await api.accepted(html="<p>", attachments=[ATTACHED]), new_email_id()
    other = await api.token_for()
    calls = [(route.method, route.path) for route in ROUTES if "/emails/{id}" in route.path]
    assert len(calls) > 6
    for method, path in (*calls, ("GET", "/events?id={id}")):
        details = set()
        for one in (email_id, none):
            path_of_one = re.sub(r"\{(?!id\})\w+\}", "0", path).replace("{id}", one)
            body = {"json": {"tags": ["vip"]}} if method == "PATCH" else {}
            answer = await api.call(method, path_of_one, token=other, **body)
            details.add(answer.problem(404, "not-found")["detail"])
        assert len(details) == 1, path
    for change in ("cancel", "retry"):
        changed = await api.call("POST", f"/emails/{change}", token=other, json={"ids": [email_id]})
        [result] = changed.json["results"]
        assert (result["status"], result["email_status"]) == ("not-found", None)
    assert (await api.call("GET", f"/emails/{email_id}")).json["status"] == "incomplete"
    listed = await api.call("GET", f"/emails?cursor={new_email_id()}", token=other)
    assert listed.json["emails"] == []


async def test_email_of_an_impossible_id_is_not_found(api: RunningApi) -> None:
    calls = (("GET", ""), ("GET", "/log"), ("POST", "/cancel"), ("POST", "/retry"))
    null_id = "00000000-0000-0000-0000-000000000000"
    for email_id in ("x", "%2F", "%00", "%FF", null_id, "a" * 5000):
        for method, path in calls:
            (await api.call(method, f"/emails/{email_id}{path}")).problem(404, "not-found")


async def test_listing_shows_a_client_its_own_and_an_admin_everybodys(api: RunningApi) -> None:
    mine = await api.accepted()
    other = await api.token_for()
    theirs = await api.accepted(other)
    assert [e["id"] for e in (await api.call("GET", "/emails")).json["emails"]] == [mine]
    assert [e["id"] for e in (await api.call("GET", "/emails", token=other)).json["emails"]] == [
        theirs
    ]
    admin = await api.token_for("admin")
    assert [e["id"] for e in (await api.call("GET", "/emails", token=admin)).json["emails"]] == [
        theirs,
        mine,
    ]
    assert (await api.call("GET", f"/emails/{mine}", token=admin)).status == 200
