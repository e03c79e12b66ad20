"""Compares a documented answer with a real one: what the request says, and what it can't say."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

# What no request determines, by its form: such texts need not be equal, only alike.
_FORMS = (
    (r"eyJ[\w.-]+…?", "<token>"),
    (r"\b[0-9a-f]{64}\b", "<64 hex digits>"),
    (r"whsec_[A-Za-z0-9+/=]{44}", "whsec_<base64 of 32 bytes>"),
    (r"\bp=[A-Za-z0-9+/=]{40,}", "p=<the public key>"),
    (r"\b20\d\d-\d\d-\d\dT[\d:.]+Z", "<time>"),
    (r"\b20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC", "<time>"),
    (r"\b20\d\d-\d\d-\d\d\b", "<day>"),
    (r"\b\w{3}, \d\d \w{3} 20\d\d [\d:]{8} [+-]\d{4}", "<time>"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<id>"),
    (r"\bid=20\d{12}\b", "id=<time>"),
    (r"\bwh_[0-9a-f]{24}\b", "<webhook>"),
    (r"\b[\w-]+-[0-9a-f]{10}\b", "<process>"),
    (r"\bbg[0-9a-f]{8}\b", "<selector>"),
    (r"\b[0-9a-f]{8}\b", "<key>"),
    (r"\b[0-9a-f]{16}\b", "<short id>"),
    (r"(?m)^id: \d+(\.\d+)?$", "id: <position>"),
    (r"(?m)^(babygun_\w+) [\d.e+]+$", r"\1 <number>"),
)


def form_of(text: str) -> str:
    """The text with ids, times and secrets replaced by what they are."""
    for pattern, name in _FORMS:
        text = re.sub(pattern, name, text)
    return text


class Told:
    """How a documented answer differs from a real one.

    ``request``: as it was sent; what stands in it must come back as it is. ``names``: what made-up
    names of the document are in the test. ``free``: fields whose values only the state determines,
    each by the end of its place. They are compared by kind only.
    """

    def __init__(self, request: str, names: Mapping[str, str], free: Collection[str]) -> None:
        self._request, self._names, self._free = request, names, tuple(free)

    def differences(self, told: Any, real: Any, place: str = "") -> Iterator[str]:
        if isinstance(told, dict) and isinstance(real, dict):
            for name in [*told, *(name for name in real if name not in told)]:
                inner = f"{place}.{name}" if place else name
                if name in told and name in real:
                    yield from self.differences(told[name], real[name], inner)
                else:
                    yield f"{inner}: only {'documented' if name in told else 'answered'}"
        elif self._is_free(place):
            if _kind(told) != _kind(real):
                yield _difference(place, told, real)
        elif isinstance(told, list) and isinstance(real, list):
            if len(told) != len(real):
                yield _difference(place, told, real)
            for number, pair in enumerate(zip(told, real, strict=False)):
                yield from self.differences(*pair, f"{place}[{number}]")
        elif isinstance(told, str) and isinstance(real, str):
            if not self._is_alike(told, real):
                yield _difference(place, told, real)
        elif told != real or isinstance(told, bool) != isinstance(real, bool):
            yield _difference(place, told, real)

    def _is_free(self, place: str) -> bool:
        plain = "." + re.sub(r"\[\d+\]", "", place)
        return plain.endswith(tuple(f".{name}" for name in self._free))

    def _is_alike(self, told: str, real: str) -> bool:
        meant = told
        for name, value in self._names.items():
            meant = meant.replace(name, value)
        if meant == real:
            return True
        return bool(meant not in self._request and form_of(meant) == form_of(real))


def _kind(value: Any) -> type:
    return float if type(value) is int else type(value)


def _difference(place: str, told: Any, real: Any) -> str:
    return f"{place}: documented {told!r}, answered {real!r}"
