"""``babygun send --batch FILE``: many e-mails, up to a thousand in one call."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from babygun.cli.remote import Remote, call_api
from babygun.errors import SettingsError

_AT_ONCE = 1000  # e-mails that the API takes in one call
_BYTES = 16 << 20  # of one call, below the API's max_request; a larger e-mail goes alone


class Entry(NamedTuple):
    """An e-mail as it stands in the file, and what to call its place there."""

    place: str
    json: bytes


def send_file(path: str, idempotency_key: str | None) -> int:
    """Sends the e-mails of a file (``-``: standard input), each on its own. Prints the ids, and to standard error what was not taken; returns 1 if there was such a one.

    Raises SettingsError, before anything is sent, where the file is neither a JSON list nor JSON lines.
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
                else:
                    status = 1
                    print(f"{entry.place}: {_why(result['problem'])}", file=sys.stderr)
            sys.stdout.flush()
        return status

    return call_api(work)


def _why(problem: dict[str, Any]) -> str:
    found = problem.get("errors") or [problem]
    return " ".join(
        f"{error['detail']} ({field})"
        if (field := error["field"].partition("].")[2])
        else error["detail"]
        for error in found
    )


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
        raise SettingsError(f"{name} is not in UTF-8 (byte {error.start})") from None
    if text.lstrip().startswith("["):
        entries = [
            Entry(f"e-mail {number}", json.dumps(email).encode())
            for number, email in enumerate(_parsed(text, name), 1)
        ]
    else:
        lines = ((number, line.strip()) for number, line in enumerate(text.split("\n"), 1))
        entries = [
            Entry(f"line {number}", json.dumps(_parsed(line, f"{name}, line {number}")).encode())
            for number, line in lines
            if line
        ]
    if not entries:
        raise SettingsError(f"{name} has no e-mail in it")
    return entries


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{where}: not JSON: {error}") from None
