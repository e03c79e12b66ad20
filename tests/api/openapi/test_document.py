"""The OpenAPI document says what the API does: real answers fit it, and so do its examples."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_schema_validator import OAS31Validator

from babygun.api.app import ROUTES, build_app
from babygun.api.http.files import FILES, VIEWS
from babygun.api.http.problem_types import TYPES
from babygun.api.openapi.document import build_document
from babygun.email.events import EVENT_TYPES
from babygun.pki.sealing import new_key
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.unsubscribe.tokens import UNSUBSCRIBE_PATH
from tests.support.api import RunningApi, StartApi
from tests.support.paths import ROOT
from tests.support.tries import GONE, claimed, finished

DOCUMENT: dict[str, Any] = json.loads(json.dumps(build_document(ROUTES)))
EMAIL = {"sender": "a@example.com", "to": "ann@example.org"}
HEADERS = ("Location", "Idempotent-Replayed", "Retry-After", "WWW-Authenticate", "Set-Cookie")
DOCS = ROOT / "docs" / "api.md"


def closed(schema: Any) -> Any:
    """The schemas, which then allow no field that they don't name: so a forgotten one is found."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(value) for name, value in schema.items()}
    if made.get("type") == "object" and "properties" in made:
        made.setdefault("additionalProperties", False)
    return made


COMPONENTS = {"schemas": closed(DOCUMENT["components"]["schemas"])}


def check(value: Any, schema: Any, place: str = "") -> None:
    """Fails where ``value`` doesn't fit a schema of the document; ``place`` names the schema."""
    whole = {**schema, "components": COMPONENTS}
    OAS31Validator.check_schema(whole)
    errors = [
        f"{'/'.join(map(str, e.path))}: {e.message}"
        for e in Draft202012Validator(whole, format_checker=FormatChecker()).iter_errors(value)
    ]
    assert not errors, (place, errors)


def contents() -> list[tuple[str, Any]]:
    """Every media type object of the document, with its place."""
    found = []
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            if "requestBody" in operation:
                found += [
                    (f"{method} {path}", content)
                    for content in operation["requestBody"]["content"].values()
                ]
            for status, response in operation["responses"].items():
                found += [
                    (f"{method} {path} {status}", content)
                    for content in response.get("content", {}).values()
                ]
    return found


def test_examples_fit_their_schemas() -> None:
    for place, content in contents():
        examples = (
            [content["example"]]
            if "example" in content
            else [named["value"] for named in content["examples"].values()]
        )
        assert examples, place
        for example in examples:
            check(example, content["schema"], place)


def test_each_event_that_is_sent_has_its_schema_and_an_example() -> None:
    assert set(DOCUMENT["webhooks"]) == {*EVENT_TYPES, "test"}
    for type, item in DOCUMENT["webhooks"].items():
        body = item["post"]["requestBody"]["content"]["application/json"]
        check(body["example"], body["schema"], type)
        other = {**body["example"], "type": "accepted" if type != "accepted" else "test"}
        with pytest.raises(AssertionError):
            check(other, body["schema"], type)
    operations = [
        operation["operationId"]
        for items in (DOCUMENT["paths"], DOCUMENT["webhooks"])
        for item in items.values()
        for operation in item.values()
    ]
    assert len(operations) == len(set(operations))


def test_examples_of_fields_fit_their_schemas() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        for field, field_schema in schema["properties"].items():
            for example in field_schema.get("examples", []):
                check(example, field_schema, f"{name}.{field}")


def test_document_has_the_routes_that_are_served(settings: Settings) -> None:
    pages = (*VIEWS, FILES, UNSUBSCRIBE_PATH + "/{token}")
    served = {
        (resource.canonical, route.method)
        for resource in build_app(settings).router.resources()
        for route in resource
        if route.method != "HEAD" and resource.canonical not in pages
    }
    described = {
        (path, method.upper())
        for path, operations in DOCUMENT["paths"].items()
        for method in operations
    }
    assert described == served


def test_every_problem_type_has_an_example_and_its_page_in_the_docs() -> None:
    page = DOCS.read_text()
    for kind in TYPES:
        assert f"`{kind.slug}` | {kind.status} | " in page


def test_docs_name_every_call_and_no_other() -> None:
    named = set(
        re.findall(r"^\| `(GET|POST|PUT|PATCH|DELETE) (/[^`]*)`", DOCS.read_text(), re.MULTILINE)
    )
    assert named == {(route.method, route.path) for route in ROUTES}


