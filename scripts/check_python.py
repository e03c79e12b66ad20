# ruff: noqa: UP031 (old Pythons read this file too)
"""Says in one sentence if this Python can't make the environment. Runs on old Pythons too."""

import sys


def problem():
    """What is missing, or None."""
    if sys.version_info < (3, 11):  # noqa: UP036
        found = ".".join(map(str, sys.version_info[:3]))
        return (
            "Babygun needs Python 3.11 or newer, and %s is %s."
            " Name another one: make install PYTHON=python3.12"
        ) % (sys.executable or "python3", found)
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        package = "python%d.%d-venv" % sys.version_info[:2]
        return (
            "this Python has no venv module with pip."
            " On Debian and Ubuntu: apt-get install %s (or python3-venv)"
        ) % package
    return None


if __name__ == "__main__":
    sys.exit(problem())
