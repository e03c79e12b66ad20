"""What tests need of the machine.

Without it they skip and say so. In continuous integration (the variable CI is set) they fail.
"""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

IN_CI = bool(os.environ.get("CI"))


def missing(reason: str) -> NoReturn:
    """Skips the test or the module, or fails it in continuous integration."""
    if IN_CI:
        pytest.fail(f"{reason} (CI is set: tests don't skip for this)", pytrace=False)
    pytest.skip(reason, allow_module_level=True)


def needs(found: object, reason: str) -> pytest.MarkDecorator:
    """Marks tests that skip if ``found`` is nothing. In CI they run, and fail."""
    return pytest.mark.skipif(not found and not IN_CI, reason=reason)
