"""The command line as its user calls it: each command in a process of its own, against a real etcd, API, worker and mail server."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from babygun.dev.etcd.binary import find_etcd
from babygun.runtime.settings import Settings
from babygun.store.access.clients import create_client
from babygun.store.emails.on_request import cancel
from babygun.store.keys import JobRef
from tests.e2e.test_pipeline import api_process
from tests.support.paths import ROOT
from tests.support.rig import Rig, changed, environment
from tests.support.smtp_server import MisbehavingServer


class Result(NamedTuple):
    status: int
    out: str
    error: str


class Command:
    """Runs ``babygun …`` with a test's settings, in a folder without anything."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder

    async def __call__(self, *words: str, stdin: bytes = b"") -> Result:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "babygun", *words, env=environment(self.settings) | {"PYTHONPATH": str(ROOT)}, cwd=self.folder,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, error = await asyncio.wait_for(process.communicate(stdin), 30)
        assert b"Traceback" not in error, error.decode()
        assert process.returncode is not None
        return Result(process.returncode, out.decode(), error.decode())


@pytest.fixture
def babygun(rig: Rig, tmp_path: Path) -> Command:
    return Command(rig.settings, tmp_path)


@pytest.fixture
async def with_api(rig: Rig, tmp_path: Path) -> AsyncIterator[Command]:
    """Commands that know an API and a client of it with all scopes."""
    client, secret = await create_client(rig.store, name="cli", scopes=("admin",))
    async with api_process(rig, rig.settings) as api:
        yield Command(
            changed(rig.settings, api_url=api.url, client_id=client.id, client_secret=secret),
            tmp_path,
        )


async def test_send_waits_and_the_email_can_be_listed_and_shown(
    rig: Rig, with_api: Command, smtp: MisbehavingServer
) -> None:
    (with_api.folder / "a.txt").write_text("attached")
    async with rig.worker():
        sent = await with_api(
            *[
                "send",
                "--from",
                "me@example.com",
                "--to",
                "ann@example.org",
                "--cc",
                "bob@example.org",
                "--subject",
                "hi",
                "--body",
                "-",
                "--attach",
                "a.txt",
                "--tag",
                "t1",
                "--wait",
            ],
            "--header",
            "X-A: b",
            stdin=b"text",
        )
        assert (sent.status, sent.error) == (0, "complete\n")
        email_id = sent.out.strip()
        assert (
            smtp.messages[0].recipients == ("ann@example.org", "bob@example.org")
            and b"X-A: b" in smtp.messages[0].data
        )
        failed = await with_api(
            *["send", "--from", "me@example.com", "--to", "hard@example.org", "--wait"]
        )
        assert (
            failed.status == 1
            and "1 of 1 recipient not reached: 1 bounced (bad_mailbox)" in failed.error
        )
        listed = await with_api("emails", "list", "--tag", "t1")
        assert (
            email_id in listed.out
            and "ann@example.org +1" in listed.out
            and failed.out.strip() not in listed.out
        )
        shown = await with_api("emails", "show", email_id)
        assert shown.status == 0 and "delivered" in shown.out and "claimed" in shown.out
        assert (
            json.loads((await with_api("emails", "show", email_id, "--json")).out)["email"]["id"]
            == email_id
        )
        workers = await with_api("workers")
        assert "00-ff" in workers.out


async def test_emails_list_reads_on_until_what_the_filter_wants_is_found(
    rig: Rig, with_api: Command
) -> None:
    wanted = await rig.send("ann@example.org", subject="long ago")
    await asyncio.gather(
        *(rig.send("bob@example.org") for _ in range(1005))
    )  # more than one page of a filtered listing looks at
    await cancel(rig.store, wanted)
    listed = await with_api("emails", "list", "--status", "cancelled")
    assert wanted in listed.out and "more:" not in listed.out


