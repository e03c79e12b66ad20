"""A body that is a file, read while it arrives: the call takes some media types."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from babygun.api.http.problem_types import UNSUPPORTED_MEDIA_TYPE
from babygun.api.http.problems import Problem


class FileBody:
    """``examples``: by media type, for the OpenAPI document."""

    kind = str
    required = True

    def __init__(self, examples: Mapping[str, str]) -> None:
        self.examples = examples

    def media_type(self, request: web.Request) -> str:
        """The request's. Raises the 415 problem for one that the call does not take."""
        given = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if given not in self.examples:
            raise Problem(
                UNSUPPORTED_MEDIA_TYPE,
                f"Send the body with Content-Type: {' or '.join(self.examples)}.",
                field="Content-Type",
            )
        return given
