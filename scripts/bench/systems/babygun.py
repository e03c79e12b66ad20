"""Babygun as an operator starts it: etcd, ``babygun api`` and ``babygun worker``.

All settings but addresses and ports are the defaults.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from babygun import __version__
from babygun.dev.etcd.binary import EtcdBinary
from babygun.dev.etcd.build import prepare_etcd
from babygun.dev.etcd.command_line import EmbeddedEtcd
from babygun.errors import BabygunError
from babygun.runtime.processes.interpreter import python_command, python_environment
from scripts.bench.loadgen import Load, Mail, Sent, compiled
from scripts.bench.processes import Stage, Unavailable, answers, run

CONNECTIONS = 100  # of the load generator to the API, each with a request at a time


class BabygunKind:
    """See :class:`scripts.bench.systems.Kind`."""

    name = "Babygun"
    durable = "etcd, one member, fsync before every answer"

    def __init__(self) -> None:
        self._etcd: EtcdBinary | None = None

    def prepare(self, say: Callable[[str], None]) -> None:
        compiled("load")
        self._etcd = etcd_binary(say)

    @property
    def etcd(self) -> EtcdBinary:
        """After :meth:`prepare`."""
        assert self._etcd is not None
        return self._etcd

    def versions(self) -> Mapping[str, str]:
        return {"babygun": __version__, "etcd": self._etcd.version if self._etcd else ""}

    def start(self, stage: Stage, relay_port: int, *, deliver: bool) -> Babygun:
        return Babygun(stage, relay_port, self.etcd).start(workers=1 if deliver else 0)


def etcd_binary(say: Callable[[str], None]) -> EtcdBinary:
    """The etcd that ``babygun dev`` would use. Raises Unavailable."""
    try:
        return prepare_etcd(say)
    except BabygunError as error:
        raise Unavailable(str(error)) from None


def _processes(count: int) -> tuple[str, ...]:
    return ("--processes", str(count)) if count > 1 else ()


class Babygun:
    """One etcd with any number of API processes and workers.

    ``settings``: further ones, as variables (``{"BABYGUN_RETENTION": "1m"}``). ``quota``: etcd's,
    in bytes.
    """

    def __init__(
        self,
        stage: Stage,
        relay_port: int,
        etcd: EtcdBinary,
        *,
        settings: Mapping[str, str] | None = None,
        quota: int = 8 << 30,
    ) -> None:
        self._stage, self._etcd_binary, self._quota = stage, etcd, quota
        self._settings = {
            "BABYGUN_RELAY_URL": f"smtp://127.0.0.1:{relay_port}",
            "BABYGUN_REQUIRE_DOMAINS": "no",
            "BABYGUN_WARM_UP": "off",
            **(settings or {}),
        }
        self._names: dict[str, list[str]] = {"api": [], "worker": [], "etcd": []}
        self._ports: list[int] = []
        self.worker_urls: list[str] = []  # of the workers' metrics
        # A folder of its own, so that nothing of an earlier one is in it.
        self._data = Path(tempfile.mkdtemp(prefix="etcd-", dir=stage.folder))
        self.endpoint = ""  # etcd's
        self.client_id = self.client_secret = self.token = ""

    def start(self, *, apis: int = 1, workers: int = 1) -> Babygun:
        """Starts everything; returns when all is ready and there is a token."""
        self.start_etcd()
        self.start_apis(apis)
        self.authorize()
        self.start_workers(workers)
        return self

    def start_etcd(self) -> None:
        etcd = EmbeddedEtcd(
            self._etcd_binary, self._data, self._stage.port(), self._stage.port(), quota=self._quota
        )
        self.endpoint = etcd.endpoint
        self._start("etcd", "etcd", etcd.command(), etcd.environment(), f"{self.endpoint}/health")

    def start_apis(self, count: int = 1) -> None:
        """Starts ``babygun api`` with ``count`` processes that share a port."""
        port = self._stage.port()
        self._start(
            "api",
            "api",
            python_command("babygun", "api", "--port", str(port), *_processes(count)),
            self.environment(),
            f"http://127.0.0.1:{port}/readyz",
        )
        self._ports.append(port)

    def start_workers(self, count: int = 1) -> None:
        """Starts ``babygun worker`` with ``count`` processes, or none for 0."""
        if not count:
            return
        port = self._stage.ports(count)
        environment = self.environment() | {"BABYGUN_WORKER_PORT": str(port)}
        self.worker_urls = [f"http://127.0.0.1:{port + n}" for n in range(count)]
        self._start(
            "worker",
            "worker",
            python_command("babygun", "worker", *_processes(count)),
            environment,
            *(f"{url}/readyz" for url in self.worker_urls),
        )

    def stop(self) -> None:
        for role in ("api", "worker", "etcd"):
            self._end(role)
        shutil.rmtree(self._data, ignore_errors=True)

    @property
    def roles(self) -> Mapping[str, Sequence[int]]:
        return {
            role: [self._stage.pid(name) for name in names]
            for role, names in self._names.items()
            if names
        }

    @property
    def urls(self) -> Sequence[str]:
        """The URLs of the API."""
        return [f"http://127.0.0.1:{port}" for port in self._ports]

    def environment(self) -> dict[str, str]:
        """The environment for a command of this Babygun."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("BABYGUN_")}
        return python_environment(
            {**own, "BABYGUN_ETCD_ENDPOINTS": self.endpoint, **self._settings}
        )

    def authorize(self) -> None:
        """Makes an API client and gets a token for it; both are attributes from then on."""
        words = run(
            python_command("babygun", "clients", "create", "bench", "--scope", "admin"),
            environment=self.environment(),
        ).split()
        given = dict(zip(words[::2], words[1::2], strict=True))
        self.client_id, self.client_secret = given["client_id"], given["client_secret"]
        self.token = self.call("/tokens", given)["token"]

    def call(self, path: str, body: Any = None) -> Any:
        """A POST of ``body`` as JSON, or a GET without one; returns the answer's JSON."""
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(  # noqa: S310 (our own process)
            f"{self.urls[0]}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers=headers,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return json.load(answer)

    def load(
        self,
        mail: Mail,
        *,
        rate: float = 0,
        times: Path | None = None,
        batch: int = 1,
        connections: int = CONNECTIONS,
        stall: int = 30,
    ) -> Load:
        """Starts the load generator; see :class:`scripts.bench.loadgen.Load`."""
        path = "/emails" if batch == 1 else "/emails/batch"
        authorization = f"Bearer {self.token}"
        return Load(
            self._stage,
            "http",
            self._ports,
            mail,
            connections=connections,
            rate=rate,
            batch=batch,
            path=path,
            authorization=authorization,
            times=times,
            stall=stall,
        )

    def send(self, mail: Mail, *, rate: float = 0, times: Path | None = None) -> Sent:
        return self.load(mail, rate=rate, times=times).wait()

    def _start(
        self,
        name: str,
        role: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *ready_urls: str,
    ) -> None:
        self._stage.start(name, command, environment=environment)
        self._names[role].append(name)
        self._stage.ready(name, lambda: all(map(answers, ready_urls)))

    def _end(self, role: str) -> None:
        self._stage.end(*self._names[role])
        self._names[role] = []
        if role == "api":
            self._ports = []
        if role == "worker":
            self.worker_urls = []
