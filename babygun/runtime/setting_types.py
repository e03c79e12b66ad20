"""The types of settings: how a value is read from text and written as text."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from babygun.runtime.listening import is_loopback
from babygun.runtime.networks import Network

LAST_PORT = 65535
_URL_MAX = 200  # characters: a link to it has to fit a line of a message's header
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def parse_duration(text: str) -> float:
    """Seconds from ``90s``, ``10m``, ``1.5h``, ``7d``, ``250ms``, ``0``; raises ValueError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?\s*", text)
    if not match:
        raise ValueError(f"{text!r} is not a duration such as 30s, 10m, 1h or 7d")
    number, unit = float(match[1]), match[2]
    if number and not unit:
        raise ValueError(f"{text!r} has no unit: write {match[1]}s, {match[1]}m, …h or …d")
    return number * _UNITS[unit or "s"]


def write_duration(seconds: float) -> str:
    """``10m``: the text of a duration in the largest unit that gives a whole number."""
    unit = next(
        (
            unit
            for unit, size in reversed(_UNITS.items())
            if seconds and round(seconds / size, 9).is_integer()
        ),
        "ms" if 0 < seconds < 1 else "s",
    )
    return f"{round(seconds / _UNITS[unit], 9):.12g}{unit}"


def parse_size(text: str) -> int:
    """Bytes from ``65536B``, ``512KiB``, ``25MiB``, ``8GiB``, ``0``; raises ValueError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([kmg]?)i?(b?))\s*", text.lower())
    if not match:
        raise ValueError(f"{text!r} is not a size such as 65536B, 512KiB or 25MiB")
    number, unit = float(match[1]), match[2]
    if number and not (unit or match[3]):
        raise ValueError(f"{text!r} has no unit: write {match[1]}B, …KiB, …MiB or …GiB")
    return int(number * _SIZES[unit])


def write_size(count: int) -> str:
    """``25MiB``: the text of a size in the largest unit that gives a whole number."""
    unit = next(
        (unit for unit, size in reversed(_SIZES.items()) if count and count % size == 0), ""
    )
    return f"{count // _SIZES[unit]}" + (f"{unit.upper()}iB" if unit else "B" if count else "")


class Type(NamedTuple):
    """``name``: in the docs. ``parse`` raises ValueError."""

    name: str
    parse: Callable[[str], Any]
    write: Callable[[Any], str]


def one_of(*choices: str) -> Type:
    names = ", ".join(choice or "empty" for choice in choices)

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} is none of {names}")
        return text

    return Type(names, parse, str)


def _parse_flag(text: str) -> bool:
    if text.strip().lower() not in ("yes", "no", ""):
        raise ValueError(f"{text!r} is neither yes nor no")
    return text.strip().lower() == "yes"


def _parse_number(text: str) -> int:
    if not re.fullmatch(r"\s*\d+\s*", text):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _parse_list(text: str) -> tuple[str, ...]:
    return tuple(word for word in re.split(r"[,\s]+", text.strip()) if word)


def _parse_durations(text: str) -> tuple[float, ...]:
    return tuple(map(parse_duration, _parse_list(text)))


def _parse_numbers(text: str) -> tuple[int, ...]:
    return tuple(map(_parse_number, _parse_list(text)))


def _write_numbers(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _parse_dates(text: str) -> dict[str, date]:
    found = {}
    for each in _parse_list(text):
        name, _, day = each.rpartition("=")
        try:
            found[name] = date.fromisoformat(day)
        except ValueError:
            name = ""
        if not name:
            raise ValueError(f"{each!r} is not of the form name=2026-01-31")
    return found


def _write_dates(dates: Mapping[str, date]) -> str:
    return ", ".join(f"{name}={day}" for name, day in dates.items())


def _parse_networks(text: str) -> tuple[Network, ...]:
    return tuple(map(_parse_network, _parse_list(text)))


def _parse_network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is no network such as 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32"
        ) from None


def _parse_addresses(text: str) -> tuple[str, ...]:
    return tuple(map(_parse_address, _parse_list(text)))


def _parse_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{text!r} is no address such as 192.0.2.7 or 2001:db8::7") from None


def _parse_resolvers(text: str) -> tuple[str, ...]:
    return tuple(map(_parse_resolver, _parse_list(text)))


def _parse_resolver(text: str) -> str:
    address, at, port = text.partition("@")
    if at and not (port.isascii() and port.isdigit() and 0 < int(port) <= LAST_PORT):
        raise ValueError(f"{text!r} is not of the form 192.0.2.7 or 127.0.0.1@5353")
    return _parse_address(address) + at + port


def _parse_local_resolver(text: str) -> str:
    """Only the way to this machine itself is safe from forgers; empty for none."""
    if not (given := text.strip()):
        return ""
    resolver = _parse_resolver(given)
    if not is_loopback(resolver.partition("@")[0]):
        raise ValueError(f"{text!r} is not on this machine: give one such as 127.0.0.1@5353")
    return resolver


def _parse_public_url(text: str) -> str:
    """A URL at which others reach the API, without a slash at its end; empty for none."""
    url = text.strip().rstrip("/")
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or not re.fullmatch(r"https?://[A-Za-z0-9.\[\]:-]+(/[A-Za-z0-9._~/-]*)?", url):
        raise ValueError(
            f"{text!r} is no URL such as https://mail.example.com, in ASCII, without a user, a"
            " query and a fragment"
        )
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError(f"{text!r} is not https: only this machine's own addresses may be http")
    if len(url) > _URL_MAX:
        raise ValueError(f"it has {len(url)} characters; the most is {_URL_MAX}")
    return url


def _parse_sender_id(text: str) -> str:
    sender_id = text.strip()
    if sender_id and not re.fullmatch(r"[A-Za-z0-9._-]{5,15}", sender_id):
        raise ValueError(f"{text!r} is not 5 to 15 letters, digits and . _ -")
    return sender_id


def _write_networks(networks: Sequence[Network]) -> str:
    return ", ".join(map(str, networks))


def _parse_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


TEXT = Type("text", str, str)
FLAG = Type("yes or no", _parse_flag, lambda value: "yes" if value else "no")
SENDER_ID = Type("5 to 15 letters, digits and . _ -", _parse_sender_id, str)
PUBLIC_URL = Type("URL", _parse_public_url, str)
NUMBER = Type("number", _parse_number, str)
DURATION = Type("duration", parse_duration, write_duration)
SIZE = Type("size", parse_size, write_size)
LIST = Type("list", _parse_list, ", ".join)
DURATIONS = Type(
    "list of durations", _parse_durations, lambda value: ", ".join(map(write_duration, value))
)
ADDRESSES = Type("list of addresses", _parse_addresses, ", ".join)
NUMBERS = Type("list of numbers", _parse_numbers, _write_numbers)
DATES = Type("list of name=date", _parse_dates, _write_dates)
RESOLVERS = Type(
    "list of addresses, each with @port if that is not 53", _parse_resolvers, ", ".join
)
LOCAL_RESOLVER = Type(
    "address on this machine, with @port if that is not 53", _parse_local_resolver, str
)
NETWORKS = Type("list of networks", _parse_networks, _write_networks)
OBJECT = Type("table (JSON object in a variable)", _parse_object, json.dumps)
