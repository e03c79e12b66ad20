"""A real etcd for tests: a process that can be killed, paused and restarted, with its own data."""

from __future__ import annotations

import gc
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any, Protocol, Self

import pytest

from babygun.dev.etcd.binary import find_etcd
from babygun.etcd.versions import Ability, has

CONTAINER_IMAGE = "quay.io/coreos/etcd:v3.6.16"
_START = 60.0  # seconds until etcd must answer; it takes 0.3 s on an idle machine


@cache
def etcd_version() -> str:
    """The version of the etcd that the tests run on; empty if there is none."""
    found = find_etcd()
    return found.version if found else ""


def needs_ability(*abilities: Ability) -> pytest.MarkDecorator:
    """Marks tests that skip on an etcd without these abilities: ``make test ETCD=…``."""
    version = etcd_version()
    lacks = [each.name for each in abilities if version and not has(version, each)]
    return pytest.mark.skipif(bool(lacks), reason=f"etcd {version} lacks {', '.join(lacks)}")


class NoEtcd(Exception):
    """There is no etcd to test with. The message says what to do."""


class Etcd(Protocol):
    """Any kind of etcd for a test."""

    endpoint: str

    def start(self) -> Self: ...
    def stop(self) -> None: ...


class EtcdServer:
    """One etcd member.

    ``flags``: further ones of etcd's command line. ``tls``: files of certificate, key and CA; then
    clients need a certificate. ``fsync=False`` only if a test isn't about what survives a crash.
    """

    def __init__(
        self,
        *flags: str,
        tls: tuple[Path, Path, Path] | None = None,
        fsync: bool = True,
        name: str = "test",
    ) -> None:
        found = find_etcd()
        if found is None:
            raise NoEtcd(
                "no etcd to test with: run `make install`,"
                " or set BABYGUN_ETCD_BIN to an etcd executable"
            )
        self._binary = found.path
        self._flags = list(flags) + ([] if fsync else ["--unsafe-no-fsync"])
        self._tls = tls
        self.name = name
        self._folder = Path(tempfile.mkdtemp(prefix="babygun-etcd-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._choose_ports()

    def _choose_ports(self) -> None:
        self.port, self._peer_port, self._health_port = free_ports(3)
        self.endpoint = f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"
        self.peer = f"http://127.0.0.1:{self._peer_port}"
        self.cluster = f"{self.name}={self.peer}"

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self._folder / "data"

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        assert self._process is not None, "etcd is not running"
        return self._process.pid

    def start(self) -> Self:
        """Returns once etcd has a leader and answers.

        The first start tries other ports if somebody took ours.
        """
        first = not self.data.exists()
        for _ in range(3):
            self.launch()
            if self.answers():
                return self
            self.kill()
            if not first or "address already in use" not in self.log():
                break
            shutil.rmtree(self.data, ignore_errors=True)
            self._choose_ports()
        raise AssertionError(f"etcd did not start:\n{self.log()[-4000:]}")

    def launch(self) -> None:
        """Starts the process, without waiting for it to answer."""
        assert self._process is None, "etcd runs already"
        arguments = [
            *(f"--name={self.name}", f"--data-dir={self.data}", "--log-level=warn"),
            *(f"--listen-client-urls={self.endpoint}", f"--advertise-client-urls={self.endpoint}"),
            *(f"--listen-peer-urls={self.peer}", f"--initial-advertise-peer-urls={self.peer}"),
            *(
                f"--initial-cluster={self.cluster}",
                f"--listen-metrics-urls=http://127.0.0.1:{self._health_port}",
            ),
            *("--heartbeat-interval=20", "--election-timeout=200"),
            "--bcrypt-cost=4",  # the least: it costs CPU at every log-in
            *self._flags,
        ]
        if self._tls:
            cert, key, ca = self._tls
            arguments += [
                f"--cert-file={cert}",
                f"--key-file={key}",
                f"--trusted-ca-file={ca}",
                "--client-cert-auth",
            ]
        environ = {
            name: value for name, value in os.environ.items() if not name.startswith("ETCD_")
        }
        environ.setdefault("GOGC", "400")  # its memory is small here: it need not collect often
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environ,
            )

    def answers(self) -> bool:
        """Waits until etcd has a leader and answers. False if it ended or takes too long."""
        assert self._process is not None
        deadline = time.monotonic() + _START
        while time.monotonic() < deadline and self._process.poll() is None:
            if health(self._health_port):
                return True
            time.sleep(0.02)
        return False

    def log(self) -> str:
        """The output of etcd so far."""
        return (self._folder / "log").read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL. What was fsynced must survive."""
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM, and waits."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """SIGSTOP: connections stay, nothing answers. Returns once all its threads are stopped."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self, *flags: str) -> None:
        """Kills it and starts it with the same data and ports. ``flags``: further ones."""
        self.kill()
        self._flags += flags
        self.start()

    def stop(self) -> None:
        """Ends it and deletes its data."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class EtcdCluster:
    """Three members; any two of them have a quorum."""

    def __init__(self) -> None:
        self.members = [
            EtcdServer("--heartbeat-interval=50", "--election-timeout=500", name=f"m{n}")
            for n in range(3)
        ]
        self.endpoints = [member.endpoint for member in self.members]
        cluster = ",".join(member.cluster for member in self.members)
        for member in self.members:
            member.cluster = cluster

    def start(self) -> Self:
        for member in self.members:
            member.launch()
        for member in self.members:
            assert member.answers(), member.log()[-4000:]
        return self

    def stop(self) -> None:
        for member in self.members:
            member.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class EtcdContainer:
    """etcd in a container, by testcontainers: for tests that only need an etcd that answers.

    ``flags``: further ones of etcd's command line.
    """

    def __init__(self, *flags: str) -> None:
        self.endpoint = ""
        self._flags = flags
        self._container: Any = None

    def start(self) -> Self:
        problem = self._run()
        if problem:
            with warnings.catch_warnings():
                # Docker's client does not close the socket that could not be connected.
                warnings.simplefilter("ignore", ResourceWarning)
                gc.collect()
            raise NoEtcd(
                f"BABYGUN_TEST_ETCD=container, but no container could be started: {problem}"
            )
        port = int(self._container.get_exposed_port(2379))
        self.endpoint = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + _START
        while not health(port):
            if time.monotonic() > deadline:
                self.stop()
                raise AssertionError("the etcd container does not answer")
            time.sleep(0.05)
        return self

    def _run(self) -> str:
        """Starts the container; returns why it can't be started, or empty."""
        from testcontainers.core.config import testcontainers_config
        from testcontainers.core.container import DockerContainer

        # stop() deletes the container. The reaper would be another image to download.
        testcontainers_config.ryuk_disabled = True
        listen = "--listen-client-urls=http://0.0.0.0:2379"
        advertise = "--advertise-client-urls=http://127.0.0.1:2379"
        try:
            container = DockerContainer(CONTAINER_IMAGE).with_exposed_ports(2379)
            command = " ".join(("etcd", listen, advertise, *self._flags))
            self._container = container.with_command(command)
            self._container.start()
        except Exception as error:  # Docker's client has many errors for "there is no engine"
            self._container = None
            return str(error)
        return ""

    def stop(self) -> None:
        if self._container is not None:
            self._container.stop()


def shared_etcd(flags: Sequence[str] = ()) -> Etcd:
    """The kind that BABYGUN_TEST_ETCD names, a process or ``container``. Raises NoEtcd."""
    kind = os.environ.get("BABYGUN_TEST_ETCD", "process")
    if kind == "container":
        return EtcdContainer(*flags)
    if kind != "process":
        raise NoEtcd(f"BABYGUN_TEST_ETCD is {kind!r}; it can be 'process' or 'container'")
    return EtcdServer(*flags)


def health(port: int) -> bool:
    """Whether the etcd at this HTTP port has a leader and answers. An alarm does not matter."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        with error:
            return "ALARM" in str(json.loads(error.read() or b"{}").get("reason", ""))
    except (OSError, ValueError):
        return False


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 on which nobody listens now.

    Nobody else takes one before the test does, nor while its server starts again. The system gives
    none of them to a connection, or to a server that asks for any. ``babygun dev`` and the other
    pytest processes of this run have ports of their own.
    """
    with ExitStack() as held:
        return [held.enter_context(_on_the_next_port()).getsockname()[1] for _ in range(count)]


def free_row(count: int) -> int:
    """The first of so many such ports in a row."""
    while True:
        found = free_ports(count)
        if found[-1] - found[0] == count - 1:
            return found[0]


def _on_the_next_port() -> socket.socket:
    """A socket that is bound to the next of our ports that is free."""
    while True:
        found = socket.socket()
        try:
            found.bind(("127.0.0.1", next(_PORTS)))
        except OSError:
            found.close()
        else:
            return found


def _our_ports() -> Iterator[int]:
    """Those of this pytest process, from any one on. Each comes again after all others."""
    # Below those that the system gives out, and those of `babygun dev`.
    end = min(20_000, max(11_000, _first_of_the_systems_ports()))
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    size = (end - 10_000) // count
    # A process in place of one that crashed has a number beyond the count.
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % count
    ours, first = range(10_000 + number * size, end)[:size], random.randrange(size)
    return cycle([*ours[first:], *ours[:first]])


def _first_of_the_systems_ports() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return 32768  # as Linux has it by default


_PORTS = _our_ports()
