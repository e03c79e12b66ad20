"""What ``babygun dev`` prints once everything answers: where things are, and lines that work when pasted into another shell."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

Style = Callable[[str, str], str]  # a style's name and a text, to the text as it is shown

_CODES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}


def plain(name: str, text: str) -> str:
    return text


def coloured(name: str, text: str) -> str:
    return f"\x1b[{_CODES[name]}m{text}\x1b[0m"


def banner(
    *,
    style: Style,
    api_url: str,
    client_id: str,
    client_secret: str,
    delivery: str,
    mailbox_url: str | None,
    etcd: str,
    etcd_endpoint: str,
    etcdctl: str | None,
    prefix: str,
    data: str,
    curl: str = "curl",
) -> str:
    """``delivery`` says where mail goes; ``curl`` is the command with the options that this address needs."""
    rows = [
        ("API and page", f"{api_url}/"),
        ("client id", client_id),
        ("client secret", client_secret),
        ("mail goes to", delivery),
    ]
    rows += [("mailbox", f"{mailbox_url}/")] if mailbox_url else []
    rows += [("etcd", f"{etcd_endpoint}  ({etcd})"), ("data", data)]
    lines = ["", style("bold", "Babygun is running."), ""]
    lines += [f"  {style('dim', f'{name:<14}')}  {value}" for name, value in rows]
    lines += ["", "Try it: paste these lines into another terminal.", ""]
    for comment, commands in _steps(
        api_url, client_id, client_secret, mailbox_url, etcd_endpoint, etcdctl, prefix, curl
    ):
        lines += [style("dim", f"  # {comment}"), *(f"  {command}" for command in commands)]
    return "\n".join([*lines, "", style("dim", "Ctrl-C stops everything; the data stay."), ""])


def _steps(
    api_url: str,
    client_id: str,
    client_secret: str,
    mailbox_url: str | None,
    etcd_endpoint: str,
    etcdctl: str | None,
    prefix: str,
    curl: str,
) -> list[tuple[str, Sequence[str]]]:
    url = shlex.quote(api_url)
    mail = '{"sender": "Me <me@example.com>", "to": "you@example.org", "subject": "Hello", "body": "It works."}'
    steps: list[tuple[str, Sequence[str]]] = [
        (
            "a token",
            [
                f"TOKEN=$({curl} -s -X POST -u {client_id}:{client_secret} {url}/tokens {_member('token')})"
            ],
        ),
        (
            "send an e-mail",
            [
                f"ID=$({curl} -s {url}/emails -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' \\",
                f"       -d '{mail}' {_member('id')}); echo \"$ID\"",
            ],
        ),
        (
            "its status, and its log",
            [
                f'{curl} -s {url}/emails/$ID -H "Authorization: Bearer $TOKEN"; echo',
                f'{curl} -s {url}/emails/$ID/log -H "Authorization: Bearer $TOKEN"; echo',
            ],
        ),
    ]
    if mailbox_url:
        steps.append(("the mail, as it arrived", [f"curl -s {mailbox_url}/messages; echo"]))
    if etcdctl:
        steps.append(
            (
                "the same, in etcd",
                [
                    f"{shlex.quote(etcdctl)} --endpoints {etcd_endpoint} get --prefix {prefix} --keys-only"
                ],
            )
        )
    return steps


def _member(name: str) -> str:
    """Takes the first member of that name out of a JSON object, without jq."""
    return rf"""| sed -n 's/^[^}}]*"{name}": *"\([^"]*\)".*/\1/p'"""