async def test_emails_list_shows_when_a_scheduled_one_is_due(with_api: Command) -> None:
    send = ("send", "--from", "me@example.com", "--to")
    await with_api(*send, "ann@example.org")
    assert "NOT BEFORE" not in (await with_api("emails", "list")).out
    await with_api(*send, "bob@example.org", "--at", "2027-01-31T08:00:00Z")
    out = (await with_api("emails", "list")).out
    assert "NOT BEFORE (UTC)" in out
    assert ["2027-01-31 08:00:00" in line for line in out.splitlines()] == [False, True, False]


async def test_several_emails_are_cancelled_and_tried_again_with_a_line_each(
    rig: Rig, with_api: Command
) -> None:
    ids = [await rig.send("ann@example.org") for _ in range(3)]
    await cancel(rig.store, ids[1])
    result = await with_api("emails", "cancel", *ids)
    assert result.status == 1
    assert [line.split(maxsplit=1) for line in result.out.splitlines()] == [
        [ids[0], "cancelled"],
        [ids[1], "The e-mail is cancelled already."],
        [ids[2], "cancelled"],
    ]
    result = await with_api("emails", "retry", *ids)
    assert (result.status, result.out.count("incomplete")) == (0, 3)
    assert (await with_api("emails", "cancel", *(f"x{n}" for n in range(1001)))).out.count(
        "There is no e-mail"
    ) == 1001


async def test_emails_list_filters_by_recipient_time_and_what_happens_now(
    rig: Rig, with_api: Command
) -> None:
    ann, bob = await rig.send("ann@example.org"), await rig.send("bob@example.net")
    for words, ids in (
        (["--recipient", "@example.org"], [ann]),
        (["--recipient", "BOB@example.net", "--status", "waiting"], [bob]),
        (["--status", "sending"], []),
        (["--before", "2020-01-01T00:00:00+01:00"], []),
        (["--after", "2020-01-01T00:00:00+01:00"], [bob, ann]),
    ):
        listed = await with_api("emails", "list", "--json", *words)
        assert [email["id"] for email in json.loads(listed.out)["emails"]] == ids, words
    refused = await with_api("emails", "list", "--after", "yesterday")
    assert refused.status == 1 and "(after)" in refused.error


async def test_emails_show_waits_for_the_end(rig: Rig, with_api: Command) -> None:
    email_id = await rig.send("ann@example.org")
    waits = asyncio.create_task(with_api("emails", "show", email_id, "--wait"))
    await cancel(rig.store, email_id)
    shown = await waits
    assert shown.status == 0 and "status         cancelled" in shown.out


async def test_emails_cancel_and_retry_do_as_they_say_or_say_why_not(
    rig: Rig, with_api: Command
) -> None:
    email_id = (
        await with_api(
            *[
                "send",
                "--from",
                "me@example.com",
                "--to",
                "ann@example.org",
                "--at",
                "2027-01-31T08:00:00Z",
            ]
        )
    ).out.strip()
    assert (await with_api("emails", "cancel", email_id)).out.startswith("cancelled")
    again = await with_api("emails", "cancel", email_id)
    assert again.status == 1 and "cancelled already" in again.error
    assert (await with_api("emails", "retry", email_id)).out.startswith("incomplete")
    unknown = await with_api("emails", "show", "01a21000-1b9b-7058-a863-be5a676c7d85")
    assert unknown.status == 1 and unknown.error.startswith("babygun: ")


async def test_bad_email_is_refused_naming_the_field(with_api: Command) -> None:
    result = await with_api(*["send", "--from", "me@example.com", "--to", "nobody"])
    assert result.status == 1 and "to" in result.error
    result = await with_api(
        *["send", "--from", "me@example.com", "--to", "a@b.example", "--attach", "missing.pdf"]
    )
    assert result.status == 2 and "missing.pdf: No such file" in result.error


