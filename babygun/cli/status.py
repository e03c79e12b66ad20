"""A command's exit status, with the sentence that an error ends in."""

from __future__ import annotations

import sys
from collections.abc import Callable

from babygun.errors import BabygunError, SettingsError

USAGE_ERROR = 2
FAILURE = 1


def status_of(run: Callable[[], int]) -> int:
    """What ``run`` returns: 0 done, 1 failed, 2 called or set up wrongly."""
    try:
        return run()
    except SettingsError as error:
        print(f"babygun: {error}", file=sys.stderr)
        return USAGE_ERROR
    except BabygunError as error:
        print(f"babygun: {error}", file=sys.stderr)
        return FAILURE
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `babygun emails list | head`
        sys.stderr.close()
        return FAILURE
