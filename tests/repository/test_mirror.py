"""The tests have the rooms of the package: a module's tests are found by its path."""

from __future__ import annotations

from pathlib import Path

from tests.support.paths import ROOT

PACKAGE, TESTS = ROOT / "babygun", ROOT / "tests"

# Folders of tests that belong to no room of the package.
OTHER_FOLDERS = {
    "attack": "the bombs and floods in scripts/attack",
    "bench": "the benchmarks in scripts/bench",
    "browser": "the web page in a browser, over the whole stack",
    "chaos": "the faults, the load and the rules in scripts/chaos",
    "cluster": "the containers of deploy/compose.yml",
    "e2e": "an e-mail's whole way, and the documents' recipes",
    "faults": "short runs of scripts/chaos",
    "hosts": "deploy/systemd on plain processes, which `make test-system` runs",
    "mx": "mail straight to real mail servers, which `make test-mx` runs",
    "micro": "micro-benchmarks, which `make bench-micro` runs",
    "repository": "the files beside the package",
    "support": "what tests of several rooms use",
}

# Test modules of a room about a behaviour that several modules share.
BEHAVIOURS = {
    "api/emails/test_examples.py": "the examples of docs/examples, run as they are",
    "api/emails/test_full_etcd.py": "e-mails are refused while etcd is full",
    "api/emails/test_ids_of_others.py": "each call with the ids of another client",
    "api/http/test_certificate.py": "https with a certificate: used, refused, renewed",
    "api/live/test_resume.py": "a stream that broke off goes on: stream, hub and history",
    "api/live/test_trouble.py": "streams while etcd is away or put back, and slow listeners",
    "api/openapi/test_examples.py": "each documented request gets its documented answer",
    "api/openapi/test_fuzz.py": "the whole API answers as its document says",
    "cli/test_processes.py": "`--processes` of several verbs",
    "cli/test_start.py": "processes that can't work end with one sentence, whatever the verb",
    "dev/test_cluster.py": "`babygun dev` with three etcd members",
    "dev/test_running.py": "what holds while `babygun dev` runs",
    "email/test_lifecycle_machine.py": "the life cycle beside a plain model",
    "etcd/test_batch_machine.py": "the batcher beside a plain model",
    "etcd/test_cluster.py": "an etcd of several members",
    "etcd/test_security.py": "TLS, users and tokens, over client, batch and watch",
    "mime/test_address_fields.py": "addresses in the header's fields, table-driven",
    "smtp/test_chunking.py": "a transaction by BDAT",
    "smtp/test_hostile.py": "servers that mean harm: floods, drips, words that are to act",
    "smtp/test_sessions.py": "sessions that a server refuses or breaks, over all of a delivery",
    "smtp/test_postfix.py": "a real server that refuses",
    "smtp/test_rubbish.py": "servers that break the protocol",
    "smtp/test_session_replies.py": "what servers say up to MAIL, table-driven",
    "store/emails/test_exploration.py": "every state of one e-mail in small scopes",
    "store/emails/test_machine.py": "the store's operations beside a plain model, with faults",
    "store/emails/test_uploads.py": "large contents stay whole: acceptance, batches, late requests",
    "worker/test_faults.py": "workers and etcd that die, pause and come back",
    "worker/test_mail_hosts.py": "mail straight to mail hosts, by DNS and SMTP",
    "worker/test_tls_policies.py": "mail to domains that demand TLS, by signed DNS and https",
    "worker/test_queues.py": "e-mails of several queues",
    "webhooks/test_shortage.py": "what waits for webhooks while etcd is short of room",
}


def test_folder_of_tests_is_a_room_or_in_the_list() -> None:
    rooms = {_relative(folder, PACKAGE) for folder in _folders(PACKAGE)}
    unknown = [
        name
        for name in (_relative(folder, TESTS) for folder in _folders(TESTS))
        if name not in rooms and name.partition("/")[0] not in OTHER_FOLDERS
    ]
    assert not unknown, f"rename them to a folder of babygun/, or name them here: {unknown}"


def test_module_of_tests_mirrors_a_module_or_is_in_the_list() -> None:
    strays = [
        name for name in _test_modules() if not _mirrored(name).exists() and name not in BEHAVIOURS
    ]
    assert not strays, f"no module of babygun/ has this path, and no row names it here: {strays}"


def test_list_names_only_what_is_there_and_mirrors_no_module() -> None:
    stale = sorted(set(BEHAVIOURS) - set(_test_modules()))
    stale += [name for name in OTHER_FOLDERS if not (TESTS / name).is_dir()]
    stale += [name for name in BEHAVIOURS if _mirrored(name).exists()]
    assert not stale, f"these rows can go: {stale}"


def _folders(root: Path) -> list[Path]:
    return sorted({path.parent for path in root.rglob("*.py")} - {root})


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _test_modules() -> list[str]:
    """The test modules of the rooms, such as ``store/emails/test_depth.py``."""
    names = (_relative(path, TESTS) for path in sorted(TESTS.rglob("test_*.py")))
    return [name for name in names if name.partition("/")[0] not in OTHER_FOLDERS]


def _mirrored(name: str) -> Path:
    """The module of the package that a test module is about."""
    path = PACKAGE / name
    return path.with_name(path.name.removeprefix("test_"))
