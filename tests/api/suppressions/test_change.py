"""Single addresses: put on a list, looked up, taken off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.api.suppressions.calls import listed, put
from tests.support.api import RunningApi


async def test_address_is_put_on_a_list_once_and_found_in_any_form(api: RunningApi) -> None:
    first = await put(api, "Ann <Ann@Example.org>", reason="complaint")
    assert first.status == 201
    assert first.json == first.json | {
        "email": "ann@example.org",
        "list": "*",
        "reason": "complaint",
        "until": None,
        "email_id": None,
    }
    again = await put(api, "ANN@example.org")
    assert (again.status, again.json) == (200, first.json)
    shown = await api.call("GET", "/suppressions/aNN@example.org")
    assert shown.json == {"suppressions": [first.json], "cursor": None}


async def test_address_on_several_lists_is_taken_off_one_or_all(api: RunningApi) -> None:
    for name in ("*", "news", "offers"):
        assert (await put(api, "ann@example.org", list=name)).status == 201
    await put(api, "ann@example.org.test", list="news")
    assert len((await api.call("GET", "/suppressions/ann@example.org")).json["suppressions"]) == 3
    one = await api.call("DELETE", "/suppressions/Ann@example.org", params={"list": "news"})
    assert [found["list"] for found in one.json["suppressions"]] == ["news"]
    gone = await api.call("GET", "/suppressions/ann@example.org", params={"list": "news"})
    assert "mail goes there" in gone.problem(404, "not-found")["detail"]
    rest = await api.call("DELETE", "/suppressions/ann@example.org")
    assert [found["list"] for found in rest.json["suppressions"]] == ["*", "offers"]
    (await api.call("DELETE", "/suppressions/ann@example.org")).problem(404, "not-found")
    assert await listed(api) == [("news", "ann@example.org.test")]


async def test_address_with_odd_characters_has_a_path(api: RunningApi) -> None:
    for email in ["a/b@example.org", '"a b"@example.org', "jörg@bücher.example"]:
        made = await put(api, email)
        assert made.status == 201
        path = "/suppressions/" + made.json["email"].replace("/", "%2F").replace('"', "%22")
        for method in ("GET", "DELETE"):
            answer = await api.call(method, path)
            assert answer.json["suppressions"] == [made.json], answer.text


async def test_hard_bounce_ends_by_the_setting_and_an_end_may_be_given(api: RunningApi) -> None:
    bounce = (await put(api, "ann@example.org", reason="hard_bounce")).json
    lasts = datetime.fromisoformat(bounce["until"]) - datetime.fromisoformat(bounce["since"])
    assert lasts == timedelta(days=90)
    until = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    given = (await put(api, "bob@example.org", until=until.isoformat())).json
    assert datetime.fromisoformat(given["until"]) == until


async def test_address_that_can_not_be_put_there_is_refused_with_the_reason(
    api: RunningApi,
) -> None:
    for fields, field, said in [
        ({"email": "ann"}, "email", "no @"),
        ({"list": "a/b"}, "list", "list's name"),
        ({"until": "2020-01-01T00:00:00Z"}, "until", "in the past"),
        ({"until": "2030-01-01T00:00:00"}, "until", "offset"),
        ({"reason": "bounce"}, "reason", "one of complaint"),
        ({"untill": None}, "untill", "no field `untill`"),
    ]:
        answer = await put(api, **({"email": "ann@example.org"} | fields))
        assert said in answer.problem(422, "invalid-request", field)["detail"]
        (await api.call("GET", "/suppressions/ann")).problem(422, "invalid-request", "email")
        assert await listed(api) == []
