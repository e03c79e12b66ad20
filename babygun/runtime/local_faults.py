"""Faults of this machine while it connects to another, which has nothing to do with them."""

from __future__ import annotations

import errno
import socket

# No descriptors, no memory for buffers, no port left. Below 0: the C library's own, of a lookup.
_LACKS = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.EADDRINUSE,
        socket.EAI_MEMORY,
        socket.EAI_SYSTEM,
    }
)


def is_local_fault(number: int | None, *, port_chosen_late: bool = False) -> bool:
    """Whether an errno says that this machine lacks what a connection takes.

    ``port_chosen_late``: the system chose the port when it connected. If none is left, Linux says
    so by EADDRNOTAVAIL, which means something else where an address of ours was given.
    """
    return number in _LACKS or (port_chosen_late and number == errno.EADDRNOTAVAIL)