async def test_batch_of_a_file_is_sent_and_what_was_not_taken_is_told(
    rig: Rig, with_api: Command
) -> None:
    good = {"sender": "me@example.com", "to": "ann@example.org"}
    lines = [
        json.dumps(email) for email in (good, good | {"to": "nobody", "subject": "a\nb"}, good)
    ]
    (with_api.folder / "lines").write_text("\n\n".join(lines) + "\n")
    sent = await with_api("send", "--batch", "lines", "--idempotency-key", "k")
    ids = sent.out.split()
    assert sent.status == 1 and len(ids) == 2
    assert (
        sent.error
        == "line 3: The address has no @. (to) The subject must not hold line breaks. (subject)\n"
    )
    assert (await with_api("send", "--batch", "lines", "--idempotency-key", "k")).out.split() == ids
    many = await with_api(
        "send", "--batch", "-", stdin=json.dumps([good] * 1001, indent=1).encode()
    )
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
        (("-", "--to", "ann@example.org"), b"[]", "--idempotency-key alone"),
    ):
        result = await babygun("send", "--batch", *words, stdin=stdin)
        assert result.status == 2 and said in result.error, result


async def test_token_is_printed_and_checked(with_api: Command) -> None:
    token = (await with_api("token")).out.strip()
    assert "valid for another" in (await with_api("token", "--check", token)).out
    assert (await with_api("token", "--check", token[:-2])).status == 1


async def test_api_that_does_not_answer_and_unknown_client_are_one_sentence(
    babygun: Command,
) -> None:
    nobody = await babygun("workers")
    assert nobody.status == 2 and "BABYGUN_CLIENT_ID" in nobody.error
    half = await Command(changed(babygun.settings, client_id="a"), babygun.folder)("workers")
    assert (
        half.status == 2 and "BABYGUN_CLIENT_ID and BABYGUN_CLIENT_SECRET go together" in half.error
    )
    away = await Command(
        changed(babygun.settings, api_url="http://127.0.0.1:1", client_id="a", client_secret="b"),
        babygun.folder,
    )("workers")
    assert (
        away.status == 1 and "does not answer" in away.error and len(away.error.splitlines()) == 1
    )


@pytest.mark.parametrize(
    "left",
    [
        None,
        {},
        {
            "pid": 999999999,
            "api_url": "http://127.0.0.1:1",
            "client_id": "a",
            "client_secret": "b",
            "etcd_endpoints": ["http://127.0.0.1:1"],
        },
    ],
)
async def test_commands_where_dev_has_ended_say_that_nothing_runs_and_how_to_start_it(
    tmp_path: Path, left: dict[str, object] | None
) -> None:
    (tmp_path / ".babygun").mkdir()
    (tmp_path / ".babygun" / "client.json").write_text('{"client_id": "a", "client_secret": "b"}')
    if left is not None:  # of one that was killed
        (tmp_path / ".babygun" / "dev.json").write_text(json.dumps(left))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    nothing = Command(Settings(), tmp_path)
    workers = await nothing("workers")
    assert (
        workers.status == 2
        and "don't know which API to use" in workers.error
        and "`make run`" in workers.error
        and "BABYGUN_API_URL" in workers.error
    )
    away = Command(
        Settings(etcd_endpoints=(f"http://127.0.0.1:{port}",), etcd_timeout=0.5), tmp_path
    )
    listed = await away("client", "list")
    assert (
        listed.status == 1
        and "no connection to etcd" in listed.error
        and "make run" not in listed.error
    )


async def test_client_is_created_listed_and_deleted(babygun: Command) -> None:
    assert "no clients yet" in (await babygun("client", "list")).out
    created = await babygun(
        "client", "create", "the shop", "--id", "shop", "--scope", "emails:send", "--rate", "5"
    )
    assert (
        created.out.splitlines()[0].split() == ["client_id", "shop"]
        and len(created.out.split()[-1]) == 64
    )
    taken = await babygun("client", "create", "other", "--id", "shop")
    assert taken.status == 1 and "already" in taken.error
    assert (await babygun("client", "create", "x", "--id", "a/b")).status == 2
    for name in ("", "  ", "a\nb", "x" * 201):
        refused = await babygun("client", "create", name)
        assert refused.status == 2 and "name has 1 to 200 characters" in refused.error
    assert "the shop" in (await babygun("client", "list")).out
    assert (await babygun("client", "delete", "shop")).status == 0
    assert (await babygun("client", "delete", "shop")).status == 1


