"""The data folder of ``babygun dev``: its lock and its JSON files.

``dev.lock`` keeps others out, ``client.json`` has the API client's credentials,
``etcd-cluster.json`` the ports of several etcd members, ``secrets-keys`` the key that seals
secrets. ``dev.json`` says what runs, and ``etcdctl.env`` says it to etcdctl.
"""

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

# Seconds that the guard of an earlier run, which was killed, may need to end its children.
_CLEANUP_WAIT = 60.0


class FolderInUse(BabygunError):
    """Another `babygun dev` uses this data folder."""


class DataFolder:
    """``path``, made for this user only if it doesn't exist. Locked while it is open."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.logs = self.path / "logs"
        self._lock = -1

    def open(self, say: Callable[[str], None]) -> Self:
        """Locks the folder. Raises FolderInUse, or BabygunError if it can't be used."""
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
        self._forget_run()  # of a run that was killed
        return self

    def close(self) -> None:
        """Deletes dev.json and etcdctl.env, and unlocks the folder."""
        self._forget_run()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @property
    def lock(self) -> int:
        """The lock's file descriptor.

        The guard inherits it, so the folder stays locked until the guard has cleaned up.
        """
        return self._lock

    def _acquire(self, lock: int, say: Callable[[str], None]) -> None:
        deadline, announced = time.monotonic() + _CLEANUP_WAIT, False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
                if process_runs(holder) or time.monotonic() > deadline:
                    process = f" (process {holder})" if holder else ""
                    raise FolderInUse(
                        f"another babygun dev{process} uses {self.path}:"
                        " stop it, or choose another folder with --data-dir"
                    ) from None
                if not announced:
                    say("an earlier run was killed; waiting until its processes are gone")
                    announced = True
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
                f"{path} can't be read ({error}): delete it to get new credentials"
            ) from None
        made = {"client_id": f"dev-{new_token(4)}", "client_secret": new_token(32)}
        _write(path, _json(made))
        return made["client_id"], made["client_secret"]

    def secrets_keys(self, new_key: Callable[[], str]) -> Path:
        """The file with the key that seals secrets: made once, kept."""
        path = self.path / "secrets-keys"
        if not path.exists():
            _write(path, f"{new_key()}\n")
        return path

    def read_etcd_cluster(self) -> dict[str, Any] | None:
        """The value that was written, or None. Raises BabygunError if it can't be read."""
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
                f"{path} can't be read ({error}): put it back as it was,"
                " it holds the ports by which the etcd members find each other"
            ) from None

    def write_etcd_cluster(self, value: Mapping[str, Any]) -> None:
        """Keeps what the members of an etcd cluster need at the next start."""
        _write(self.path / "etcd-cluster.json", _json(value))

    def write_dev_json(self, state: Mapping[str, Any]) -> None:
        """Replaces dev.json: a reader sees the old one or the new one."""
        _write(self.path / "dev.json", _json(state))

    @property
    def etcdctl_env(self) -> Path:
        """A shell that reads this file can use etcdctl. It exists while dev.json does."""
        return self.path / "etcdctl.env"

    def write_etcdctl_env(self, lines: str) -> None:
        """Replaces etcdctl.env."""
        _write(self.etcdctl_env, lines)

    def _forget_run(self) -> None:
        for path in (self.path / "dev.json", self.etcdctl_env):
            path.unlink(missing_ok=True)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    temporary.replace(path)


def process_runs(pid: str) -> bool:
    """Whether a process with this number exists."""
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True
