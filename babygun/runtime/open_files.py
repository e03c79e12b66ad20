"""How many files, connections among them, this process may have open."""

from __future__ import annotations

import sys
from contextlib import suppress


def allow_open_files(wanted: int) -> int:
    """Raises the process's soft limit to ``wanted``, as far as its hard limit allows.

    Returns the limit that holds then. Many systems begin with 1,024, for programs of old.
    """
    try:
        import resource
    except ImportError:  # no POSIX
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, most = (
        sys.maxsize if limit == resource.RLIM_INFINITY else limit for limit in (soft, hard)
    )
    if soft < wanted and soft < most:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, most), hard))
            return min(wanted, most)
    return soft
