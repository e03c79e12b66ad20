"""The clients that call the API. They write each request and each answer to the history.

A client repeats a call until it is answered, as docs/api.md says: with the same key, or
without a key only if the call was not sent or not stored.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter, deque
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Protocol, Self

import aiohttp

from babygun.runtime.tasks import cancel_all
from scripts.chaos.answers import DAILY_LIMIT, Answer, ids_of, may_repeat
from scripts.chaos.history import Answered, Asked, Call, Mail, Recorder
from scripts.chaos.mail import Draft, Drafts
from scripts.chaos.parts import Part

PATIENCE = 10.0  # s that a client waits for an answer
PAUSES = (0.1, 0.3, 1.0)  # s, before a call is repeated; the last one from then on
MOST_OPEN = 400  # calls that are not answered for good; a source then waits
REMEMBERED = 2000  # ids of accepted e-mails, for cancels and retries

_METHODS = {"read": "GET", "change": "PATCH", "change-client": "PATCH", "erase": "DELETE"}


@dataclass
class Login:
    """A client of the API. ``tokens``: by API process: their clocks may differ."""

    client_id: str
    secret: str
    tokens: dict[str, str] = field(default_factory=dict)


class Service(Protocol):
    """The API, as clients see it. ``scripts.chaos.stage.Stage`` is one."""

    client_id: str
    client_secret: str

    @property
    def apis(self) -> Sequence[Part]: ...

    @property
    def domains(self) -> Sequence[str]: ...  # that e-mails go to

    def url(self, api: Part) -> str: ...


class Clients:
    """All calls of a run. ``counts``: e-mails asked, accepted, refused, unknown; calls by name."""

    def __init__(self, service: Service, recorder: Recorder, random: Random) -> None:
        self.recorder, self.random = recorder, random
        self.counts: Counter[str] = Counter()
        self.accepted: deque[str] = deque(maxlen=REMEMBERED)
        self.surprises: Counter[str] = Counter()  # refusals that no client should get
        self._service = service
        self._apis = itertools.cycle(service.apis)
        self._numbers = itertools.count(1)
        self._login = Login(service.client_id, service.client_secret)
        self._keys = itertools.count(1)
        self._open: set[asyncio.Task[object]] = set()
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await cancel_all(*self._open)
        await self._session.close()

    @property
    def open(self) -> int:
        """Calls that go on."""
        return len(self._open)

    @property
    def apis(self) -> Sequence[Part]:
        """The API processes."""
        return self._service.apis

    def drafts(
        self, random: Random, name: str, domains: Sequence[str] = (), *, holds: bool = True
    ) -> Drafts:
        """Makes e-mails whose marks begin with ``name``. ``domains``: else those of the relays.

        ``holds``: whether the client that sends them holds the run's sending domains.
        """
        to = domains or self._service.domains
        return Drafts(random, to, name, self._numbers, holds=holds)

    async def send(
        self,
        drafts: Sequence[Draft],
        *,
        key: bool,
        patience: float = PATIENCE,
        batch: bool = False,
        login: Login | None = None,
    ) -> None:
        """Sends an e-mail, or a batch, and goes on at once. Waits while too many calls are open.

        ``key``: with an Idempotency-Key. ``patience``: s until it gives up one answer. ``login``:
        else that of the run's own client.
        """
        while len(self._open) >= MOST_OPEN:
            await asyncio.wait(self._open, return_when=asyncio.FIRST_COMPLETED)
        self.start(self._send(drafts, key, patience, batch, login))

    def start(self, call: Coroutine[None, None, object]) -> None:
        """Makes calls, and goes on at once. The run ends when they have ended."""
        task = asyncio.create_task(call)
        self._open.add(task)
        task.add_done_callback(self._closed)

    def _closed(self, task: asyncio.Task[object]) -> None:
        self._open.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.surprises[f"the harness: {error!r}"] += 1

    async def accepted_one(self, draft: Draft) -> bool:
        """Sends an e-mail with a key. Returns when it is accepted; False: it is not."""
        return await self._send([draft], True, PATIENCE, False, None)

    async def _send(
        self,
        drafts: Sequence[Draft],
        with_key: bool,
        patience: float,
        batch: bool,
        login: Login | None,
    ) -> bool:
        """Whether all are accepted."""
        key = f"key-{next(self._keys)}" if with_key else None
        requests = [draft.request for draft in drafts]
        body = json.dumps(requests if batch else requests[0]).encode()
        call: Call = "batch" if batch else "send"
        self.counts["asked"] += len(drafts)
        accepted: set[str] = set()
        for pause in itertools.chain(PAUSES, itertools.repeat(PAUSES[-1])):
            answer = await self._call(
                call,
                "/emails/batch" if batch else "/emails",
                body,
                patience,
                login=login,
                key=key,
                mails=tuple(draft.mail for draft in drafts),
            )
            ids = {each for each in ids_of(answer) if each}
            self.accepted.extend(ids - accepted)
            self.counts["accepted"] += len(ids - accepted)
            accepted |= ids
            if len(accepted) == len(drafts):
                return True
            patience = min(1.5 * patience, PATIENCE)
            if not may_repeat(answer, with_key=with_key):
                unknown = answer.status == 0 or answer.status >= 500
                self._wonder(call, answer)
                self.counts["unknown" if unknown else "refused"] += len(drafts) - len(accepted)
                return False
            await asyncio.sleep(pause * self.random.uniform(0.5, 1.5))
        raise AssertionError("the pauses do not end")

    async def until_done(self, call: Call, path: str, body: object = None) -> tuple[Any, int]:
        """Makes an operator's call again and again until it succeeds, or is refused for good.

        Returns the answer's body, and how many calls it took. Body None: it was refused.
        """
        data = None if body is None else json.dumps(body).encode()
        for number in itertools.count(1):
            answer = await self._call(call, path, data, PATIENCE)
            if answer.status in (200, 201):
                return answer.body, number
            if answer.status not in (0, 401, 429, 503):
                return None, number
            await asyncio.sleep(PAUSES[-1] * self.random.uniform(0.5, 1.5))
        raise AssertionError("a count does not end")

    def start_change(self, call: Call, email_id: str) -> None:
        """Cancels, retries, hurries, changes or reads an e-mail, once, and goes on at once."""
        self.start(self._change(call, email_id))

    async def _change(self, call: Call, email_id: str) -> None:
        self.counts[call] += 1
        path = f"/emails/{email_id}"
        body = self._edit() if call == "change" else None
        if call not in ("change", "read"):
            path += f"/{call}"
        answer = await self._call(call, path, body, PATIENCE, email_id=email_id)
        if answer.status >= 500:
            self._wonder(call, answer)

    def _edit(self) -> bytes:
        """Other tags; every second time also another time, if the e-mail waits."""
        number = self.counts["change"]
        edit: dict[str, object] = {"tags": [f"changed-{number}"]}
        if number % 2:
            soon = datetime.now(UTC) + timedelta(seconds=self.random.uniform(0.0, 3.0))
            edit["send_at"] = soon.isoformat()
        return json.dumps(edit).encode()

    def _wonder(self, call: Call, answer: Answer) -> None:
        """Counts an answer that no client should get."""
        if answer.status not in (0, 207, 503) and answer.problem != DAILY_LIMIT:
            self.surprises[f"{call}: {answer.status} {answer.problem}"] += 1

    async def _call(
        self,
        call: Call,
        path: str,
        body: bytes | None,
        patience: float,
        *,
        login: Login | None = None,
        key: str | None = None,
        mails: tuple[Mail, ...] = (),
        email_id: str | None = None,
    ) -> Answer:
        """One request to the next API process, with its entries in the history."""
        api, number = next(self._apis), self.recorder.next_number()
        login = login or self._login
        if api.name not in login.tokens:
            await self.sign_in(login, api)
        headers = {"Authorization": f"Bearer {login.tokens.get(api.name, '')}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if key:
            headers["Idempotency-Key"] = key
        self.recorder.add(
            Asked(
                self.recorder.now(), number, login.client_id, api.number, call, key, mails, email_id
            )
        )
        answer = Answer(0, problem="the run ended")
        try:
            async with asyncio.timeout(patience):
                answer = await self._request(
                    _METHODS.get(call, "POST"),
                    f"{self._service.url(api)}{path}",
                    body,
                    headers,
                )
        except TimeoutError:
            answer = Answer(0, problem=f"no answer within {patience:g} s")
        except aiohttp.ClientConnectorError as error:
            answer = Answer(0, sent=False, problem=str(error))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            answer = Answer(0, problem=repr(error))
        finally:
            self.recorder.add(
                Answered(
                    self.recorder.now(),
                    number,
                    answer.status,
                    tuple(ids_of(answer)),
                    answer.problem,
                    answer.repeated,
                )
            )
        if answer.status == 401:
            login.tokens.pop(api.name, None)
        return answer

    async def _request(
        self, method: str, url: str, body: bytes | None, headers: dict[str, str]
    ) -> Answer:
        async with self._session.request(method, url, data=body, headers=headers) as answer:
            content = await answer.json(content_type=None)
            problem = ""
            if answer.status >= 400 and isinstance(content, dict):
                problem = str(content.get("type", "")).rpartition(":")[2]
            repeated = answer.headers.get("Idempotent-Replayed") == "true"
            return Answer(answer.status, content, problem=problem, repeated=repeated)

    async def sign_in(self, login: Login, api: Part) -> int:
        """Asks for a token. Returns the status of the answer, 0 for none."""
        given = {"client_id": login.client_id, "client_secret": login.secret}
        with suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with (
                asyncio.timeout(5),
                self._session.post(f"{self._service.url(api)}/tokens", json=given) as answer,
            ):
                if answer.status == 200:
                    login.tokens[api.name] = (await answer.json())["token"]
                return answer.status
        return 0
