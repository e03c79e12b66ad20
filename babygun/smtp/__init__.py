"""Sending by SMTP: a pool of connections per destination, and transactions on them.

    pool         which connection a message goes by; what to do when it is dead, or turned away
    handshake    TCP, EHLO, TLS, login: by aiosmtplib, whose transport is then taken over
    connection   commands out, replies in, counted; deadlines; flow control
    transaction  MAIL, RCPT, DATA, the message: who got it, and what was said to the others
    commands     an envelope as the commands that this server understands
    reply_parser bytes to replies

A delivery ends in an :class:`Outcome` with a :class:`~babygun.smtp.replies.Reply` per recipient, whatever the server does; what a reply means is not decided here.
"""

from babygun.smtp.envelope import Envelope, NotSent, Outcome
from babygun.smtp.handshake import ConnectFailed, check_destination
from babygun.smtp.pool import SmtpPool

__all__ = ["ConnectFailed", "Envelope", "NotSent", "Outcome", "SmtpPool", "check_destination"]