async def test_doctor_finds_a_working_installation_working(
    rig: Rig, babygun: Command, smtp: MisbehavingServer
) -> None:
    await create_client(rig.store, name="x", scopes=("admin",))
    async with rig.worker():
        result = await babygun("doctor")
        assert result.status == 0, result.out
        assert (
            "relay main" in result.out and "1 live worker" in result.out and "BAD" not in result.out
        )


async def test_doctor_names_what_is_wrong(babygun: Command) -> None:
    settings = changed(
        babygun.settings,
        etcd_endpoints=("http://127.0.0.1:1",),
        relays={"main": {"url": "smtp://127.0.0.1:1"}},
        etcd_timeout=0.5,
    )
    result = await Command(settings, babygun.folder)("doctor")
    assert result.status == 1
    assert (
        "BAD   etcd at http://127.0.0.1:1 does not answer" in result.out
        and "BAD   relay main" in result.out
    )


async def test_classify_tells_class_action_and_rule(babygun: Command) -> None:
    result = await babygun("classify", "552 5.2.2 Mailbox full")
    assert result.out.split()[:4] == ["class", "mailbox_full", "action", "retry"]
    without = await babygun("classify", "--no-reply", "connection reset by peer")
    assert without.out.split()[:4] == ["class", "network", "action", "retry"]


@pytest.mark.parametrize(
    "words",
    [
        ("rubbish",),
        ("",),
        ("99 bottles",),
        ("650 5.1.1 no",),
        ("5501 no",),
        ("--no-reply", "550 no"),
        ("--no-reply", " "),
    ],
)
async def test_classify_of_what_is_no_reply_is_refused_with_a_sentence(
    babygun: Command, words: tuple[str, ...]
) -> None:
    result = await babygun("classify", *words)
    assert result.status == 2 and not result.out
    assert (
        result.error.startswith("babygun: ")
        and "--no-reply" in result.error
        and len(result.error.splitlines()) == 1
    )


async def test_settings_are_listed_without_their_secrets(babygun: Command) -> None:
    result = await Command(changed(babygun.settings, etcd_password="hunter2"), babygun.folder)(
        "settings"
    )
    assert (
        "BABYGUN_ETCD_PASSWORD" in result.out
        and "(set)" in result.out
        and "hunter2" not in result.out
    )


async def test_settings_are_listed_as_a_variable_would_hold_them(babygun: Command) -> None:
    settings = changed(
        babygun.settings,
        etcd_endpoints=("http://a:1", "http://b:2"),
        max_body=3 << 20,
        token_ttl=5400.0,
        retry_intervals=(0.25, 7200.0),
        relays={},
    )
    out = (await Command(settings, babygun.folder)("settings")).out
    shown = {
        line.split()[0]: " ".join(line[out.index("VALUE") : out.index("DEFAULT")].split())
        for line in out.splitlines()
    }
    assert shown["BABYGUN_ETCD_ENDPOINTS"] == "http://a:1, http://b:2"
    assert (
        shown["BABYGUN_MAX_BODY"],
        shown["BABYGUN_MAX_ATTACHMENTS"],
        shown["BABYGUN_TOKEN_TTL"],
    ) == ("3MiB", "20MiB", "90m")
    assert (
        shown["BABYGUN_RETRY_INTERVALS"],
        shown["BABYGUN_IDEMPOTENCY_RETENTION"],
        shown["BABYGUN_RELAYS"],
    ) == ("250ms, 2h", "24h", "-")


