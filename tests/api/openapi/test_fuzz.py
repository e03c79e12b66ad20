"""schemathesis over the OpenAPI document, against a live API.

Whatever comes in, the answer is as described, and never a 500.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import hypothesis
import pytest

from babygun.api.app import ROUTES
from babygun.api.http.routes import Route
from babygun.api.openapi.document import build_document
from babygun.pki.sealing import new_key
from babygun.runtime.settings import Settings
from babygun.store import Store
from tests.support.api import EMAIL, basic, running, until_ready
from tests.support.dns_servers import failing, scripted
from tests.support.etcd_server import Etcd
from tests.support.machines import LONG

if TYPE_CHECKING:  # it takes a second to load, in each process of a test run
    import schemathesis

# A long run (tests/support/machines.py) makes up others each time, and ten times as many.
TIMES = 10 if LONG else 1
EXAMPLES = 6 * TIMES  # of each call, with good and with bad data
BODIES = 10 * TIMES  # of each call that takes a body
BATCHES = 6 * TIMES  # each e-mail of one takes as long to make up as a body of another call
DOMAIN = "shop.example.com"
WEBHOOK_URL = "https://shop.example.com/mail"
# Words of libraries, which no answer repeats: msgspec's, Python's, aiohttp's.
THEIRS = re.compile(
    "Expected `|Invalid |Object contains|isoformat|invalid literal|codec can|object at 0x|<class"
    "|Traceback|NoneType|Unsupported|could not convert"
)


def own_words(
    context: schemathesis.CheckContext, answer: schemathesis.Response, case: schemathesis.Case
) -> None:
    if answer.status_code >= 400:
        problem = answer.json()
        said = [problem["detail"], *(broken["detail"] for broken in problem.get("errors", ()))]
        assert not [detail for detail in said if THEIRS.search(detail)]


@cache
def checks() -> list[schemathesis.CheckFunction]:
    """What holds of every answer."""
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    return [
        own_words,
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_headers_conformance,
        checks.response_schema_conformance,
    ]


@dataclass(frozen=True)
class Served:
    url: str
    token: str
    credentials: dict[str, str]


@pytest.fixture(scope="module")
def served(etcd_server: Etcd) -> Iterator[Served]:
    """The API on a thread of its own: schemathesis blocks."""
    settings = Settings(
        etcd_endpoints=(etcd_server.endpoint,),
        prefix=f"/fuzz-{secrets.token_hex(6)}/",
        api_host="127.0.0.1",
        api_port=0,
        relay_url="smtp://127.0.0.1:2525",
        drain_timeout=2.0,
        etcd_timeout=30.0,
        secrets_keys=(new_key(),),
        require_domains=False,
    )
    started: Future[Served] = Future()
    stops: list[Callable[[], object]] = []

    async def serve() -> None:
        async with (
            scripted(failing) as resolver,
            Store(settings) as store,
            running(replace(settings, resolvers=(resolver,)), store) as api,
        ):
            await until_ready(api)
            token = await api.token_for("admin")
            client, secret = await api.client()
            over, loop = asyncio.Event(), asyncio.get_running_loop()
            stops.append(lambda: loop.call_soon_threadsafe(over.set))
            started.set_result(Served(api.url, token, basic(client.id, secret)))
            await over.wait()

    with ThreadPoolExecutor(1) as threads:
        serving = threads.submit(asyncio.run, serve())
        wait([started, serving], timeout=30, return_when=FIRST_COMPLETED)
        if serving.done():
            serving.result()
        yield started.result()
        stops[0]()
        serving.result(30)


@pytest.fixture
def id(served: Served, route: Route) -> str:
    """Of what the route's path names: an e-mail that no other test has changed, or a webhook."""
    if not route.path.startswith("/webhooks"):
        return str(called(served, "/emails", EMAIL)["id"])
    try:
        return str(called(served, "/webhooks", {"url": WEBHOOK_URL})["id"])
    except urllib.error.HTTPError as error:  # the client has ten
        error.close()
        return str(called(served, "/webhooks")["webhooks"][0]["id"])


