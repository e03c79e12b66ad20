"""Tags and metadata: what a client writes on an e-mail for itself."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

from babygun.intake.broken_rules import BrokenRules

MAX_TAGS, MAX_TAG = 10, 64
# The record carries the metadata, and is written at each change.
MAX_METADATA, MAX_METADATA_BYTES = 50, 4096

Tags = Annotated[
    list[str] | None,
    Meta(
        description=f"At most {MAX_TAGS}, each of 1 to {MAX_TAG} letters, digits and _ . : - "
        "The listing filters by them."
    ),
]
Metadata = Annotated[
    dict[str, str] | None,
    Meta(
        description="Texts of yours that are kept with the e-mail: "
        f"at most {MAX_METADATA}, together {MAX_METADATA_BYTES} bytes."
    ),
]

is_tag = re.compile(rf"[A-Za-z0-9_.:-]{{1,{MAX_TAG}}}").fullmatch


def check_tags(tags: list[str], broken: BrokenRules) -> None:
    if len(tags) > MAX_TAGS:
        broken.report("tags", f"There are {len(tags)} tags; at most {MAX_TAGS} are taken.")
    for index, tag in enumerate(tags[:MAX_TAGS]):
        if not is_tag(tag):
            broken.report(
                f"tags[{index}]", f"A tag has 1 to {MAX_TAG} letters, digits and _ . : - only."
            )


def check_metadata(metadata: dict[str, str], broken: BrokenRules) -> None:
    if len(metadata) > MAX_METADATA:
        broken.report(
            "metadata", f"There are {len(metadata)} entries; at most {MAX_METADATA} are taken."
        )
        return
    size = sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items())
    if size > MAX_METADATA_BYTES:
        broken.report(
            "metadata",
            f"The metadata have {size} bytes; at most {MAX_METADATA_BYTES} are taken.",
            too_large=True,
        )
