"""``babygun send --batch FILE``: sends many e-mails, up to a thousand in one call."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from babygun.cli.remote import Remote, call_api
from babygun.errors import SettingsError

_AT_ONCE = 1000  # e-mails that the API takes in one call
_BYTES = 16 << 20  # of one call, less than the API's max_request; a larger e-mail goes alone


class Entry(NamedTuple):
    """An e-mail of the file. ``place`` is for messages: ``line 3`` or ``e-mail 3``."""

    place: str
    json: bytes


def send_file(path: str, idempotency_key: str | None) -> int:
    """Sends each e-mail of a file (``-``: standard input).

    Prints the ids, and to standard error why e-mails were refused; returns 1 if some were.
    Raises SettingsError, before anything is sent, if the file holds no JSON list or JSON lines.
    """
    entries = _read(path)

    async def work(remote: Remote) -> int:
        status = 0
        for number, batch in enumerate(_batches(entries), 1):
            headers = {"Content-Type": "application/json", "x-batch-validation": "permissive"}
            if idempotency_key:
                headers["Idempotency-Key"] = f"{idempotency_key} {number}"
            data = BytesIO(b"[" + b",".join(entry.json for entry in batch) + b"]")
            answer = await remote.call("POST", "/emails/batch", data=data, headers=headers)
            for entry, result in zip(batch, answer["results"], strict=True):
                if result["id"]:
                    print(result["id"])
                    if left_out := result.get("suppressed"):
                        said = f"not sent to suppressed addresses: {', '.join(left_out)}"
                        print(f"{entry.place}: {said}", file=sys.stderr)
                else:
                    status = 1
                    print(f"{entry.place}: {_reasons(result['problem'])}", file=sys.stderr)
            sys.stdout.flush()
        return status

    return call_api(work)


def _reasons(problem: dict[str, Any]) -> str:
    sentences = []
    for error in problem.get("errors") or [problem]:
        field = error["field"].partition("].")[2]  # without the place in the call
        sentences.append(f"{error['detail']} ({field})" if field else error["detail"])
    return " ".join(sentences)


def _batches(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        if batch and (len(batch) == _AT_ONCE or size + len(entry.json) > _BYTES):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += len(entry.json)
    yield batch


def _read(path: str) -> list[Entry]:
    name = "standard input" if path == "-" else path
    try:
        text = (sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()).decode()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{name} is not UTF-8 (at byte {error.start})") from None
    places: Iterable[tuple[str, Any]]
    if text.lstrip().startswith("["):
        emails = enumerate(_parsed(text, name), 1)
        places = ((f"e-mail {number}", email) for number, email in emails)
    else:
        lines = enumerate(text.split("\n"), 1)
        places = (
            (f"line {number}", _parsed(line, f"{name}, line {number}"))
            for number, line in lines
            if line.strip()
        )
    entries = [Entry(place, json.dumps(email).encode()) for place, email in places]
    if not entries:
        raise SettingsError(f"{name} holds no e-mail")
    return entries


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{where}: not JSON: {error}") from None
