"""The Compose cluster as operator and users see it: its ports and Docker's commands."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import secrets
import ssl
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tests.support.etcd_server import free_ports
from tests.support.paths import ROOT

PREFIX = "/babygun/"
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
READY = {
    "etcd": [
        "/usr/local/bin/etcdctl",
        "--endpoints=https://localhost:2379",
        *_INSPECTOR,
        "endpoint",
        "health",
    ],
    "api": ["babygun", "health", "api"],
    "worker": ["babygun", "health", "worker"],
    "bounced": ["babygun", "health", "bounced"],
    "balancer": ["haproxy", "-v"],
}
CREDENTIALS = "/certificates/operator/credentials"


T = TypeVar("T")


class Answer(NamedTuple):
    status: int
    json: Any


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


class Cluster:
    """One cluster, with a project name of its own, on free ports."""

    def __init__(self, folder: Path) -> None:
        self.project = f"babygun-test-{secrets.token_hex(4)}"
        self.port, self.mailpit_port, smtp_port, self.bounce_port = free_ports(4)
        self.url = f"https://localhost:{self.port}"
        self._folder = folder
        self._environment = os.environ | {
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
        self._trust: ssl.SSLContext | None = None
        self._token = ""

    # docker

    def compose(
        self, *words: str, check: bool = True, timeout: float = 300, input: str | None = None
    ) -> str:
        """The output of ``docker compose …``. A failure is an AssertionError with the output."""
        done = self._run(words, timeout, input)
        if check and done.returncode:
            raise AssertionError(
                f"docker compose {' '.join(words)}: exit status {done.returncode}\n"
                f"{done.stdout}{done.stderr}"
            )
        return done.stdout

    def failing(self, *words: str) -> str:
        """All that ``docker compose …`` prints, which has to fail within a minute."""
        done = self._run(words, timeout=60)
        assert done.returncode, f"docker compose {' '.join(words)} did not fail: {done.stdout}"
        return done.stdout + done.stderr

    def _run(
        self, words: Sequence[str], timeout: float, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", "compose", "-f", "deploy/compose.yml", *words],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            input=input,
        )

    def docker(self, *words: str, timeout: float = 120) -> str:
        done = subprocess.run(
            ["docker", *words], capture_output=True, text=True, timeout=timeout, check=False
        )
        assert done.returncode == 0, f"docker {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def up(self, *words: str) -> None:
        self.compose("up", "--detach", "--wait", *words)

    def until_well(self) -> None:
        """Starts what does not run, and waits until all is healthy."""
        until(
            lambda: self._is_well() or self.up(),
            "all of the cluster is healthy",
            within=600,
            every=1,
            errors=(AssertionError,),
        )

    def until_served(self) -> None:
        """Waits until the balancer has an API process that is ready."""
        until(lambda: self.call("GET", "/readyz").status == 200, "the API is ready")

    def _is_well(self) -> bool:
        """Whether all services that should run do, and are healthy."""
        rows = [json.loads(line) for line in self.compose("ps", "--format", "json").splitlines()]
        return (
            Counter(
                row["Service"]
                for row in rows
                if row["State"] == "running" and row["Health"] == "healthy"
            )
            == RUNNING
        )

    def restart(self, service: str) -> None:
        """Restarts a service's containers one by one, each when the one before is ready."""
        for container in self.containers(service):
            self.docker("restart", "--time", "40", container)
            self.until_ready(service, container)

    def until_ready(self, service: str, container: str) -> None:
        """Asks the container itself, which is quicker than to wait for its next health check.

        Then gives the balancer the time to see it.
        """
        probe = READY.get(service, READY["etcd"])
        until(
            lambda: self.docker("exec", container, *probe) or True,
            f"{service} is ready again",
            within=180,
            errors=(AssertionError,),
        )
        if service == "api":
            time.sleep(3)

    def down(self) -> None:
        self.compose("down", "--volumes", "--timeout", "5", check=False)

    def hang(self, container: str) -> None:
        """Stops its process by SIGSTOP. ``docker pause`` can fail on a busy machine."""
        self.docker("kill", "--signal", "STOP", container)

    def resume(self, container: str) -> None:
        self.docker("kill", "--signal", "CONT", container)

    def containers(self, service: str, *, all: bool = False) -> list[str]:
        """The ids of a service's running containers (``all``: and of ended ones)."""
        return self.compose(
            "ps", "--quiet", *(["--all"] if all else ["--status", "running"]), service
        ).split()

    def logs(self, service: str) -> str:
        return re.sub(
            r"\x1b\[[0-9;]*[A-Za-z]",
            "",
            self.compose("logs", "--no-color", "--no-log-prefix", service),
        )

    def etcdctl(self, *words: str, service: str = "tools", members: Sequence[str] = MEMBERS) -> str:
        """``etcdctl`` as an inspector (``service="admin"``: as root).

        It refuses a flag if the variable for the same is set.
        """
        endpoints = ",".join(f"https://{member}:2379" for member in members)
        return self.compose(
            "run",
            "--rm",
            "--no-TTY",
            "--env",
            f"ETCDCTL_ENDPOINTS={endpoints}",
            service,
            "etcdctl",
            *words,
        )

    def leader(self, among: Sequence[str] = MEMBERS) -> str:
        """The one of these members that is the leader, once one of them is."""
        return until(
            lambda: self._leader(among),
            f"the leader is one of {', '.join(among)}",
            within=120,
            errors=(AssertionError,),  # a member does not answer
        )

    def _leader(self, among: Sequence[str]) -> str:
        found = json.loads(self.etcdctl("endpoint", "status", "--write-out=json", members=among))
        leaders = [
            row["Endpoint"]
            for row in found
            if row["Status"]["header"]["member_id"] == row["Status"]["leader"]
        ]
        return str(urllib.parse.urlsplit(leaders[0]).hostname) if leaders else ""

    # the API

    def served(self) -> str:
        """The certificate that the API serves, as PEM."""
        return ssl.get_server_certificate(("localhost", self.port))

    def sign_in(self) -> None:
        """Copies the first client's credentials and the API's CA from the cluster; gets a token."""
        self.compose("cp", f"bootstrap:{CREDENTIALS}/.", str(self._folder))
        self._trust = ssl.create_default_context(cafile=str(self._folder / "api-ca.pem"))
        client = json.loads((self._folder / "client.json").read_text())
        basic = base64.b64encode(
            f"{client['client_id']}:{client['client_secret']}".encode()
        ).decode()
        headers = {"Authorization": f"Basic {basic}"}
        answer = until(
            lambda: (
                (found := self.call("POST", "/tokens", {}, headers=headers)).status == 200 and found
            ),
            "the API gives a token",
        )
        self._token = answer.json["token"]

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        timeout: float = 30,
    ) -> Answer:
        """One call on a connection of its own. Raises OSError if there is no answer."""
        data = None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if data else {}
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(
            self.url + path, data=data, method=method, headers=sent | (headers or {})
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout, context=self._trust) as answer:
                return Answer(answer.status, _parsed(answer.read()))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _parsed(error.read()))
        except http.client.HTTPException as error:
            raise ConnectionError(f"the answer broke off: {error!r}") from error

    def read(self, path: str) -> Any:
        """The answer to a GET. An OSError where the API has none, so that ``until`` asks again."""
        answer = self.call("GET", path)
        if answer.status == 503:
            raise ConnectionError(f"{path}: {answer}")
        assert answer.status == 200, f"{path}: {answer}"
        return answer.json

    def send(self, **changes: Any) -> str:
        """The id of a new e-mail."""
        email = {
            "sender": "shop@example.com",
            "to": "ann@example.org",
            "subject": "Hello",
            "body": "Hi\n",
        } | changes
        answer = self.call("POST", "/emails", email)
        assert answer.status == 202, answer
        return str(answer.json["id"])

    def ended(self, email_id: str, *, within: float = 120) -> Any:
        """The e-mail, once its status is final."""
        return until(
            lambda: (found := self.read(f"/emails/{email_id}"))["status"] != "incomplete" and found,
            f"{email_id} ends",
            within=within,
        )

    def statuses(self, wanted: set[str]) -> dict[str, str]:
        """The statuses of these e-mails by id, from the list of e-mails."""
        found: dict[str, str] = {}
        cursor = ""
        while len(found) < len(wanted):
            page = self.read(f"/emails?limit=100{cursor}")
            found |= {
                email["id"]: email["status"] for email in page["emails"] if email["id"] in wanted
            }
            if not page["cursor"]:
                break
            cursor = f"&cursor={urllib.parse.quote(page['cursor'])}"
        return found

    # Mailpit

    def mailpit(self, path: str, *, method: str = "GET", body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(
            urllib.request.Request(
                f"http://127.0.0.1:{self.mailpit_port}{path}", data=data, method=method
            ),
            timeout=30,
        ) as answer:
            return _parsed(answer.read())

    def arrivals(self, mark: str) -> list[str]:
        """The subjects of all messages with this word, each as often as it arrived."""
        subjects: list[str] = []
        query = urllib.parse.quote(f'subject:"{mark}"')
        while True:
            page = self.mailpit(f"/api/v1/search?query={query}&start={len(subjects)}&limit=1000")[
                "messages"
            ]
            subjects += [message["Subject"] for message in page]
            if not page:
                return subjects


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


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
