"""The layers: imports go downwards only, and each outside library has one package that knows it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "babygun"

# A layer may import the layers before it, and its own.
LAYERS = [
    {
        "errors",
        "clock",
        "ids",
        "model",
        "settings",
        "keys",
        "codec",
        "lifecycle",
        "routing",
        "replies",
        "addresses",
        "mime",
        "logs",
        "etcd_versions",
        "metrics",
        "tracing",
        "certificates",
        "authority",
        "listening",
        "event_loop",
        "processes",
    },
    {"etcd"},
    {"store", "smtp"},
    {"api", "worker"},
    {"dev"},
    {"cli", "__main__"},
]
APART = [{"api", "worker"}, {"store", "smtp"}]  # of one layer, and yet they never import each other: etcd is where they meet

# The packages that alone may import an outside library.
OWNERS = {
    "grpc": {"etcd"},
    "aetcd": {"etcd"},
    "google": {"etcd"},
    "aiosmtplib": {"smtp"},
    "aiosmtpd": {"dev"},
    "jwt": {"api"},
    "aiohttp": {"api", "worker", "dev", "cli"},
    "msgpack": {"codec"},
    "cryptography": {"authority", "certificates"},
    "prometheus_client": {"metrics"},
    "opentelemetry": {"tracing"},
}


def unit(path: Path) -> str:
    """The module or package directly below ``babygun`` that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            assert node.module
            found |= {node.module} if node.module != "babygun" else {f"babygun.{alias.name}" for alias in node.names}
    return found


FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_of_each_module_go_downwards(path: Path) -> None:
    mine = unit(path)
    level = next((n for n, layer in enumerate(LAYERS) if mine in layer), None)
    assert level is not None, f"{mine} belongs to no layer: name it in LAYERS"
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "babygun":
            other = rest.split(".")[0]
            if other in ("", "__version__") or other == mine:
                continue
            assert any(other in layer for layer in LAYERS[: level + 1]), f"{mine} imports {other}, which is above it"
            assert not any({mine, other} <= pair for pair in APART), f"{mine} and {other} must not know each other"
        elif top in OWNERS:
            assert mine in OWNERS[top], f"{mine} imports {top}, which only {' and '.join(sorted(OWNERS[top]))} may"


def test_jwt_is_known_to_one_module_only() -> None:
    assert len([path for path in FILES if any(name.split(".")[0] == "jwt" for name in imports(path))]) == 1


def test_key_literals_stand_in_the_key_module_only() -> None:
    kinds = (
        "emails/",
        "jobs/",
        "not-before/",
        "owners/",
        "contents/",
        "log/",
        "failed/",
        "workers/",
        "apis/",
        "clients/",
        "signing-keys/",
        "revoked/",
        "idempotency/",
        "retention/",
    )
    for path in FILES:
        if path.name == "keys.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
                assert not any(kind.encode() in node.value for kind in kinds), f"{path}:{node.lineno} has a key literal"
