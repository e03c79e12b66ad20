"""The Compose cluster as its users and operators see it."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.cluster.containers import MEMBERS, Containers, until

PREFIX = "/babygun/"
CREDENTIALS = "/certificates/operator/credentials"


class Answer(NamedTuple):
    status: int
    json: Any


class Cluster(Containers):
    """One cluster: its API, its etcd and its mailbox."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.url = f"https://localhost:{self.port}"
        self._folder = folder
        self.said = ""  # what the commands printed by which it was started
        self._trust: ssl.SSLContext | None = None
        self._token = ""

    # etcd

    def etcdctl(self, *words: str, service: str = "tools", members: Sequence[str] = MEMBERS) -> str:
        """``etcdctl`` as an inspector (``service="admin"``: as root).

        It refuses a flag if the variable for the same is set.
        """
        endpoints = ",".join(f"https://{member}:2379" for member in members)
        return self.run(service, "etcdctl", *words, variables={"ETCDCTL_ENDPOINTS": endpoints})

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

    def until_served(self) -> None:
        """Waits until the balancer has an API process that is ready."""
        until(lambda: self.call("GET", "/readyz").status == 200, "the API is ready")

    def served(self) -> str:
        """The certificate that the API serves, as PEM."""
        return ssl.get_server_certificate(("localhost", self.port))

    def sign_in(self) -> None:
        """Copies the first client's credentials and the API's CA from the cluster; gets a token."""
        [bootstrap] = [row.id for row in self.found() if row.service == "bootstrap"]
        self.docker("cp", f"{bootstrap}:{CREDENTIALS}/.", str(self._folder))
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
