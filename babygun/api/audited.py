"""The audit of calls: who made one, what it asked for, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from aiohttp import web
from msgspec import UNSET

from babygun.api.http.caller import caller_of
from babygun.api.http.context import STORE, Call, Handler, call_of
from babygun.api.http.problem_types import INTERNAL, OUTCOME_UNKNOWN
from babygun.api.http.problems import from_exception
from babygun.api.http.routes import Route
from babygun.email.addresses import hash_of, parse_address
from babygun.store.audit.entries import Outcome, Recording, new_entry, recorded

# Texts of a request that an entry quotes. Numbers and flags are quoted whatever their name is.
# Others may be secrets, or what people wrote.
_QUOTED = frozenset(
    {
        *("id", "name", "scopes", "clients", "events", "tags", "list"),
        *("dry_run", "suppressions"),
        *("lasts", "reason", "since", "until", "after", "before", "outcome"),
    }
)


def audited(route: Route) -> Handler:
    """The route's handler, with an audit entry around it.

    The entry is written before the handler runs. A call that was refused has changed nothing, so
    its entry is deleted again. A full etcd takes no entries, and has to let calls delete.
    """

    async def handle(request: web.Request) -> web.StreamResponse:
        call = call_of(request)
        entry = new_entry(
            route.operation_id,
            by=call.client,
            via="api",
            target=_target(request.match_info),
            details=dict(_texts(request.query)),
            address=caller_of(request).address,
            request_id=call.request_id,
        )
        deletes = route.method == "DELETE"
        async with recorded(request.app[STORE], entry, deletes=deletes) as recording:
            try:
                response = await route.handler(request)
            except Exception as error:
                _failed(recording, call, error)
                raise
            recording.add(target=_named(response), details=_asked(call) | _quoted(call.result))
            return response

    return handle


def _failed(recording: Recording, call: Call, error: Exception) -> None:
    problem = from_exception(error)
    recording.refused = problem.kind.status < 500
    outcome: Outcome = "unknown" if problem.kind in (INTERNAL, OUTCOME_UNKNOWN) else "failed"
    recording.outcome = outcome
    recording.add(details=_asked(call))


def _target(path: Mapping[str, str]) -> str:
    """What the path names, an address as its hash."""
    return "/".join(_without_address(part) for part in path.values())


def _without_address(text: str) -> str:
    if "@" not in text:
        return text
    try:
        return hash_of(parse_address(text).email)
    except ValueError:
        return "…"


class _Named(msgspec.Struct, frozen=True):
    """What an answer may say of a thing that the call has made."""

    id: str = ""
    name: str = ""


def _named(response: web.StreamResponse) -> str:
    body = getattr(response, "body", None)
    if response.status != 201 or not isinstance(body, bytes):
        return ""
    named = msgspec.json.decode(body, type=_Named)
    return named.id or named.name


def _asked(call: Call) -> dict[str, str]:
    """What the body asked for, as far as it may be quoted."""
    return _quoted(call.body)


def _quoted(value: object) -> dict[str, str]:
    if not isinstance(value, msgspec.Struct):
        return {}
    # Where a field that is left out is not null, null asks for something: a limit is taken away.
    asking = {field.name for field in msgspec.structs.fields(value) if field.default is UNSET}
    fields = msgspec.structs.asdict(value)
    return {
        **dict(_texts(fields)),
        **{name: "none" for name in asking if fields[name] is None},
    }


def _texts(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        if isinstance(value, bool):
            yield name, "yes" if value else "no"
        elif isinstance(value, int | float):
            yield name, f"{value:g}" if isinstance(value, float) else str(value)
        elif name in _QUOTED and isinstance(value, str):
            yield name, value
        elif name in _QUOTED and isinstance(value, list | tuple):
            yield name, ", ".join(map(str, value))
