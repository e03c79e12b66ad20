"""What ``babygun dev`` prints once everything runs: addresses, and lines to paste.

The lines work in another shell and in any folder.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from babygun.dev.installation import Installation
from babygun.runtime.processes.interpreter import python_command

Style = Callable[[str, str], str]  # takes a style's name and a text, returns the text to print


def banner(installation: Installation, style: Style) -> str:
    """The whole text, of many lines."""
    at, etcd = installation.listeners, installation.etcd
    rows = [
        ("API and page", f"{at.api_url}/"),
        ("client id", installation.client_id),
        ("client secret", installation.client_secret),
        ("mail goes to", _delivery(installation)),
        *([("mailbox", f"{at.mailbox_url}/")] if at.mailbox_url else []),
        ("bounces come to", f"smtp://127.0.0.1:{at.bounce_port}"),
        ("etcd", f"{_etcd_endpoints(installation)}  ({etcd.version}, {_short(etcd.path)})"),
        ("data", str(installation.folder.path)),
    ]
    lines = ["", style("bold", "Babygun is running."), ""]
    lines += [f"  {style('dim', f'{name:<15}')}  {value}" for name, value in rows]
    lines += ["", "Try it: paste these lines into another terminal.", ""]
    for comment, commands in _steps(installation):
        lines += [style("dim", f"  # {comment}"), *(f"  {command}" for command in commands)]
    return "\n".join([*lines, "", style("dim", "Ctrl-C stops everything; the data stay."), ""])


def _steps(installation: Installation) -> list[tuple[str, Sequence[str]]]:
    """What to try: a comment, and the commands for it."""
    at = installation.listeners
    url, babygun = shlex.quote(at.api_url), _babygun()
    ca = shlex.quote(installation.settings.api_ca or installation.settings.api_cert)
    curl = f"curl --cacert {ca}" if installation.settings.api_cert else "curl"
    authorization = '-H "Authorization: Bearer $TOKEN"'
    exports = [
        f"export BABYGUN_API_URL={url}",
        f"export BABYGUN_CLIENT_ID={installation.client_id}",
        f"export BABYGUN_CLIENT_SECRET={installation.client_secret}",
        *([f"export BABYGUN_API_CA={ca}"] if installation.settings.api_cert else []),
    ]
    steps: list[tuple[str, Sequence[str]]] = [
        ("where the API is, and who you are", exports),
        ("a token", [f"TOKEN=$({babygun} token)"]),
        (
            "send an e-mail",
            [
                f"ID=$({babygun} send --from 'Me <me@example.com>' --to you@example.org \\",
                "       --subject Hello --body 'It works.'); echo \"$ID\"",
            ],
        ),
        (
            "its status, and its log",
            [
                f"{curl} -s {url}/emails/$ID {authorization}; echo",
                f"{curl} -s {url}/emails/$ID/log {authorization}; echo",
            ],
        ),
    ]
    if at.mailbox_url:
        steps.append(("the mail, as it arrived", [f"curl -s {at.mailbox_url}/messages; echo"]))
    if etcdctl := installation.etcd.program("etcdctl"):
        program, prefix = shlex.quote(_short(etcdctl)), installation.settings.prefix
        steps.append(
            (
                "the same, in etcd: the first line says where it is and shows your certificate",
                [
                    f". {shlex.quote(str(installation.folder.etcdctl_env))}",
                    f"{program} get --prefix {prefix} --keys-only",
                ],
            )
        )
    return steps


def _delivery(installation: Installation) -> str:
    at = installation.listeners
    if at.mailbox_url:
        return f"the mailbox (smtp://{at.smtp_host}:{at.smtp_port}), nowhere else"
    return ", ".join(f"{name} ({host}:{port})" for name, host, port in installation.relays)


def _etcd_endpoints(installation: Installation) -> str:
    return ",".join(installation.etcd_endpoints)


def _babygun() -> str:
    """This command line, as a shell in any folder finds it."""
    program = Path(sys.executable).with_name("babygun")
    return (
        shlex.quote(_short(program)) if program.exists() else shlex.join(python_command("babygun"))
    )


def _short(program: Path) -> str:
    """A program's name if the PATH finds it, else this environment's link to it, else its path."""
    found = shutil.which(program.name)
    if found and Path(found).resolve() == program.resolve():
        return program.name
    link = Path(sys.prefix) / "bin" / program.name
    return str(link if link.is_symlink() and link.resolve() == program.resolve() else program)
