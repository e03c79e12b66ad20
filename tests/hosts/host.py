"""A host without a machine of its own: a folder that stands for ``/``, and a loopback address.

A script of the documents runs there as it is written, but for paths and addresses. Commands that
need a whole system (``systemctl``, ``systemd-run``, ``systemd-sysusers``) have stand-ins.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent

from babygun.dev.etcd.binary import find_etcd
from tests.hosts.service_manager import ServiceManager
from tests.support.needs import missing
from tests.support.paths import ROOT
from tests.support.procedures import bash
from tests.support.streams import listening

_PATHS = r"(?<![\w./])/(etc|opt|usr/local|var|run/credentials)/"
# What the scripts install, and then use.
_INSTALLED = ("etc/etcd", "etc/systemd/system", "etc/babygun", "usr/local/sbin", "etc/sysusers.d")

_SYSTEMCTL = """
    #!/bin/bash
    exec 3<>/dev/tcp/127.0.0.1/{port}
    printf '%s\\n' "$*" >&3
    IFS= read -r status <&3
    cat <&3
    exit "$status"
"""
_SYSTEMD_RUN = """
    #!{python} -S
    import os, sys
    from pathlib import Path
    sys.path.insert(0, {root!r})
    from tests.hosts import environment_files
    variables, words = dict(os.environ), sys.argv[1:]
    while words[0].startswith("--"):
        option, _, value = words.pop(0)[2:].partition("=")
        name, _, value = value.partition("=")
        if option == "setenv":
            variables[name] = value
        elif option == "property" and name == "EnvironmentFile":
            path = Path(value.removeprefix("-"))
            if path.exists() or not value.startswith("-"):
                variables |= environment_files.read(path)
    os.execvpe(words[0], words, variables)
"""


def addresses(count: int) -> list[str]:
    """Loopback addresses that nobody else is likely to use (Linux has all of 127.0.0.0/8)."""
    middle = f"{random.randint(10, 250)}.{random.randint(0, 250)}"
    return [f"127.{middle}.{number}" for number in range(1, count + 1)]


class Host:
    """``names``: the hosts of the documents, with the addresses that stand for them."""

    def __init__(self, root: Path, address: str, names: Mapping[str, str]) -> None:
        self.root, self.address, self._names = root, address, names
        self._paths = re.compile(rf"(?!{re.escape(str(root))}){_PATHS}")
        self._shims = root / "shims"
        self.services = ServiceManager(root, self._variables())

    def _variables(self) -> dict[str, str]:
        """The environment of all processes of this host."""
        path = (self._shims, self.root / "usr/local/sbin", self.root / "usr/local/bin")
        return {
            "PATH": os.pathsep.join([*map(str, path), os.environ["PATH"]]),
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.root),
            "BABYGUN_WORKER_HOST": self.address,
            "BABYGUN_BOUNCE_HOST": self.address,
            "BABYGUN_BOUNCE_PROBE_HOST": self.address,
        }

    async def sh(self, script: str, *, within: float = 120.0) -> str:
        """Runs a script of the documents here; what it prints."""
        script = script.replace("-name localhost", f"-name {self.address}")
        said = await bash(self._mapped(script), self._variables(), within=within)
        self._map_files()
        return said

    def _map_files(self) -> None:
        """Maps what a script has installed."""
        for folder in _INSTALLED:
            for path in (self.root / folder).rglob("*"):
                if path.is_file() and not path.name.endswith((".pem", "-keys")):
                    text = path.read_text()
                    if (mapped := self._mapped(text)) != text:  # else somebody may read it now
                        path.write_text(mapped)

    def path(self, path: str) -> Path:
        """What stands for a path of the documents."""
        return Path(self._mapped(path))

    def _mapped(self, text: str) -> str:
        """Text of the documents, with the paths and addresses of this host."""
        text = self._paths.sub(rf"{self.root}/\1/", text)
        for name, address in self._names.items():
            text = text.replace(name, address)
        for everywhere in ("0.0.0.0", "127.0.0.1"):
            text = re.sub(rf"(?<![\d.]){re.escape(everywhere)}(?!\d)", self.address, text)
        return text.replace("etcd:etcd", f"{os.getuid()}:{os.getgid()}")

    def _install(self, port: int) -> None:
        """The programs, and the stand-ins."""
        found = find_etcd()
        programs = {name: found and found.program(name) for name in ("etcd", "etcdctl", "etcdutl")}
        if not all(programs.values()):
            missing("needs etcd, etcdctl and etcdutl")
        for folder in ("usr/local/bin", "usr/local/sbin", "opt/babygun/bin", "shims", "var/lib"):
            (self.root / folder).mkdir(parents=True)
        for folder in ("etc/systemd/system", "etc/etcd", "var/backups"):
            (self.root / folder).mkdir(parents=True)
        for name, program in programs.items():
            (self.root / "usr/local/bin" / name).symlink_to(str(program))
        self._program(
            "opt/babygun/bin/babygun", f'#!/bin/sh\nexec {sys.executable} -m babygun "$@"'
        )
        self._program("shims/systemctl", _SYSTEMCTL.format(port=port))
        run = _SYSTEMD_RUN.format(python=sys.executable, root=str(ROOT))
        self._program("shims/systemd-run", run)
        self._program("shims/systemd-sysusers", "#!/bin/sh")

    def _program(self, path: str, text: str) -> None:
        file = self.root / path
        file.write_text(dedent(text).lstrip())
        file.chmod(0o755)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One call of systemctl: the first line of the answer is its exit status."""
        words = (await reader.readline()).decode().split()
        self._map_files()
        try:
            answer = f"0\n{await self.services.do(words)}"
        except (AssertionError, OSError, TimeoutError) as error:
            answer = f"1\n{error!r}\n"
        writer.write(answer.encode())


@asynccontextmanager
async def host(root: Path, address: str, names: Mapping[str, str]) -> AsyncIterator[Host]:
    """A host, whose processes are killed at the end."""
    made = Host(root, address, names)
    async with listening(made._serve) as port:
        made._install(port)
        try:
            yield made
        finally:
            await made.services.close()
