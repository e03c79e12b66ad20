"""What the table of calls says of each: path, handler, who may, and how the OpenAPI document tells of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from babygun.api.http import problem_types as problems
from babygun.api.http.access_log import Handler
from babygun.api.http.problem_types import ProblemType
from babygun.store.records import Scope

# "token": any valid token.  None: nobody is asked for one.
Needs = Scope | Literal["token"] | None


@dataclass(frozen=True, slots=True)
class Parameter:
    """``where``: path, query or header."""

    name: str
    where: Literal["path", "query", "header"]
    description: str
    schema: dict[str, Any]
    example: str | int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call answers when it succeeds. ``document``: a Struct of documents or tokens, or ``str``; None: no body."""

    status: int
    description: str
    document: Any = None
    example: Any = None
    headers: tuple[str, ...] = ()  # names from openapi's table
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    method: Literal["GET", "POST", "DELETE"]
    path: str
    handler: Handler
    operation: str  # the OpenAPI operationId
    summary: str
    description: str = ""
    tag: Literal["tokens", "clients", "emails", "operations"]
    needs: Needs = None
    not_modified: bool = False  # may answer 304 to an If-None-Match
    basic: bool = False  # HTTP Basic is taken
    metrics_token: bool = False  # the setting metrics_token is asked for, where it is set
    parameters: tuple[Parameter, ...] = ()
    body: Any = None  # a Struct, or an annotated list of one
    body_required: bool = True
    body_examples: dict[str, Any] = field(default_factory=dict)
    answer: Answer
    other_answers: tuple[Answer, ...] = ()
    problems: tuple[ProblemType, ...] = ()  # beside those that its body and its token bring along


READS = (problems.ETCD_UNAVAILABLE, problems.OUTCOME_UNKNOWN)
"""What a call that asks etcd can end in."""
WRITES = (*READS, problems.OUT_OF_SPACE)
"""What a call that changes something in etcd can end in."""
