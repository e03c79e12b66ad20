"""Which e-mail a complaint is about: by return paths, else by Message-ID and address."""

from __future__ import annotations

import pytest

from babygun.bounces.matching import return_paths
from babygun.email import ids
from babygun.email.return_path import ReturnPath, hash_of_recipient, local_part, of_recipient, read

SECRET = bytes(32)
EMAIL_ID = ids.email_id(1_760_000_000 * 10**9, "0123456789abcdef")
PATH = of_recipient(EMAIL_ID, "ann@rcpt.example", 0, "shop:1")
ADDRESS = f"{local_part(PATH, SECRET)}@bounces.sender.example"


def found(head: str, *addresses: str) -> list[ReturnPath]:
    return list(return_paths(head, addresses, lambda text: read(text, [SECRET])))


@pytest.mark.parametrize(
    "field",
    [
        f"Return-Path: <{ADDRESS}>",
        f"Return-Path: {ADDRESS.upper()}",
        f"Original-Mail-From: <{ADDRESS}>",
        f"Received-SPF: pass (isp: domain of {ADDRESS} designates 192.0.2.1) client-ip=192.0.2.1",
        f"Authentication-Results: isp.example; spf=pass smtp.mailfrom={ADDRESS};\n dkim=pass",
    ],
)
def test_return_path_is_found_in_whatever_field_it_stands(field: str) -> None:
    assert found(f"From: News <news@sender.example>\n{field}\nSubject: x") == [PATH]
    assert found(f"{field}\n{field}") == [PATH]


def test_return_path_with_a_wrong_seal_is_none() -> None:
    forged = local_part(PATH, bytes(31) + b"x")
    assert found(f"Return-Path: <{forged}@bounces.sender.example>", "ann@rcpt.example") == []


def test_message_id_and_address_name_the_email_where_the_return_path_is_removed() -> None:
    head = f"From: news@sender.example\nMessage-ID: <{EMAIL_ID}@sender.example>"
    recipient = hash_of_recipient(EMAIL_ID, "ann@rcpt.example")
    assert found(head, "Ann@RCPT.example") == [ReturnPath(EMAIL_ID, recipient, 0, "")]
    assert found(head) == []
    assert found("Message-ID: <0a1b@sender.example>", "ann@rcpt.example") == []


def test_head_of_many_return_paths_is_looked_at_in_part() -> None:
    wrong = [local_part(PATH, bytes([number]) * 32) for number in range(1, 50)]
    head = "".join(f"X: {text}@bounces.sender.example\n" for text in wrong)
    assert found(f"{head}Return-Path: <{ADDRESS}>") == []
    assert found(f"Return-Path: <{ADDRESS}>\n{head}") == [PATH]
