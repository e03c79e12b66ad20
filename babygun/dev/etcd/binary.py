"""Finds the etcd that this machine runs for development: a person's choice first, then the machine's, then our own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from babygun.errors import SettingsError
from babygun.etcd.versions import is_supported, parse_version

PINNED_VERSION = "3.6.16"  # what etcd/build/go.mod pins; a test compares the two
FALLBACK_VERSION = "3.5.1"  # what etcd/build/etcd-fallback.txt pins
PROGRAMS = ("etcd", "etcdctl", "etcdutl")

# setting: BABYGUN_ETCD_BIN.  path: found on the PATH.  cache: the pinned one.  fallback: the one that can lose writes.
Source = Literal["setting", "path", "cache", "fallback"]


@dataclass(frozen=True)
class EtcdBinary:
    """An etcd server's executable."""

    path: Path
    version: str  # "3.6.16"
    source: Source

    def program(self, name: str) -> Path | None:
        """etcdctl or etcdutl that belongs to it: beside it (links followed or not), else on the PATH."""
        for folder in (self.path.parent, self.path.resolve().parent):
            if os.access(folder / name, os.X_OK):
                return folder / name
        found = shutil.which(name)
        return Path(found) if found else None


def find_etcd(environ: Mapping[str, str] | None = None) -> EtcdBinary | None:
    """The first of: ``BABYGUN_ETCD_BIN``, an ``etcd`` on the PATH that is new enough, the cached pinned one, the cached fallback.

    None where there is none yet (see :func:`babygun.dev.etcd.build.prepare_etcd`). Raises SettingsError where
    ``BABYGUN_ETCD_BIN`` names something that is no etcd: a person's choice is never passed over.
    """
    environ = os.environ if environ is None else environ
    if chosen := environ.get("BABYGUN_ETCD_BIN"):
        path = Path(chosen).expanduser()
        version = version_of(path)
        if version is None:
            raise SettingsError(
                f"BABYGUN_ETCD_BIN is {chosen}, which is not an etcd that runs here"
            )
        return EtcdBinary(path.absolute(), version, "setting")
    for folder in os.get_exec_path(
        dict(environ)
    ):  # an old one must not hide a newer one further on
        path = Path(folder) / "etcd"
        version = version_of(path)
        if version and is_supported(version):
            return EtcdBinary(path.absolute(), version, _source_of(path, environ))
    for pinned, source in ((PINNED_VERSION, "cache"), (FALLBACK_VERSION, "fallback")):
        path = cache_folder(pinned, environ) / "etcd"
        version = version_of(path)
        if version:
            return EtcdBinary(path, version, "cache" if source == "cache" else "fallback")
    return None


def cache_root(environ: Mapping[str, str] | None = None) -> Path:
    """``$XDG_CACHE_HOME/babygun``, or ``~/.cache/babygun``; works with an empty HOME too."""
    environ = os.environ if environ is None else environ
    given = environ.get("XDG_CACHE_HOME", "")
    if Path(given).is_absolute():  # the XDG specification: a relative path is to be ignored
        return Path(given) / "babygun"
    home = environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir
    return Path(home) / ".cache" / "babygun"


def cache_folder(version: str, environ: Mapping[str, str] | None = None) -> Path:
    """Where the programs of this version are kept."""
    return cache_root(environ) / f"etcd-{version}"


def version_of(path: Path) -> str | None:
    """The version that this executable says it is; None where it doesn't run, or is no etcd."""
    if not os.access(path, os.X_OK) or not path.is_file():
        return None
    try:
        answer = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=10,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    first = answer.stdout.partition("\n")[0]
    if answer.returncode or "etcd" not in first.lower():
        return None
    try:
        return ".".join(map(str, parse_version(first)))
    except ValueError:
        return None


def _source_of(path: Path, environ: Mapping[str, str]) -> Source:
    """``cache`` for a link to our own, as ``make install`` puts one into .venv/bin."""
    return (
        "cache"
        if path.resolve().parent == cache_folder(PINNED_VERSION, environ).resolve()
        else "path"
    )
