"""schemathesis over the OpenAPI document, against a live API.

Whatever comes in, the answer is as described, and never a 500.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from babygun.api.app import ROUTES
from babygun.api.http.routes import Route
from babygun.api.openapi.document import build_document
from babygun.runtime.settings import Settings
from babygun.store import Store
from tests.api.conftest import EMAIL, basic, running, until_ready

EXAMPLES = 40  # of each operation, with good and with bad data; four times as many with a body
SECONDS = 3.0  # for each operation and kind of data; what is not tried by then is left out
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@dataclass(frozen=True)
class Served:
    url: str
    token: str
    credentials: dict[str, str]
    email_id: str


@pytest.fixture
def served(api_settings: Settings) -> Iterator[Served]:
    """The API on a thread of its own, for schemathesis blocks."""
    ready = threading.Event()
    found: list[Served | BaseException] = []
    stops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        async with Store(api_settings) as store, running(api_settings, store) as api:
            await until_ready(api)
            api.token = await api.token_for("admin")
            client, secret = await api.client()
            found.append(Served(api.url, api.token, basic(client.id, secret), await api.accepted()))
            over = asyncio.Event()
            stops.append((asyncio.get_running_loop(), over))
            ready.set()
            await over.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            found.append(error)
            ready.set()

    thread = threading.Thread(target=run, name="api")
    thread.start()
    assert ready.wait(20)
    if isinstance(found[0], BaseException):
        thread.join()
        raise found[0]
    yield found[0]
    loop, over = stops[0]
    loop.call_soon_threadsafe(over.set)
    thread.join(20)
    assert not thread.is_alive()
    assert len(found) == 1, found[1]


def authorization(route: Route, served: Served) -> dict[str, str]:
    if route.name in ("revoke_token", "sign_out"):
        return {}  # the token would be refused in every call after
    return (
        served.credentials
        if route.credentials == "client"
        else {"Authorization": f"Bearer {served.token}"}
        if route.scope
        else {}
    )


def make_good(case: schemathesis.Case, served: Served) -> None:
    """Puts in what no random data would hit, so that the rest of it is looked at."""
    if "id" in (case.path_parameters or {}):
        case.path_parameters["id"] = served.email_id
        if "wait" in (case.query or {}):
            case.query["wait"] = "1ms"
    if case.operation.path in ("/emails", "/emails/batch"):
        for email in case.body if isinstance(case.body, list) else [case.body]:
            if isinstance(email, dict):
                email |= {"sender": EMAIL["sender"], "to": EMAIL["to"]}
                for name in ("cc", "bcc", "reply_to", "recipients"):
                    email.pop(name, None)
    elif isinstance(case.body, dict):
        case.body.pop("client_id", None)
        case.body.pop("client_secret", None)


RUNS = [
    pytest.param(route, mode, id=f"{route.name}-{mode.value}")
    for route in ROUTES
    if route.kind != "stream"  # an answer without an end: tests/api/live gives it bad input
    for mode in GenerationMode
    # Nothing else can be wrong about a call.
    if mode.is_positive or route.body or route.parameters or route.scope
]


@pytest.mark.parametrize(("route", "mode"), RUNS)
def test_calls_answer_as_described_whatever_they_are_given(
    served: Served, route: Route, mode: GenerationMode
) -> None:
    document = build_document(ROUTES)
    examples = EXAMPLES * 4 if route.body else EXAMPLES
    # Each e-mail of a list takes as long to make up as a whole body of another call.
    if route.name == "send_emails":
        document["paths"][route.path]["post"]["requestBody"]["content"]["application/json"][
            "schema"
        ]["maxItems"] = 2
        examples = EXAMPLES // 2
    schema = schemathesis.openapi.from_dict(document)
    operation = schema[route.path][route.method]
    end = time.monotonic() + SECONDS
    tried = 0

    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    def attempt(case: schemathesis.Case) -> None:
        nonlocal tried
        if time.monotonic() > end:
            return
        if tried % 8:  # else with the Authorization that schemathesis has made up
            case.headers = {
                name: value
                for name, value in (case.headers or {}).items()
                if name.lower() != "authorization"
            } | authorization(route, served)
        if tried % 2:
            make_good(case, served)
        if route.path == "/session":
            case.headers = {**(case.headers or {}), "Sec-Fetch-Site": "same-origin"}
        case.call_and_validate(base_url=served.url, checks=CHECKS, timeout=10)
        tried += 1

    attempt()
    assert tried
