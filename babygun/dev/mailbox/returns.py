"""Bounce messages and complaints about mail to test addresses, sent to ``babygun bounced``.

They go the way of real ones: by SMTP, to the return path of the recipient. A real mail server knows
that from the message's envelope. The mailbox reads it from etcd, since mail to it has none.
"""

from __future__ import annotations

import asyncio
import re
import smtplib

from babygun.dev.mailbox.behaviours import Returned
from babygun.email.addresses import comparable
from babygun.email.return_path import local_part, of_recipient
from babygun.errors import BabygunError
from babygun.runtime.logs import get_logger
from babygun.runtime.settings import Settings
from babygun.runtime.tasks import cancel_all
from babygun.store import Store
from babygun.store.emails.reading import get_email
from babygun.store.return_path_keys import ReturnPathKeys

log = get_logger("mailbox")

_PAUSE = 1.0  # s, before it is sent, and before it is sent again
_TRIES = 20
_MESSAGE_ID = re.compile(rb"^Message-ID: *<([0-9a-f-]{36})@", re.IGNORECASE | re.MULTILINE)
_HEAD = 1 << 16  # bytes of a message that are returned
_BOUNCE = """\
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.mailbox.test

Final-Recipient: rfc822; {recipient}
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 <{recipient}>: there is no such mailbox (a test address)
"""
_COMPLAINT = """\
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: Babygun-mailbox/1
Version: 1
Original-Rcpt-To: {recipient}
"""


class Returns:
    """``port``: that of ``babygun bounced`` on this machine. :meth:`close` ends what goes on."""

    def __init__(self, settings: Settings, port: int) -> None:
        self._settings, self._port = settings, port
        self._tasks: set[asyncio.Task[None]] = set()

    def schedule(self, kind: Returned, recipient: str, raw: bytes) -> None:
        """Sends it back soon. ``raw``: the message that came."""
        task = asyncio.create_task(self._return(kind, recipient, raw), name="return a message")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        await cancel_all(*self._tasks)

    async def _return(self, kind: Returned, recipient: str, raw: bytes) -> None:
        said = "the worker's result was not stored in time"
        for _ in range(_TRIES):
            await asyncio.sleep(_PAUSE)
            try:
                path = await self._return_path(recipient, raw)
                if path is None:
                    said = "etcd has no e-mail with the Message-ID and recipient of this mail"
                    break
                message = _message(kind, recipient, raw)
                await asyncio.to_thread(self._send, path, message)
            except smtplib.SMTPRecipientsRefused as error:
                said = str(error.recipients)
            except (smtplib.SMTPException, OSError, BabygunError) as error:
                said = str(error)
            else:
                log.info("message returned", kind=kind, recipient=recipient)
                return
        log.warning("message not returned", kind=kind, recipient=recipient, error=said)

    async def _return_path(self, recipient: str, raw: bytes) -> str | None:
        """The address of a recipient's return path. Raises EtcdError."""
        found = _MESSAGE_ID.search(raw[:_HEAD])
        if found is None:
            return None
        async with Store(self._settings) as store:
            view = await get_email(store, found[1].decode(), content=False)
            if view is None:
                return None
            email = view.email
            wanted = comparable(recipient)
            known = next((r for r in email.recipients if comparable(r.email) == wanted), None)
            if known is None:
                return None
            key = await ReturnPathKeys(store).of_time(email.created_at)
        path = of_recipient(email.id, known.email, known.retried, email.client_id)
        return f"{local_part(path, key.secret)}@bounces.test"

    def _send(self, to: str, message: bytes) -> None:
        """Raises SMTPException, OSError."""
        with smtplib.SMTP("127.0.0.1", self._port, timeout=20) as server:
            server.sendmail("", [to], message)


def _message(kind: Returned, recipient: str, raw: bytes) -> bytes:
    """A report with the head of the message that it is about (RFC 3464, RFC 5965)."""
    head = raw[:_HEAD].replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode(errors="replace")
    part, report_type, subject = (
        (_BOUNCE, "delivery-status", "Undelivered Mail Returned to Sender")
        if kind == "bounce"
        else (_COMPLAINT, "feedback-report", "A complaint")
    )
    text = f"""\
From: postmaster@mailbox.test
Subject: {subject}
MIME-Version: 1.0
Content-Type: multipart/report; report-type={report_type}; boundary=b

--b
Content-Type: text/plain

The mailbox of babygun dev sends this for a test address.

--b
{part.format(recipient=recipient)}
--b
Content-Type: text/rfc822-headers

{head}

--b--
"""
    return text.encode().replace(b"\n", b"\r\n")
