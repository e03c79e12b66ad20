"""How a call of the API is declared, where it is handled.

    routes = Routes("clients")

    @routes.call("GET", "/clients", summary="List the clients", scope="admin",
                 answers=[Answer(200, "All clients.", ClientList)], errors=READ_ERRORS)
    async def list_clients(request: web.Request) -> web.Response:
        \"""What the OpenAPI document says of the call.\"""

The router, the authorization and the OpenAPI document are made from these declarations
(:mod:`babygun.api.app` lists the modules that have some).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

from babygun.api.http.context import Handler
from babygun.api.http.file_body import FileBody
from babygun.api.http.json_body import JsonBody
from babygun.api.http.problem_types import (
    ETCD_UNAVAILABLE,
    OUT_OF_SPACE,
    OUTCOME_UNKNOWN,
    ProblemType,
)
from babygun.store.records import Scope

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Tag = Literal[
    "tokens",
    "clients",
    "emails",
    "domains",
    "webhooks",
    "suppressions",
    "recipients",
    "operations",
]
Kind = Literal["usual", "probe", "stream"]

# The scopes whose calls are audited if they change something.
_AUDITED: frozenset[str | None] = frozenset({"admin", "domains", "webhooks"})

READ_ERRORS = (ETCD_UNAVAILABLE,)
"""What a call that asks etcd can end in."""
WRITE_ERRORS = (*READ_ERRORS, OUTCOME_UNKNOWN, OUT_OF_SPACE)
"""What a call that changes something in etcd can end in."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """``type``: from which the schema is made, such as ``Annotated[int, Meta(ge=1)]``.

    In a query, a Literal is also checked before the handler runs. ``repeats``: it may be given
    several times.
    """

    name: str
    where: Literal["path", "query", "header"]
    type: Any
    description: str
    example: str | int | None = None
    default: str | int | None = None
    repeats: bool = False

    @property
    def choices(self) -> tuple[str, ...]:
        """What it may be, where its type is a Literal."""
        return get_args(self.type) if get_origin(self.type) is Literal else ()


@dataclass(frozen=True, slots=True)
class Header:
    """A header of an answer."""

    name: str
    description: str
    type: Any = str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call answers when it succeeds. ``document``: a Struct, str or bytes; None: no body.

    ``example``: what comes back for the first example of the request. Of a Struct, also of one in
    a list: the fields that differ from the examples that its own fields name. ``more``: further
    media types, each with its example.
    """

    status: int
    description: str
    document: Any = None
    example: Any = None
    headers: tuple[Header, ...] = ()
    media_type: str = "application/json"
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A call as it was declared. ``name``: the handler's."""

    method: Method
    path: str
    handler: Handler
    name: str
    tag: Tag
    summary: str
    description: str
    scope: Scope | Literal["any"] | None
    credentials: Literal["client", "metrics"] | None
    parameters: Sequence[Parameter]
    body: JsonBody[Any] | FileBody | None
    answers: Sequence[Answer]
    errors: Sequence[ProblemType]
    kind: Kind
    audit: bool | None

    @property
    def operation_id(self) -> str:
        """As the OpenAPI document and the audit name it: ``delete_client`` is ``deleteClient``."""
        first, *others = self.name.split("_")
        return first + "".join(word.title() for word in others)

    @property
    def audited(self) -> bool:
        """Whether the audit says who made the call."""
        if self.audit is not None:
            return self.audit
        return self.method != "GET" and self.scope in _AUDITED

    @property
    def needs_cluster(self) -> bool:
        """Whether it is refused until etcd has confirmed that its contents are this cluster's.

        Calls for operators are not: they help to find out why.
        """
        return self.tag != "operations"


class Routes:
    """The calls that one module handles."""

    def __init__(self, tag: Tag) -> None:
        self._tag: Tag = tag
        self._routes: list[Route] = []

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def call(
        self,
        method: Method,
        path: str,
        *,
        summary: str,
        answers: Sequence[Answer],
        scope: Scope | Literal["any"] | None = None,
        credentials: Literal["client", "metrics"] | None = None,
        parameters: Sequence[Parameter] = (),
        body: JsonBody[Any] | FileBody | None = None,
        errors: Sequence[ProblemType] = (),
        kind: Kind = "usual",
        audit: bool | None = None,
    ) -> Callable[[Handler], Handler]:
        """Declares the decorated handler; its docstring is for the callers of the API.

        ``scope``: which the token must have; "any": each valid token will do; None: none is asked
        for. ``credentials``: others than a token, which the handler checks itself. ``errors``:
        beside those that its scope and its body bring along. ``kind``: a probe is called every few
        seconds, and a stream is open for hours. So both have rules of their own in the access log
        and in traces. ``audit``: whether the audit says who made it; by default it does if the call
        changes what the scopes admin, domains and webhooks protect.
        """

        def declare(handler: Handler) -> Handler:
            self._routes.append(
                Route(
                    method=method,
                    path=path,
                    handler=handler,
                    name=handler.__name__,
                    tag=self._tag,
                    summary=summary,
                    description=" ".join((inspect.getdoc(handler) or "").split()),
                    scope=scope,
                    credentials=credentials,
                    parameters=parameters,
                    body=body,
                    answers=answers,
                    errors=errors,
                    kind=kind,
                    audit=audit,
                )
            )
            return handler

        return declare
