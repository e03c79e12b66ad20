"""``babygun send --batch``."""

from __future__ import annotations

import json

from tests.support.commands import Command
from tests.support.rig import Rig


async def test_batch_of_a_file_is_sent_and_what_was_refused_is_printed(
    rig: Rig, with_api: Command
) -> None:
    good = {"sender": "me@example.com", "to": "ann@example.org"}
    emails = (good, good | {"to": "nobody", "subject": "a\nb"}, good)
    (with_api.folder / "lines").write_text("\n\n".join(map(json.dumps, emails)) + "\n")
    sent = await with_api("send", "--batch", "lines", "--idempotency-key", "k")
    ids = sent.out.split()
    assert sent.status == 1 and len(ids) == 2
    assert (
        sent.error
        == "line 3: The address has no @. (to) The subject must not hold line breaks. (subject)\n"
    )
    assert (await with_api("send", "--batch", "lines", "--idempotency-key", "k")).out.split() == ids
    document = json.dumps([good] * 1001, indent=1).encode()
    many = await with_api("send", "--batch", "-", stdin=document)
    assert (many.status, many.error) == (0, "") and len(set(many.out.split())) == 1001
    await rig.counted(rig.store.keys.emails, 1003)


async def test_batch_that_is_no_list_of_json_is_refused_before_anything_is_sent(
    babygun: Command,
) -> None:
    for words, stdin, said in (
        (("-",), b'{"sender": "a@example.com"}\n{', "standard input, line 2: not JSON"),
        (("-",), b"[1,", "standard input: not JSON"),
        (("-",), b"\xff", "UTF-8"),
        (("missing.json",), b"", "missing.json: No such file"),
        (("-", "--to", "ann@example.org"), b"[]", "no other option than --idempotency-key"),
    ):
        result = await babygun("send", "--batch", *words, stdin=stdin)
        assert result.status == 2 and said in result.error, result
