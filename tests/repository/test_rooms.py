"""The rooms: imports go downwards only, and each outside library has one room that knows it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PACKAGE = ROOT / "babygun"

# Each room, what it is for, and the rooms that it may import. All may import `errors`.
ROOMS: dict[str, tuple[str, set[str]]] = {
    "runtime": ("how a process runs", set()),
    "email": ("what an e-mail is, pure", set()),
    "mime": ("an e-mail as bytes, pure", {"email"}),
    "etcd": ("a thin client of etcd that knows nothing of e-mail", {"runtime"}),
    "pki": ("certificates, made and checked", {"runtime"}),
    "dns": ("asks resolvers, and remembers what they say", {"runtime"}),
    "routing": ("where a recipient's mail goes", {"dns", "email", "runtime"}),
    "smtp": ("SMTP as a client", {"email", "mime", "routing", "runtime", "pki"}),
    "store": (
        "what etcd knows, and the only way to change it",
        {"etcd", "email", "routing", "runtime", "pki"},
    ),
    "intake": (
        "the one door by which e-mails come in",
        {"email", "mime", "routing", "store", "runtime"},
    ),
    "tls_policies": (
        "finds the MTA-STS policies of recipients' domains",
        {"dns", "routing", "store", "runtime"},
    ),
    "tls_reports": (
        "counts how connections used TLS, and reports it to the domains that ask",
        {"dns", "email", "routing", "smtp", "store", "tls_policies", "runtime"},
    ),
    "consumer": (
        "what all share who consume keys of a slice",
        {"email", "store", "runtime"},
    ),
    "domains": (
        "the DNS records of sending domains: wanted and found",
        {"dns", "email", "routing", "store", "runtime"},
    ),
    "worker": (
        "claims jobs and delivers them",
        {
            "consumer",
            "domains",
            "email",
            "mime",
            "smtp",
            "routing",
            "store",
            "tls_policies",
            "tls_reports",
            "runtime",
        },
    ),
    "webhooks": (
        "sends notices to the webhooks of clients",
        {"consumer", "dns", "email", "routing", "store", "runtime"},
    ),
    "bounces": (
        "what comes back about an e-mail, read",
        {"email", "smtp", "store", "runtime", "pki"},
    ),
    "api": (
        "HTTP",
        {
            *("domains", "intake", "store", "email", "mime"),
            *("routing", "runtime", "pki", "tls_reports"),
        },
    ),
    "dev": (
        "`babygun dev`: everything on one machine",
        {"store", "etcd", "pki", "email", "runtime"},
    ),
    "cli": (
        "the command line, one module a verb",
        {
            "api",
            "worker",
            "bounces",
            "webhooks",
            "consumer",
            "domains",
            "tls_policies",
            "dev",
            "intake",
            "smtp",
            "store",
            "etcd",
            "email",
            "mime",
            "routing",
            "dns",
            "runtime",
            "pki",
        },
    ),
}

# The same inside the rooms that have sub-rooms. The room's own modules may import all of these.
SUB_ROOMS: dict[str, dict[str, tuple[str, set[str]]]] = {
    "store": {
        "store.cluster": (
            "who is there, and whether all is well",
            {"store.access", "store.audit", "store.emails", "store.sites"},
        ),
        "store.access": (
            "API clients, their tokens, and etcd's own users",
            {"store.audit", "store.upkeep", "store.webhooks"},
        ),
        "store.audit": ("who changed what, by the API or by a command", set()),
        "store.erasure": (
            "all that etcd has of one recipient: found, erased, exported",
            {"store.emails", "store.suppressions", "store.webhooks"},
        ),
        "store.changes": ("what changes, as it changes", set()),
        "store.emails": (
            "the transitions of an e-mail, and reading them",
            {"store.suppressions", "store.upkeep", "store.webhooks"},
        ),
        "store.suppressions": ("addresses that a client's mail does not go to", set()),
        "store.webhooks": ("webhooks, their notices, and the outbox", {"store.upkeep"}),
        "store.domains": (
            "sending domains, who holds them, and their DKIM keys",
            {"store.access"},
        ),
        "store.sites": ("limits and holds that all workers share", set()),
        "store.upkeep": ("retention, shedding, compaction", set()),
        "store.tls_policies": ("the MTA-STS policies of recipients' domains", set()),
        "store.tls_reports": ("what TLS reports are made of, and the reports", set()),
        "store.warm_ups": (
            "warm-ups: since when sources send, and how much of each day is used",
            set(),
        ),
        "store.unsubscribe": (
            "links to unsubscribe: their keys, and what one of them does",
            {"store.suppressions", "store.webhooks"},
        ),
    },
    "worker": {
        "worker.sites": ("what may be sent to each site now", set()),
    },
    "api": {
        "api.http": ("what every call shares; knows nothing of e-mails or clients", set()),
        "api.access": ("who may call", {"api.http"}),
        "api.emails": ("the calls on e-mails", {"api.http", "api.access"}),
        "api.domains": ("the calls on sending domains", {"api.http", "api.access"}),
        "api.webhooks": ("the calls on webhooks", {"api.http", "api.access", "api.emails"}),
        "api.suppressions": (
            "the calls on suppressions",
            {"api.http", "api.access", "api.emails"},
        ),
        "api.recipients": (
            "the calls on a recipient's data",
            {"api.http", "api.access", "api.emails"},
        ),
        "api.operations": (
            "the calls for operators",
            {"api.http", "api.access", "api.emails", "api.domains"},
        ),
        "api.live": (
            "what changes, as it changes",
            {"api.http", "api.access", "api.emails", "api.operations"},
        ),
        "api.openapi": (
            "the OpenAPI document",
            {
                "api.http",
                "api.access",
                "api.emails",
                "api.webhooks",
                "api.operations",
                "api.live",
            },
        ),
        "api.unsubscribe": (
            "the page behind a link to unsubscribe",
            {"api.http", "api.access"},
        ),
        "api.page": ("the web page", {"api.http"}),
    },
}
SHARED = {
    "store": {
        "store.keys",
        "store.codec",
        "store.followed",
        "store.newest_first",
        "store.records",
        "store.secret_keys",
        "store.settled",
        "store.store",
    },
    "api": set(),
    "worker": {"worker.results"},
}  # modules of the room itself that its sub-rooms may use
OUTSIDE_API_FLOORS = 6  # `api` is at most this many floors of sub-rooms and modules deep

# The rooms that reach no clock, settings, logger or I/O, and all that they may import from outside.
PURE = {"email", "mime"}
PURE_IMPORTS = {
    "__future__",
    "base64",
    "binascii",
    "collections",
    "datetime",
    "email.utils.format_datetime",
    "functools",
    "hashlib",
    "hmac.compare_digest",
    "html.unescape",
    "idna",
    "ipaddress",
    "msgspec",
    "re",
    "typing",
    "unicodedata",
    "urllib.parse",
}
IMPURE_BUILTINS = {"__import__", "breakpoint", "eval", "exec", "input", "open", "print"}
CLOCKS = {"now", "today", "utcnow"}  # of datetime and date

# The rooms that alone may import an outside library.
OWNERS = {
    "grpc": {"etcd"},
    "aetcd": {"etcd"},
    "google": {"etcd"},
    "aiosmtplib": {"smtp"},
    "aiosmtpd": {"dev", "bounces"},
    "jwt": {"api"},
    "aiohttp": {"api", "runtime", "tls_policies", "tls_reports", "dev", "cli"},
    "msgpack": {"store"},
    "dns": {"dns"},
    "cryptography": {"pki", "store"},
    "prometheus_client": {"runtime"},
    "opentelemetry": {"runtime"},
    "uvloop": {"runtime"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    """``babygun/store/keys.py`` is ``store.keys``; a package's ``__init__`` is the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


