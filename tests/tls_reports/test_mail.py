"""The e-mail that carries a report: its form, its signature, and that no policy keeps it back."""

from __future__ import annotations

import email
import email.policy
import gzip
import json
import ssl
from dataclasses import replace
from pathlib import Path

from babygun.tls_reports.mail import new_id, store_email
from babygun.tls_reports.report import document
from tests.support.certificates import Authority
from tests.support.rig import rig_for
from tests.support.signatures import verified_signatures
from tests.support.smtp_server import MisbehavingServer
from tests.support.tls_reports import REPORT
from tests.tls_reports.conftest import Asking


async def test_report_goes_signed_although_its_policy_is_violated_and_is_not_counted(
    one_day: None, asking: Asking, tmp_path: Path
) -> None:
    host = asking.host
    host.txt = ["v=STSv1; id=a1;"]
    host.policy = "version: STSv1\nmode: enforce\nmx: a.example\nmax_age: 86400\n"
    host.answer = host._policy
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*Authority(tmp_path / "other").sign("mx", hosts=("a.example",)))
    async with MisbehavingServer(starttls=context) as server:
        settings = replace(asking.rig.settings, mx_port=server.port)
        async with rig_for(settings) as rig:
            await rig.store.domains.read(["ours.example"])
            [domain] = rig.store.domains.all()
            async with rig.worker() as worker:
                for address, why in (("ann@a.example", "deferred"), ("tls@a.example", "")):
                    if why:
                        key = rig.store.keys.email(await rig.send(address))
                        await rig.seen(key, lambda value: True if b"deferred" in value else None)
                    else:
                        email_id = new_id()
                        for _ in range(2):
                            await store_email(rig.store, worker._routes, REPORT, address, email_id)
                        [sent] = await rig.ended(email_id)
                        assert sent.status == "complete" and sent.expires_at is not None
                counts = worker._tls_reporting
                assert counts is not None
                [day] = counts.counts._days.values()
                [policy] = day.sums["a.example"].count().policies
                assert policy.policy.type == "sts" and policy.failed and not policy.successful
    [message] = server.messages
    assert message.tls and verified_signatures(message.data, domain) == ["ours.example"]
    parsed = email.message_from_bytes(message.data, policy=email.policy.default)
    assert parsed.get_content_type() == "multipart/report"
    assert parsed.get_param("report-type") == "tlsrpt"
    assert parsed["TLS-Report-Domain"] == "a.example"
    assert parsed["TLS-Report-Submitter"] == "ours.example"
    assert parsed["TLS-Required"] == "No"
    words, attached = parsed.iter_parts()
    assert words.get_content_type() == "text/plain"
    assert attached.get_content_type() == "application/tlsrpt+gzip"
    assert attached.get_filename("").startswith("ours.example!a.example!")
    assert json.loads(gzip.decompress(attached.get_content())) == document(REPORT)