def called(served: Served, path: str, body: object = None) -> Any:
    """The answer. Without a body it is a GET."""
    request = urllib.request.Request(
        f"{served.url}{path}",
        None if body is None else json.dumps(body).encode(),
        {"Authorization": f"Bearer {served.token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


@cache
def schema() -> schemathesis.BaseSchema:
    """The document, with small batches. It is read once: that takes 0.3 s."""
    import schemathesis

    schemathesis.serializer.alias("application/x-ndjson", "text/plain")
    document = deepcopy(build_document(ROUTES))  # its examples are those of the calls
    batch = document["paths"]["/emails/batch"]["post"]["requestBody"]["content"]
    batch["application/json"]["schema"]["maxItems"] = 2
    return schemathesis.openapi.from_dict(document)


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


def make_good(case: schemathesis.Case, id: str) -> None:
    """Puts in what no random data would hit, so that the rest of it is checked."""
    # The look itself waits for DNS: tests/domains has it.
    domain = "nobodys.example" if case.operation.path.endswith("/verify") else DOMAIN
    for name, value in (("id", id), ("name", domain), ("email", EMAIL["to"])):
        if name in (case.path_parameters or {}):
            case.path_parameters[name] = value
    if "wait" in (case.query or {}):
        case.query["wait"] = "1ms"
    if case.operation.path.startswith("/suppressions"):
        _make_good_suppressions(case)
    if case.operation.path in ("/emails", "/emails/batch"):
        for email in case.body if isinstance(case.body, list) else [case.body]:
            if isinstance(email, dict):
                email |= {"sender": EMAIL["sender"], "to": EMAIL["to"]}
                for name in ("cc", "bcc", "reply_to", "recipients"):
                    email.pop(name, None)
    elif isinstance(case.body, dict):
        if case.body.get("url"):
            case.body["url"] = WEBHOOK_URL
        if case.operation.path == "/domains":
            case.body["name"] = DOMAIN
        case.body.pop("secret", None)
        case.body.pop("client_id", None)
        case.body.pop("client_secret", None)


def _make_good_suppressions(case: schemathesis.Case) -> None:
    case.query = {name: value for name, value in (case.query or {}).items() if name != "client"}
    if isinstance(case.body, str):
        case.body = f"email\n{EMAIL['to']}\n{case.body}"
    elif isinstance(case.body, dict):
        case.body["email"] = EMAIL["to"]


RUNS = [
    pytest.param(route, mode, id=f"{route.name}-{mode}")
    for route in ROUTES
    if route.kind != "stream"  # an answer without an end: tests/api/live gives it bad input
    for mode in ("positive", "negative")
    # Nothing else can be wrong about a call.
    if mode == "positive" or route.body or route.parameters or route.scope
]


@pytest.mark.parametrize(("route", "mode"), RUNS)
def test_calls_answer_as_described_whatever_they_are_given(
    served: Served, id: str, route: Route, mode: Literal["positive", "negative"]
) -> None:
    from schemathesis.generation import GenerationMode

    examples = BATCHES if route.name == "send_emails" else BODIES if route.body else EXAMPLES
    operation = schema()[route.path][route.method]
    tried = 0

    @hypothesis.given(case=operation.as_strategy(generation_mode=GenerationMode(mode)))
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=not LONG,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    def attempt(case: schemathesis.Case) -> None:
        nonlocal tried
        if tried % 8:  # else with the Authorization that schemathesis has made up
            case.headers = {
                name: value
                for name, value in (case.headers or {}).items()
                if name.lower() != "authorization"
            } | authorization(route, served)
        if tried % 2:
            make_good(case, id)
        if route.path == "/session":
            case.headers = {**(case.headers or {}), "Sec-Fetch-Site": "same-origin"}
        case.call_and_validate(base_url=served.url, checks=checks(), timeout=30)
        tried += 1

    attempt()
    assert tried
