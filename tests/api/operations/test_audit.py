"""GET /audit: the entries, filtered and page by page."""

from __future__ import annotations

from babygun.email.addresses import hash_of
from babygun.store import Store
from babygun.store.audit.entries import AuditEntry, new_entry, write
from tests.support.api import RunningApi


def entry(action: str, target: str = "", by: str = "console") -> AuditEntry:
    return new_entry(action, by=by, via="api", target=target)


async def test_audit_lists_the_newest_first_page_by_page_and_filtered(
    api: RunningApi, store: Store
) -> None:
    written = [
        entry("holdSite", "mx:google"),
        entry("deleteClient", "shop"),
        entry("removeSuppression", hash_of("ann@example.org"), by="shop"),
    ]
    for one in written:
        await write(store, one)
    admin = await api.token_for("admin")

    async def ids(**params: str) -> list[str]:
        answer = await api.call("GET", "/audit", token=admin, params=params)
        assert answer.status == 200, answer.text
        return [one["id"] for one in answer.json["entries"] if one["via"] == "api"]

    newest_first = [one.id for one in reversed(written)]
    assert await ids() == newest_first
    page = await api.call("GET", "/audit", token=admin, params={"limit": "2"})
    assert [one["id"] for one in page.json["entries"]] == newest_first[:2]
    rest = await ids(limit="2", cursor=page.json["cursor"])
    assert rest == newest_first[2:]
    assert await ids(action="holdSite") == [written[0].id]
    assert await ids(by="shop") == [written[2].id]
    assert await ids(target="Ann@Example.org") == [written[2].id]
    assert await ids(outcome="done") == []
    assert await ids(before="2020-01-01T00:00:00Z") == []
    assert await ids(before="1960-01-01T00:00:00Z") == []
    assert await ids(after="0001-01-01T00:00:00Z") == newest_first
    assert await ids(after="2020-01-01T00:00:00Z") == newest_first


async def test_audit_needs_the_scope_admin_and_refuses_wrong_filters(api: RunningApi) -> None:
    (await api.call("GET", "/audit")).problem(403, "insufficient-scope")
    admin = await api.token_for("admin")
    for name, value in (
        ("outcome", "good"),
        ("target", "a@b@c"),
        ("after", "soon"),
        ("cursor", "x"),
    ):
        answer = await api.call("GET", "/audit", token=admin, params={name: value})
        answer.problem(422, "invalid-request", name)