@cache
def imported(path: Path) -> frozenset[str]:
    """Full names of what a module imports. A name in a package that is a module counts as that."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            assert node.module
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full.removeprefix("babygun.") in MODULES else node.module)
    return frozenset(found)


def ours(module: str) -> set[str]:
    """Our modules that a module imports, without ``babygun.``. All may import `__version__`."""
    return {
        name.removeprefix("babygun.")
        for name in imported(MODULES[module])
        if name.startswith("babygun.")
    } - {module}


def room(module: str) -> str:
    return module.partition(".")[0]


def sub_room(module: str) -> str | None:
    """The sub-room that a module is in; None for modules of the room itself."""
    return next(
        (
            name
            for name in SUB_ROOMS.get(room(module), {})
            if module == name or module.startswith(f"{name}.")
        ),
        None,
    )


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """Some circle of the arrows; empty where there is none."""
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for other in sorted(arrows.get(name, ())):
            if found := walk(other, [*way, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(arrows) if (found := walk(name, []))), [])


def test_package_root_holds_rooms_errors_and_the_entry_only() -> None:
    there = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert there == {*ROOMS, "errors.py", "__init__.py", "__main__.py"}


@pytest.mark.parametrize("name", ROOMS)
def test_room_imports_only_the_rooms_that_its_row_names(name: str) -> None:
    purpose, allowed = ROOMS[name]
    wrong = sorted(
        f"{module} imports {other}"
        for module in MODULES
        if room(module) == name
        for other in ours(module)
        if room(other) not in allowed | {name, "errors"}
    )
    assert not wrong, (
        f"{name}/ ({purpose}) may use {', '.join(sorted(allowed)) or 'nothing'} only:\n"
        + "\n".join(wrong)
    )


@pytest.mark.parametrize("name", [name for rooms in SUB_ROOMS.values() for name in rooms])
def test_sub_room_imports_only_the_sub_rooms_that_its_row_names(name: str) -> None:
    purpose, allowed = SUB_ROOMS[room(name)][name]
    wrong = sorted(
        f"{module} imports {other}"
        for module in MODULES
        if sub_room(module) == name
        for other in ours(module)
        if room(other) == room(name)
        and other not in SHARED[room(name)] | {room(name)}
        and sub_room(other) not in allowed | {name}
    )
    assert not wrong, (
        f"{name} ({purpose}) may use {', '.join(sorted(allowed)) or 'no other sub-room'} only:\n"
        + "\n".join(wrong)
    )


def test_no_circle_of_modules_anywhere() -> None:
    assert not circle({module: ours(module) for module in MODULES})


def test_api_is_at_most_six_floors_deep() -> None:
    """A floor: the sub-rooms, and the room's own modules one by one."""
    arrows: dict[str, set[str]] = {}
    for module in MODULES:
        if room(module) == "api":
            here = sub_room(module) or module
            arrows.setdefault(here, set()).update(
                sub_room(o) or o
                for o in ours(module)
                if room(o) == "api" and (sub_room(o) or o) != here
            )

    def floors(name: str) -> int:
        return 1 + max((floors(other) for other in arrows.get(name, ())), default=0)

    assert not circle(arrows)
    assert max(map(floors, arrows)) <= OUTSIDE_API_FLOORS


