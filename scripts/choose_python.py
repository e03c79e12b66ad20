"""Prints which Python the environment shall be made of: ``python3``, unless that is too old, or was built without optimisations and
the system's own will do. Such a build, as pyenv makes it by default, takes a third more time for Python code. Runs on old Pythons too."""

import subprocess
import sys
import sysconfig

SYSTEM = "/usr/bin/python3"  # built by a distribution, and these all optimise
_WILL_DO = "import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))"


def optimised() -> bool:
    """Whether this Python was built with optimisations led by a profile."""
    return (
        "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
        or sys.base_prefix == "/usr"
    )


def choose(found_will_do: bool, system: str = SYSTEM) -> str:
    """The command. ``found_will_do``: whether the one on the PATH is as it should be."""
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
