"""A Celery application that sends e-mails by smtplib: celery -A celery_mail worker.

The variables BENCH_REDIS_PORT and BENCH_RELAY_PORT name its broker and relay.
"""

from __future__ import annotations

import os
import smtplib
from email.mime.text import MIMEText
from email.utils import formatdate, make_msgid

from celery import Celery

app = Celery("bench", broker=f"redis://127.0.0.1:{os.environ['BENCH_REDIS_PORT']}/0")
app.conf.update(
    # A task leaves the queue when it is done, not when it begins: else a worker's death loses mail.
    task_acks_late=True,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
)


@app.task(bind=True, max_retries=2, default_retry_delay=600)  # type: ignore[untyped-decorator]
def send(self, sender: str, recipient: str, subject: str, body: str) -> None:  # type: ignore[no-untyped-def]
    message = MIMEText(body)
    message["From"], message["To"], message["Subject"] = sender, recipient, subject
    message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain="example.com")
    try:
        with smtplib.SMTP(
            "127.0.0.1",
            int(os.environ["BENCH_RELAY_PORT"]),
            local_hostname="bench.example.com",
            timeout=60,
        ) as smtp:
            smtp.send_message(message)
    except (OSError, smtplib.SMTPException) as error:
        raise self.retry(exc=error) from error