@pytest.mark.parametrize("words", [("api",), ("worker",), ("doctor",), ("settings",)])
async def test_setting_that_cannot_be_used_ends_each_command_with_a_sentence(
    babygun: Command, words: tuple[str, ...]
) -> None:
    command = Command(babygun.settings, babygun.folder)
    env = environment(command.settings) | {"BABYGUN_ETCD_TIMEOUT": "soon", "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "babygun",
        *words,
        env=env,
        cwd=command.folder,
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    _, error = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2 and error.decode().startswith(
        "babygun: BABYGUN_ETCD_TIMEOUT: 'soon' is not a duration"
    )


async def test_worker_without_a_relay_says_what_to_set(babygun: Command) -> None:
    result = await Command(changed(babygun.settings, relays={}), babygun.folder)("worker")
    assert result.status == 2 and "BABYGUN_RELAY_URL" in result.error


@pytest.mark.parametrize("words", [(), ("nonsense",), ("emails",), ("send",)])
async def test_wrong_call_shows_the_usage(babygun: Command, words: tuple[str, ...]) -> None:
    result = await babygun(*words)
    assert result.status == 2 and result.error.startswith("usage: babygun")


async def test_help_lists_every_command(babygun: Command) -> None:
    from babygun.cli.main import COMMANDS

    out = (await babygun("--help")).out
    assert all(command.name in out for command in COMMANDS)


class TestDecode:
    """On what etcdctl itself prints."""

    @staticmethod
    async def etcdctl(rig: Rig, *words: str) -> bytes:
        found = find_etcd()
        assert found is not None
        process = await asyncio.create_subprocess_exec(
            str(Path(found.path).with_name("etcdctl")),
            "--endpoints",
            rig.settings.etcd_endpoints[0],
            *words,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        return out

    async def test_decode_of_jobs_as_etcdctl_prints_them(self, rig: Rig, babygun: Command) -> None:
        ids = sorted(
            [await rig.send("ann@example.org"), await rig.send("bob@example.org", body="x" * 2570)]
        )  # 0x0a0a: line breaks in the size
        out = await self.etcdctl(rig, "get", "--prefix", rig.store.keys.jobs.decode())
        decoded = (await babygun("decode", stdin=out)).out
        values = [
            json.loads(part if part.startswith("{") else "{" + part)
            for part in decoded.replace("}\n{", "}\x00{").split("\x00")
        ]
        assert sorted(v["key"].rpartition("/")[2] for v in values) == ids and all(
            v["value"]["recipients"] == 1 for v in values
        )

    async def test_decode_of_a_content_in_chunks_needs_json_and_says_so(
        self, rig: Rig, babygun: Command
    ) -> None:
        email_id = await rig.send("ann@example.org", body="x" * 2_000_000)
        prefix = rig.store.keys.content(email_id).decode()
        plain = await babygun("decode", stdin=await self.etcdctl(rig, "get", "--prefix", prefix))
        assert plain.status == 1 and "-w json" in plain.error
        whole = await babygun(
            "decode", stdin=await self.etcdctl(rig, "get", "--prefix", "-w", "json", prefix)
        )
        assert json.loads(whole.out)["value"]["body"] == "x" * 2_000_000

    async def test_decode_of_states_values_only_and_keys_only(
        self, rig: Rig, babygun: Command
    ) -> None:
        email_id = await rig.send("ann@example.org")
        record = await babygun(
            "decode",
            stdin=await self.etcdctl(
                rig, "get", "--print-value-only", rig.store.keys.email(email_id).decode()
            ),
        )
        assert json.loads(record.out)["id"] == email_id
        job = await babygun(
            "decode",
            stdin=await self.etcdctl(
                rig,
                "get",
                "--print-value-only",
                rig.store.keys.job(JobRef(email_id, "main")).decode(),
            ),
        )
        assert json.loads(job.out)["recipients"] == 1
        keys = await babygun(
            "decode",
            stdin=await self.etcdctl(
                rig, "get", "--prefix", "--keys-only", rig.store.keys.prefix.decode()
            ),
        )
        assert keys.status == 0 and email_id in keys.out

    @pytest.mark.parametrize("data", [b"", b"\xc1", b"\x81\xa1", b"/key\n\xc1\n"])
    async def test_decode_of_rubbish_is_one_sentence(self, babygun: Command, data: bytes) -> None:
        result = await babygun("decode", stdin=data)
        assert (
            result.status == 1
            and result.error.startswith("babygun: ")
            and len(result.error.splitlines()) == 1
        )
