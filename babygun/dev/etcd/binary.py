"""Finds the etcd for development: the one that is set, else the PATH's, else the built one."""

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
from babygun.etcd.versions import is_good, parse_version

PINNED_VERSION = "3.6.16"  # as in etcd/build/go.mod; a test compares them
FALLBACK_VERSION = "3.5.1"  # as in etcd/build/etcd-fallback.txt
PROGRAMS = ("etcd", "etcdctl", "etcdutl")

_NO_HOME = "/proc/nonexistent"  # not even root can make it

# setting: BABYGUN_ETCD_BIN.  path: found on the PATH.  cache: the pinned one.
# fallback: the one that can lose writes.
Source = Literal["setting", "path", "cache", "fallback"]


@dataclass(frozen=True)
class EtcdBinary:
    """An etcd server's executable."""

    path: Path
    version: str  # "3.6.16"
    source: Source

    def program(self, name: str) -> Path | None:
        """Its etcdctl or etcdutl: beside it, before or after following links, else the PATH's."""
        for folder in (self.path.parent, self.path.resolve().parent):
            if os.access(folder / name, os.X_OK):
                return folder / name
        found = shutil.which(name)
        return Path(found) if found else None


def find_etcd(environ: Mapping[str, str] | None = None) -> EtcdBinary | None:
    """The first of these that exists, or None:

    1. ``BABYGUN_ETCD_BIN``. Raises SettingsError if that is no etcd.
    2. An ``etcd`` on the PATH that has all that Babygun wants.
    3. The pinned one, then the fallback, in the cache; ``etcd.build`` puts them there.
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
    # All folders, since an old etcd must not hide a newer one further on.
    for folder in os.get_exec_path(dict(environ)):
        path = Path(folder) / "etcd"
        version = version_of(path)
        if version and is_good(version):
            return EtcdBinary(path.absolute(), version, _source_of(path, environ))
    cached: tuple[tuple[str, Source], ...] = (
        (PINNED_VERSION, "cache"),
        (FALLBACK_VERSION, "fallback"),
    )
    for pinned, source in cached:
        path = cache_folder(pinned, environ) / "etcd"
        if version := version_of(path):
            return EtcdBinary(path, version, source)
    return None


def cache_root(environ: Mapping[str, str] | None = None) -> Path:
    """``$XDG_CACHE_HOME/babygun`` or ``~/.cache/babygun``, also with an empty HOME.

    A user without any home gets a folder that can't be made: only who writes there has to know.
    """
    environ = os.environ if environ is None else environ
    given = environ.get("XDG_CACHE_HOME", "")
    if Path(given).is_absolute():  # XDG specification: ignore a relative path
        return Path(given) / "babygun"
    return Path(environ.get("HOME") or _home()) / ".cache" / "babygun"


def _home() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # in a container that was started with any user's number
        return _NO_HOME


def cache_folder(version: str, environ: Mapping[str, str] | None = None) -> Path:
    """The cache's folder for the programs of this version."""
    return cache_root(environ) / f"etcd-{version}"


def version_of(path: Path) -> str | None:
    """The version that this executable prints; None if it doesn't run or is no etcd."""
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
    """``cache`` for a link to the cached one, such as the one in .venv/bin."""
    cached = cache_folder(PINNED_VERSION, environ).resolve()
    return "cache" if path.resolve().parent == cached else "path"