def reached(modules: set[str], arrows: dict[str, set[str]]) -> set[str]:
    """These modules, and all that they import, also through others."""
    found: set[str] = set()
    todo = set(modules)
    while todo:
        module = todo.pop()
        found.add(module)
        todo |= arrows.get(module, set()) - found
    return found


def impurities(source: str) -> list[str]:
    """What a module does that a pure one may not: imports that are not in the list, clocks, I/O."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found += [
            f"line {node.lineno} imports {name}"
            for name in names
            if not name.startswith("babygun.")
            and not any(name == own or name.startswith(f"{own}.") for own in PURE_IMPORTS)
        ]
        if isinstance(node, ast.Name) and node.id in IMPURE_BUILTINS:
            found.append(f"line {node.lineno} uses {node.id}")
        if isinstance(node, ast.Attribute) and node.attr in CLOCKS:
            found.append(f"line {node.lineno} asks for the time")
    return found


@pytest.mark.parametrize("name", sorted(PURE))
def test_pure_room_reaches_no_clock_settings_logger_or_io(name: str) -> None:
    """Not even through others: all modules of ours that it reaches are looked at."""
    arrows = {module: ours(module) & set(MODULES) for module in MODULES}
    modules = reached({module for module in MODULES if room(module) == name}, arrows)
    assert {room(module) for module in modules} <= PURE | {"errors"}
    wrong = {
        module: found for module in modules if (found := impurities(MODULES[module].read_text()))
    }
    assert not wrong


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import os.path",
        "import urllib.request",
        "from email import utils",
        "from email.utils import localtime",
        "from logging import getLogger",
        "def late():\n    import socket",
        "from datetime import datetime\nat = datetime.now",
        "import datetime as d\nat = d.date.today()",
        "text = open('x').read()",
        "print('x')",
        "module = __import__('time')",
    ],
)
def test_impurities_are_found_however_a_module_gets_at_a_clock_or_io(source: str) -> None:
    assert len(impurities(source)) == 1


def test_reached_modules_are_those_imported_through_others_too() -> None:
    arrows = {"a": {"b"}, "b": {"c", "a"}, "d": {"a"}}
    assert reached({"a"}, arrows) == {"a", "b", "c"}


@pytest.mark.parametrize("library", OWNERS)
def test_library_is_known_to_its_own_room_only(library: str) -> None:
    users = {
        room(module)
        for module in MODULES
        if any(name.partition(".")[0] == library for name in imported(MODULES[module]))
    }
    assert users <= OWNERS[library], (
        f"only {' and '.join(sorted(OWNERS[library]))} may import {library}"
    )


def test_jwt_is_known_to_one_module_only() -> None:
    assert (
        len([path for path in FILES if any(name.split(".")[0] == "jwt" for name in imported(path))])
        == 1
    )


def test_key_literals_stand_in_the_key_module_only() -> None:
    kinds = (
        "emails",
        "jobs",
        "not-before",
        "owners",
        "contents",
        "log",
        "failed",
        "workers",
        "apis",
        "clients",
        "client-usage",
        "signing-keys",
        "unsubscribe-keys",
        "tls-policies",
        "tls-reports",
        "return-path-keys",
        "late-events",
        "revoked",
        "idempotency",
        "retention",
        "holds",
        "slots",
        "limits",
        "reports",
        "domains",
        "dkim-keys",
    )
    for path in FILES:
        if module_of(path) == "store.keys":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
                assert not any(f"{kind}/".encode() in node.value for kind in kinds), (
                    f"{path}:{node.lineno} has a key literal"
                )
