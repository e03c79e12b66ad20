"""Lists of tags, as DKIM and DMARC records are."""

from __future__ import annotations

import pytest

from babygun.domains.tags import parse_tags, without_space


def test_tags_keep_their_order_and_lose_the_space_around() -> None:
    tags = parse_tags(" v = DKIM1 ; p= MII B\tA ;; n=; ")
    assert list(tags.items()) == [("v", "DKIM1"), ("p", "MII B\tA"), ("n", "")]
    assert without_space(tags["p"]) == "MIIBA"


@pytest.mark.parametrize("text", ["v=DKIM1; p", "v=1; v=2", "=x", "a b=c", "1=x"])
def test_text_that_is_no_list_of_tags_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_tags(text)
