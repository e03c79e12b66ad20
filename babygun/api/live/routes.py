"""The calls that show what goes on: the overview, and the stream of what changes."""

from __future__ import annotations

from babygun.api.http import problem_types as problems
from babygun.api.http.route import READS, Answer, Parameter, Route
from babygun.api.live import stream
from babygun.api.openapi import examples
from babygun.api.operations import overview

_LAST_ID = "The id of the last event that was heard: the stream goes on behind it."

ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/overview",
        handler=overview.show_overview,
        operation="showOverview",
        summary="See how it goes",
        description=(
            "Rates now and over the last hour, depths of the queues, live workers and API processes, etcd's members. What etcd says is up to two seconds old; "
            "where it does not answer, the call answers within a second all the same, says so, and leaves out what only etcd knows."
        ),
        tag="operations",
        needs="workers:read",
        answer=Answer(200, "The state at this moment.", overview.Overview, examples.OVERVIEW),
    ),
    Route(
        method="GET",
        path="/events",
        handler=stream.show_events,
        operation="showEvents",
        summary="Hear what changes, live",
        description=(
            "Server-Sent Events until one side ends it. `email`: an e-mail that has changed, as the listing shows it; `gone`: the `id` of one that was removed; "
            "`overview`: as `GET /overview` without `history`, every second to those with the scope `workers:read`; "
            "`reset`: not everything could be told, for this `reason`, so load again what you show. docs/api.md says more."
        ),
        tag="emails",
        needs="emails:read",
        parameters=(
            Parameter(
                "id", "query", "Hear of this e-mail only.", {"type": "string"}, examples.EMAIL_ID
            ),
            Parameter(
                "only",
                "query",
                "Hear the overview only, which needs the scope `workers:read`.",
                {"type": "string", "enum": ["overview"]},
            ),
            Parameter(
                "last_event_id",
                "query",
                f"{_LAST_ID} The header goes before it.",
                {"type": "string"},
                "4711",
            ),
            Parameter("Last-Event-ID", "header", _LAST_ID, {"type": "string"}, "4711.4708"),
        ),
        answer=Answer(200, "The stream.", str, examples.EVENTS, media_type="text/event-stream"),
        problems=(
            problems.INVALID_REQUEST,
            problems.NOT_FOUND,
            problems.TOO_MANY_LISTENERS,
            *READS,
        ),
    ),
)
