"""Says what is wrong with bytes that are not a valid HTTP request."""

from __future__ import annotations

from aiohttp import http_exceptions

from babygun.api.http.problem_types import (
    HEADERS_TOO_LARGE,
    MALFORMED_REQUEST,
    URI_TOO_LONG,
)
from babygun.api.http.problems import Problem

MAX_HEADERS = 128  # of one request
MAX_LINE = 8190  # bytes of a request's target
MAX_FIELD = (
    8192  # bytes of a header; not MAX_LINE, so that the limit in an error shows which it was
)

MAX_HEAD = 64 << 10  # bytes of a request line and its headers together, about
LONG_HEAD = f"The headers have more than {MAX_HEAD} bytes."

# A part of the parser's message, in lower case, and what is answered. aiohttp's errors have no code
# for most of these, and their own text repeats the sender's bytes. A text that no row knows gets
# a general answer; the tests send each of these requests, so a parser with other texts is noticed.
_WORDS = (
    ("https traffic", "This port speaks plain HTTP, and was called with TLS."),
    ("host", "A request has one Host header."),
    ("content-length", "The Content-Length is no number, or does not stand alone."),
    ("chunk", "The body is not chunked as its Transfer-Encoding says."),
    ("transfer-encoding", "The Transfer-Encoding is not one that is taken."),
    ("pri/upgrade", "Speak HTTP/1.1; HTTP/2 is not spoken here."),
    ("header", "A header is not of the form Name: value."),
    ("method", "The request does not begin with a method, a path and HTTP/1.1."),
    ("version", "Speak HTTP/1.1."),
    ("url", "The request's target is not a path."),
)


def as_problem(error: BaseException | None) -> Problem:
    """The problem for what the parser raised."""
    match error:
        case http_exceptions.LineTooLong(args=(_, limit, *_)) if limit == MAX_LINE:
            return Problem(URI_TOO_LONG, f"Path and query have more than {MAX_LINE} bytes.")
        case http_exceptions.LineTooLong(args=(_, limit, *_)) if limit == MAX_FIELD:
            return Problem(HEADERS_TOO_LARGE, f"A header has more than {MAX_FIELD} bytes.")
        case http_exceptions.InvalidURLError():
            return Problem(MALFORMED_REQUEST, "The request's target is not a path.")
    said = str(error).lower()
    if "too many headers" in said:
        return Problem(HEADERS_TOO_LARGE, f"There are more than {MAX_HEADERS} headers.")
    return Problem(
        MALFORMED_REQUEST,
        next((words for part, words in _WORDS if part in said), "This is no HTTP/1.1 request."),
    )
