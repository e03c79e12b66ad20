"""What a client may change of an e-mail; the life cycle's machine tries the rest."""

from __future__ import annotations

import pytest
from msgspec import structs

from babygun.email.edit import MOST_LOGGED, Edit, edit
from babygun.errors import Conflict
from tests.email.steps import LATER, email


def test_email_that_has_changed_too_often_is_not_changed_again() -> None:
    """Its log is read as a whole."""
    before = structs.replace(email(a=1), tags=("a",), log_seq=MOST_LOGGED - 1)
    last = edit(before, Edit(tags=("b",)), sending=(), now=LATER)
    assert last is not None and last.email.log_seq == MOST_LOGGED
    assert edit(last.email, Edit(tags=("b",)), sending=(), now=LATER) is None
    with pytest.raises(Conflict, match="too often"):
        edit(last.email, Edit(tags=("a",)), sending=(), now=LATER)