def test_docs_say_what_the_cursor_of_each_listing_does() -> None:
    listings = DOCS.read_text().partition("### Listings\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"^\| `GET (/[^`]*)` \|", listings, re.MULTILINE))
    assert named == {
        route.path
        for route in ROUTES
        if route.method == "GET" and "cursor" in [p.name for p in route.parameters]
    }


def test_operation_has_all_that_its_call_declares() -> None:
    for route in ROUTES:
        operation = DOCUMENT["paths"][route.path][route.method.lower()]
        assert operation["summary"], route.name
        assert all(
            response["headers"].keys() >= {"X-Request-Id"}
            for response in operation["responses"].values()
        ), route.name
        if route.scope:
            assert operation["security"] == [{"token": []}, {"session": []}], route.name
            assert {"401", "503"} <= operation["responses"].keys(), route.name
        assert set(re.findall(r"{(\w+)}", route.path)) == {
            p["name"] for p in operation.get("parameters", []) if p["in"] == "path"
        }, route.name


def body_examples(path: str) -> dict[str, Any]:
    """The example bodies of a POST, by name."""
    body = DOCUMENT["paths"][path]["post"]["requestBody"]
    examples = body["content"]["application/json"]["examples"]
    return {name: example["value"] for name, example in examples.items()}


class Checked:
    """Calls the API, and checks the status and that the answer fits the document."""

    def __init__(self, api: RunningApi) -> None:
        self._api = api

    async def __call__(
        self,
        method: str,
        path: str,
        status: int,
        *,
        id: str = "",
        query: str = "",
        token: str | None = None,
        **arguments: Any,
    ) -> Any:
        url = path.replace("{id}", id).replace("{name}", id) + query
        answer = await self._api.call(method, url, token=token, **arguments)
        assert answer.status == status, answer.text
        response = DOCUMENT["paths"][path][method.lower()]["responses"][str(status)]
        for name in HEADERS:
            assert (name in answer.headers) <= (name in response["headers"]), name
        media_type = answer.headers["Content-Type"].split(";")[0]
        check(answer.json, response["content"][media_type]["schema"])
        return answer.json


@pytest.fixture
def checked(api: RunningApi) -> Checked:
    return Checked(api)


async def test_real_answers_on_tokens_and_sessions_fit_the_document(
    api: RunningApi, checked: Checked
) -> None:
    client, secret = await api.client()
    login = {"client_id": client.id, "client_secret": secret}
    await checked("POST", "/tokens", 200, token="", json=login)
    await checked("POST", "/tokens", 401, token="")
    await checked("GET", "/tokens", 200)
    await checked("GET", "/tokens", 401, token="x")
    for site, status in (("same-origin", 200), ("cross-site", 403)):
        headers = {"Sec-Fetch-Site": site}
        await checked("POST", "/session", status, token="", json=login, headers=headers)
    await checked("GET", "/session", 200)
    await checked("GET", "/session", 401, token="")


async def test_real_answers_on_accepted_emails_fit_the_document(checked: Checked) -> None:
    for name, body in body_examples("/emails").items():
        headers = {"Idempotency-Key": name}
        for _ in range(2):
            accepted = await checked("POST", "/emails", 202, json=body, headers=headers)
        await checked("GET", "/emails/{id}", 200, id=accepted["id"])
    await checked("POST", "/emails", 422, json={"sender": "x", "to": "y"})
    await checked("POST", "/emails", 400, data=b"{", headers={"Content-Type": "application/json"})
    batch = "/emails/batch"
    good, mixed = body_examples(batch).values()
    for _ in range(2):
        await checked("POST", batch, 202, json=good, headers={"Idempotency-Key": "batch"})
    await checked("POST", batch, 207, json=mixed, headers={"x-batch-validation": "permissive"})
    await checked("POST", batch, 422, json=mixed)
    await checked("POST", batch, 400, json=good, headers={"x-batch-validation": "x"})
    due = (datetime.now(UTC) + timedelta(days=60)).isoformat()
    await checked("POST", "/emails", 202, json={**EMAIL, "send_at": due})
    await checked("GET", "/schedule", 200)
    await checked("GET", "/schedule", 422, query="?cursor=x")


async def test_real_answers_on_one_email_and_lists_fit_the_document(
    api: RunningApi, store: Store, checked: Checked
) -> None:
    waiting = (await checked("POST", "/emails", 202, json=EMAIL))["id"]
    failed = (await checked("POST", "/emails", 202, json=EMAIL))["id"]
    await finished(store, failed, {"ann@example.org": GONE})
    for path in ("/emails/{id}", "/emails/{id}/log"):
        await checked("GET", path, 200, id=failed)
        await checked("GET", path, 404, id="x")
    await checked("POST", "/emails/{id}/retry", 200, id=failed)
    await checked("POST", "/emails/{id}/retry", 409, id=failed)
    await claimed(store, failed)
    await checked("GET", "/emails/{id}/log", 200, id=failed)
    await checked("POST", "/emails/{id}/cancel", 409, id=failed)
    await checked("POST", "/emails/{id}/cancel", 200, id=waiting)
    await checked("GET", "/emails", 200, query="?limit=2")
    await checked("GET", "/emails", 422, query="?limit=x")
    await checked("GET", "/emails", 200, query="?status=sending")
    known = {"If-None-Match": (await api.call("GET", f"/emails/{failed}")).headers["ETag"]}
    assert (await api.call("GET", f"/emails/{failed}", headers=known)).status == 304
    for what in ("cancel", "retry"):
        await checked("POST", f"/emails/{what}", 200, json={"ids": [failed, waiting, "x"]})
        await checked("POST", f"/emails/{what}", 422, json={"ids": []})


async def test_real_answers_for_operators_fit_the_document(
    api: RunningApi, checked: Checked
) -> None:
    admin = await api.token_for("admin")
    await checked("GET", "/clients", 200, token=admin)
    client = {"name": "x", "scopes": ["emails:read"]}
    made = await checked("POST", "/clients", 201, token=admin, json={**client, "rate": 1})
    await checked("POST", "/clients", 409, token=admin, json={**client, "id": made["id"]})
    await checked("DELETE", "/clients/{id}", 404, token=admin, id="nobody")
    for path in ("/workers", "/overview"):
        await checked("GET", path, 200, token=admin)
        await checked("GET", path, 403)
    for path in ("/healthz", "/readyz", "/openapi.json"):
        await checked("GET", path, 200, token="")


async def test_real_answers_on_webhooks_fit_the_document(api: RunningApi, checked: Checked) -> None:
    token = await api.token_for("webhooks")
    bodies = body_examples("/webhooks").values()
    made = [await checked("POST", "/webhooks", 201, token=token, json=body) for body in bodies]
    one = made[0]["id"]
    await checked("POST", "/webhooks", 422, token=token, json={"url": "http://x"})
    await checked("GET", "/webhooks", 200, token=token)
    await checked("GET", "/webhooks", 403)
    await checked("GET", "/webhooks/{id}", 200, token=token, id=one)
    await checked("GET", "/webhooks/{id}", 404, token=token, id="x")
    await checked("PATCH", "/webhooks/{id}", 200, token=token, id=one, json={"tags": ["a"]})
    await checked("POST", "/webhooks/{id}/secret", 200, token=token, id=one)
    await checked("POST", "/webhooks/{id}/test", 202, token=token, id=one)
    await checked("GET", "/webhooks/{id}/deliveries", 200, token=token, id=one)
    await checked("GET", "/webhooks/{id}/deliveries", 422, token=token, id=one, query="?state=x")
    for body in body_examples("/webhooks/{id}/replay").values():
        await checked("POST", "/webhooks/{id}/replay", 202, token=token, id=one, json=body)
    await checked("PATCH", "/webhooks/{id}", 200, token=token, id=one, json={"enabled": False})
    await checked("POST", "/webhooks/{id}/test", 409, token=token, id=one)


async def test_real_answers_on_domains_fit_the_document(start_api: StartApi) -> None:
    api = await start_api(secrets_keys=(new_key(),))
    checked, one = Checked(api), "/domains/{name}"
    admin = await api.token_for("admin")
    token = await api.token_for("domains")
    await checked("POST", "/domains", 201, token=token, json={"name": "example.com"})
    await checked("POST", "/domains", 409, token=token, json={"name": "example.com"})
    await checked("POST", "/domains", 422, token=token, json={"name": "com"})
    await checked("GET", "/domains", 200, token=token)
    await checked("GET", "/domains", 403)
    await checked("GET", one, 200, token=token, id="example.com")
    await checked("GET", one, 404, token=token, id="example.org")
    for body in body_examples(f"{one}/rotate").values():
        await checked("POST", f"{one}/rotate", 200, token=token, id="example.com", json=body)
    clients = {"clients": [(await api.client("domains"))[0].id]}
    await checked("PUT", f"{one}/clients", 200, token=admin, id="example.com", json=clients)
    await checked("PUT", f"{one}/clients", 403, token=token, id="example.com", json=clients)
    without = Checked(await start_api())
    await without("POST", "/domains", 503, token=token, json={"name": "example.org"})
