"""The data folder of ``babygun dev``: whose it is, the client's credentials, and dev.json, which says what runs."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from babygun.errors import BabygunError
from babygun.runtime.identifiers import new_token

_CLEANUP_WAIT = (
    20.0  # seconds that an earlier run, killed, may need until its guard has ended its children
)


class FolderInUse(BabygunError):
    """Another `babygun dev` uses this data folder."""


class DataFolder:
    """``path`` (made where it doesn't exist, for this user only), locked for this process while open."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.logs = self.path / "logs"
        self._lock = -1

    def open(self, say: Callable[[str], None]) -> Self:
        """Raises FolderInUse, or BabygunError where it can't be used."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.logs.mkdir(mode=0o700, exist_ok=True)
            lock = os.open(self.path / "dev.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise BabygunError(
                f"the data folder {self.path} can't be used: {error.strerror or error}"
            ) from None
        try:
            self._acquire(lock, say)
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock
        self._dev_json.unlink(missing_ok=True)  # of a run that was killed
        return self

    def close(self) -> None:
        """Takes dev.json away and gives the folder free."""
        self._dev_json.unlink(missing_ok=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @property
    def lock(self) -> int:
        """The lock's file descriptor. Who inherits it keeps the folder locked: the guard, until it has cleaned up."""
        return self._lock

    def _acquire(self, lock: int, say: Callable[[str], None]) -> None:
        deadline, told = time.monotonic() + _CLEANUP_WAIT, False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
                if process_runs(holder) or time.monotonic() > deadline:
                    raise FolderInUse(
                        f"another babygun dev{f' (process {holder})' if holder else ''} uses {self.path}: stop it, or choose another folder with --data-dir"
                    ) from None
                if not told:
                    say("an earlier run was killed; waiting until its processes are gone")
                    told = True
                time.sleep(0.1)

    # --- what it holds ---

    def credentials(self) -> tuple[str, str]:
        """The API client's id and secret: made once, kept in client.json."""
        path = self.path / "client.json"
        try:
            kept = json.loads(path.read_text())
            return str(kept["client_id"]), str(kept["client_secret"])
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BabygunError(
                f"{path} can't be read ({error}): delete it, and new credentials are made"
            ) from None
        made = {"client_id": f"dev-{new_token(4)}", "client_secret": new_token(32)}
        _write(path, made)
        return made["client_id"], made["client_secret"]

    def read_etcd_cluster(self) -> dict[str, Any] | None:
        """What :meth:`write_etcd_cluster` kept; None where there is nothing. Raises BabygunError."""
        path = self.path / "etcd-cluster.json"
        try:
            kept = json.loads(path.read_text())
            if not isinstance(kept, dict):
                raise ValueError("not an object")
            return kept
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise BabygunError(
                f"{path} can't be read ({error}): put it back as it was, for it says where the etcd members of this folder look for each other"
            ) from None

    def write_etcd_cluster(self, value: Mapping[str, Any]) -> None:
        """What the members of an etcd cluster must find again at the next start."""
        _write(self.path / "etcd-cluster.json", value)

    def write_dev_json(self, state: Mapping[str, Any]) -> None:
        """In one piece: a reader sees the old state or the new one."""
        _write(self._dev_json, state)

    @property
    def _dev_json(self) -> Path:
        return self.path / "dev.json"


def _write(path: Path, value: Mapping[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(json.dumps(value, indent=2) + "\n")
    temporary.replace(path)


def process_runs(pid: str) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True
