"""Chooses ports: the one that was asked for, else the default one or the next free one."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from itertools import count, islice

from babygun.errors import SettingsError

_TRIES = 100  # ports tried from a default on
# Below the ports that a kernel gives out. So nobody gets one between its choice and its use, and it
# is likely free next time too.
_OURS = range(20_000, 32_768)
# Each process walks through them from another one on. So two that start at once choose others.
_walk = count(os.getpid() * 16)


class Ports:
    """The ports of one run; none is chosen twice. ``say`` gets a line if a default is busy."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._taken: set[int] = set()

    def choose(
        self, what: str, *, asked: int | None, default: int, option: str, host: str = "127.0.0.1"
    ) -> int:
        """``asked`` (0: any free one), or if that is None, ``default`` or the next free one.

        Raises SettingsError if the asked port can't be had; the message names ``option``.
        """
        if asked == 0:
            return self.any(host)
        if asked is not None:
            if reason := self._refused(asked, host):
                raise SettingsError(
                    f"{what} can't have port {asked}: {reason}."
                    f" Choose another one with {option}, or leave it out"
                )
            self._taken.add(asked)
            return asked
        for port in range(default, min(default + _TRIES, 65536)):
            if not self._refused(port, host):
                self._taken.add(port)
                if port != default:
                    hint = f" ({option} names another)" if option else ""
                    self._say(f"port {default} is busy: {what} takes {port}{hint}")
                return port
        hint = f"; choose one with {option}" if option else ""
        raise SettingsError(f"no port from {default} on is free for {what}{hint}")

    def any(self, host: str = "127.0.0.1") -> int:
        """Any free port. It is likely to be free at later starts too."""
        for number in islice(_walk, len(_OURS)):
            port = _OURS[number % len(_OURS)]
            if not self._refused(port, host):
                self._taken.add(port)
                return port
        raise SettingsError(f"no port from {_OURS.start} to {_OURS.stop - 1} is free")

    def again(self, what: str, port: int) -> None:
        """Takes a port that must be the same as before. Raises SettingsError if it is busy."""
        if reason := self._refused(port, "127.0.0.1"):
            raise SettingsError(
                f"{what} needs port {port} again, where the other members expect it,"
                f" but {reason}: end that first, or choose another folder with --data-dir"
            )
        self._taken.add(port)

    def _refused(self, port: int, host: str) -> str:
        """Why this port can't be had; empty if it can."""
        if not 0 < port < 65536:
            return "it is not between 1 and 65535"
        if port in self._taken:
            return "it is given to another part of Babygun"
        try:
            with socket.create_server(
                (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
            ):
                return ""
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return "something else listens there already"
            return (error.strerror or str(error)).lower()
