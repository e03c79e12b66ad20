"""A command's exit status. An error is one sentence on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from babygun.errors import BabygunError, SettingsError

USAGE_ERROR = 2
FAILURE = 1


def status_of(run: Callable[[], int]) -> int:
    """Runs a command: 0 done, 1 failed, 2 wrong arguments or settings, 130 interrupted."""
    try:
        status = run()
        print(end="", flush=True)  # a reader that went away shows here, not at the exit
        return status
    except SettingsError as error:
        print(f"babygun: {error}", file=sys.stderr)
        return USAGE_ERROR
    except BabygunError as error:
        print(f"babygun: {error}", file=sys.stderr)
        return FAILURE
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `babygun emails list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
