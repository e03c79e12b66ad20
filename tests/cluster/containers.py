"""A Compose project of its own for the tests: Docker's commands on its containers."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from tests.support.etcd_server import free_ports
from tests.support.paths import ROOT

MEMBERS = ("etcd1", "etcd2", "etcd3")
RUNNING = Counter(
    {
        "etcd1": 1,
        "etcd2": 1,
        "etcd3": 1,
        "api": 2,
        "worker": 2,
        "bounced": 1,
        "balancer": 1,
        "mailpit": 1,
    }
)
_INSPECTOR = [
    f"--{name}=/certificates/etcd/{file}"
    for name, file in (
        ("cacert", "etcd-ca.pem"),
        ("cert", "inspector.pem"),
        ("key", "inspector-key.pem"),
    )
]
_ETCD = [
    "/usr/local/bin/etcdctl",
    "--endpoints=https://localhost:2379",
    *_INSPECTOR,
    "endpoint",
    "health",
]
# The number of API processes that the balancer uses.
_BALANCED = """
import urllib.request
text = urllib.request.urlopen("http://127.0.0.1:8405/metrics", timeout=5).read().decode()
start = 'haproxy_server_status{proxy="api"'
lines = [line for line in text.splitlines() if line.startswith(start)]
print(sum('state="UP"' in line and line.endswith(" 1") for line in lines))
"""
_READY = {
    **dict.fromkeys(MEMBERS, _ETCD),
    "api": ["babygun", "health", "api"],
    "worker": ["babygun", "health", "worker"],
    "bounced": ["babygun", "health", "bounced"],
    "balancer": ["haproxy", "-v"],
    "mailpit": ["/mailpit", "readyz"],
}

T = TypeVar("T")


class Found(NamedTuple):
    """A container of the project, as Docker lists it."""

    id: str
    service: str
    state: str
    status: str


def engine_problem() -> str:
    """Why no cluster can be started here; empty if one can."""
    for command in (
        ["docker", "info", "--format", "{{.ServerVersion}}"],
        ["docker", "compose", "version"],
    ):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{' '.join(command[:2])}: {error}"
        if done.returncode:
            return (
                f"{' '.join(command[:2])}: {(done.stderr or done.stdout).strip().splitlines()[-1]}"
            )
    return ""


class Containers:
    """The containers of one cluster, with a project name of its own, on free ports.

    Compose takes a second or more for each of its commands. So it is asked for what only it can do;
    ``docker`` does the rest.
    """

    def __init__(self) -> None:
        self.project = f"babygun-test-{secrets.token_hex(4)}"
        self.port, self.mailpit_port, smtp_port, self.bounce_port = free_ports(4)
        self.environment = os.environ | {
            "BABYGUN_PORT": str(self.port),
            "MAILPIT_PORT": str(self.mailpit_port),
            "MAILPIT_SMTP_PORT": str(smtp_port),
            "BABYGUN_BOUNCE_PORT": str(self.bounce_port),
            "BABYGUN_BOUNCE_HOSTNAME": "bounces.example",
            "MAILPIT_CHAOS": "true",
            # Many: a test sees with slow commands that an e-mail waits, and then lets it go.
            "BABYGUN_RETRY_INTERVALS": ", ".join(["3s"] * 60),
            "BABYGUN_VERSION": "test",
            "COMPOSE_PROJECT_NAME": self.project,
        }
        self._kept: dict[str, str] = {}

    def compose(self, *words: str, check: bool = True, timeout: float = 300) -> str:
        """The output of ``docker compose …``. A failure is an AssertionError with the output."""
        return self.docker(
            *("compose", "-f", "deploy/compose.yml", *words), check=check, timeout=timeout
        )

    def failing(self, *words: str) -> str:
        """All that ``docker compose …`` prints, which has to fail within a minute."""
        done = self._docker(("compose", "-f", "deploy/compose.yml", *words), timeout=60)
        assert done.returncode, f"docker compose {' '.join(words)} did not fail: {done.stdout}"
        return done.stdout + done.stderr

    def docker(self, *words: str, check: bool = True, timeout: float = 120) -> str:
        """The output of ``docker …``. A failure is an AssertionError with the output."""
        done = self._docker(words, timeout)
        if check and done.returncode:
            raise AssertionError(
                f"docker {' '.join(words)}: exit status {done.returncode}\n"
                f"{done.stdout}{done.stderr}"
            )
        return done.stdout

    def _docker(self, words: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", *words],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def run(self, service: str, *words: str, variables: dict[str, str] | None = None) -> str:
        """What a command prints in a container of this service, as with ``docker compose run``.

        One container runs all of them: Compose takes seconds to make one.
        """
        if service not in self._kept:
            self._kept[service] = self.compose(
                *("run", "--detach", "--rm", service, "sleep", "infinity")
            ).strip()
        options = [f"--env={name}={value}" for name, value in (variables or {}).items()]
        return self.docker("exec", *options, self._kept[service], *words)

    def exec(self, service: str, *words: str) -> str:
        """What a command prints in the first running container of a service."""
        return self.docker("exec", self.containers(service)[0], *words)

    def up(self, *words: str) -> None:
        self.compose("up", "--detach", "--wait", *words)

    def start(self, *services: str) -> None:
        self.docker("start", *(row.id for row in self.found() if row.service in services))

    def stop(self, *services: str) -> None:
        """Stops them side by side, each within its own ``stop_grace_period``."""
        self.docker("stop", *(row.id for row in self.found() if row.service in services))

    def until_well(self) -> None:
        """Starts what does not run, and waits until all is ready."""
        until(
            self._is_well,
            "all of the cluster is ready",
            within=600,
            errors=(AssertionError,),
        )

    def _is_well(self) -> bool:
        """Whether all services that should run do, and are ready.

        The first health check of a container is late. So those that had none yet are asked.
        """
        rows = [row for row in self.found() if row.service in RUNNING]
        if Counter(row.service for row in rows) != RUNNING:
            self.up()
            return False
        ended = [row.id for row in rows if row.state != "running"]
        if ended:
            self.docker("start", *ended)
            return False
        unknown = [row for row in rows if not row.status.endswith("(healthy)")]
        return all(self._is_ready(row.service, row.id) for row in unknown)

    def _is_ready(self, service: str, container: str) -> bool:
        """Asks the container itself. An AssertionError with the reason if it is not ready.

        The API and the balancer are ready when the balancer uses all API processes.
        """
        self.docker("exec", container, *_READY[service])
        return service not in ("api", "balancer") or self._balanced() == RUNNING["api"]

    def _balanced(self) -> int:
        """The number of API processes that the balancer uses."""
        return int(self.exec("balancer", "python3", "-c", _BALANCED))

    def restart(self, service: str) -> None:
        """Restarts a service's containers one by one, each when the one before is ready."""
        for container in self.containers(service):
            self.docker("restart", "--time", "40", container)
            self.until_ready(service, container)

    def until_ready(self, service: str, container: str) -> None:
        until(
            lambda: self._is_ready(service, container),
            f"{service} is ready again",
            within=180,
            errors=(AssertionError,),
        )

    def down(self) -> None:
        if self._kept:
            self.docker("rm", "--force", *self._kept.values(), check=False)
        self.compose("down", "--volumes", "--timeout", "5", check=False)

    def hang(self, container: str) -> None:
        """Stops its process by SIGSTOP. ``docker pause`` can fail on a busy machine."""
        self.docker("kill", "--signal", "STOP", container)

    def resume(self, container: str) -> None:
        self.docker("kill", "--signal", "CONT", container)

    def found(self) -> list[Found]:
        """All containers of the project, also ended ones, but for those of ``run``."""
        label = "label=com.docker.compose"
        service = '{{.Label "com.docker.compose.service"}}'
        printed = self.docker(
            *("ps", "--all", "--no-trunc"),
            *("--filter", f"{label}.project={self.project}", "--filter", f"{label}.oneoff=False"),
            *("--format", f"{{{{.ID}}}}\t{service}\t{{{{.State}}}}\t{{{{.Status}}}}"),
        )
        return [Found(*line.split("\t")) for line in printed.splitlines()]

    def containers(self, service: str) -> list[str]:
        """The ids of a service's running containers."""
        return [row.id for row in self.found() if row.service == service and row.state == "running"]

    def logs(self, service: str) -> str:
        """What a service's containers have printed, also ended ones."""
        found = [row.id for row in self.found() if row.service == service]
        return "".join(map(self.printed, found))

    def printed(self, container: str) -> str:
        done = self._docker(("logs", container), timeout=120)
        return done.stdout + done.stderr


def until(
    condition: Callable[[], T],
    what: str,
    *,
    within: float = 120,
    every: float = 0.2,
    errors: Sequence[type[Exception]] = (OSError,),
) -> T:
    """The condition's first true value. An error of these kinds counts as false."""
    deadline = time.monotonic() + within
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = condition()
            if last:
                return last
        except tuple(errors) as error:
            last = error
        time.sleep(every)
    raise AssertionError(f"after {within:g} s not yet: {what}; last: {last!r}")
