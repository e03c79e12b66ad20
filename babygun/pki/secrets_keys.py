"""The file with the keys that seal secrets in etcd, and its copies for each part that needs it.

The original is in ``authority/``, which is for the operator alone. Each copy is mounted where its
part runs. The first key seals, all of them open (:mod:`babygun.pki.sealing`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from babygun.errors import SettingsError
from babygun.pki.files import write_private
from babygun.pki.sealing import new_key

NAME = "secrets-keys"
_ORIGINAL = f"authority/{NAME}"
_ABOUT = (
    "# Keys that seal secrets in etcd: the first seals, all open. Without them the DKIM keys are"
    " lost.\n"
)


def ensure_secrets_keys(folder: Path, parts: Sequence[str], *, new: bool = False) -> Iterator[str]:
    """Makes the file and its copies where they are missing or differ.

    ``new``: puts a new key before the others. Yields a line for each file that it writes. Raises
    SettingsError if the folder can't be used.
    """
    try:
        found = _found(folder, parts)
        text = found or f"{_ABOUT}{new_key()}\n"
        if found and new:
            text = f"{_ABOUT}{new_key()}\n{found.removeprefix(_ABOUT)}"
        for path in (_ORIGINAL, *(f"{part}/{NAME}" for part in parts)):
            if _read(folder / path) != text:
                write_private(folder / path, text.encode())
                yield f"{path}: {'a new key seals' if found and new else 'made'}"
    except OSError as error:
        raise SettingsError(
            f"{error.filename or folder} can't be used: {error.strerror or error}"
        ) from None


def _found(folder: Path, parts: Sequence[str]) -> str:
    """What the original holds. Where it is gone, what a copy holds: secrets are sealed with it."""
    paths = (_ORIGINAL, *(f"{part}/{NAME}" for part in parts))
    return next((text for path in paths if (text := _read(folder / path))), "")


def _read(path: Path) -> str:
    return path.read_text(encoding="ascii") if path.exists() else ""
