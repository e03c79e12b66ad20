"""Prints the command of the Python for the environment. Runs on old Pythons too.

That is ``python3``. If it is too old, or built without optimisations, it is the system's own, if
that is new enough. A Python without optimisations, as pyenv builds it, is a third slower.
"""

import subprocess
import sys
import sysconfig

SYSTEM = "/usr/bin/python3"  # distributions build it with optimisations
_WILL_DO = "import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))"


def optimised() -> bool:
    """Whether this Python was built with profile-guided optimisations."""
    return (
        "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
        or sys.base_prefix == "/usr"
    )


def choose(found_will_do: bool, system: str = SYSTEM) -> str:
    """The command. ``found_will_do``: whether the PATH's Python is new and optimised."""
    if not found_will_do:
        try:
            subprocess.check_output([system, "-c", _WILL_DO], stderr=subprocess.STDOUT)  # noqa: S603
        except (OSError, subprocess.CalledProcessError):
            pass
        else:
            return system
    return "python3"


if __name__ == "__main__":
    print(choose(sys.version_info >= (3, 11) and optimised()))
