"""One mail transaction on a connection: MAIL, the RCPTs, DATA, the message (RFC 5321, 3.3), pipelined where offered (RFC 2920).

Where the server offers CHUNKING too (RFC 3030), the message goes out as one BDAT in the same write as its envelope: one round trip, not two.
But not a large one, nor one to more than a hundred recipients, which shouldn't travel in vain; nor on a connection that was silent for a while: the
server may have hung up, and once the message was sent nobody could tell whether it was taken. A server that offers BDAT, and then
doesn't know it, is sent DATA.

With PIPELINING, MAIL, the first hundred RCPTs and DATA go out in one write. Then the replies decide, counted exactly:

* MAIL refused: that counts for all, whatever the server said to the rest.
* DATA may be accepted though no recipient was: then a lone dot ends it, and what comes of that is dropped.
* More than a hundred recipients (the number that each server must take): the rest follow in small groups, so that a server
  that has enough isn't asked a thousand times more. Some hang up on a client that makes too many errors, and then those already
  accepted would be lost too. The recipients behind the first refusal for their number get that reply without being asked.
"""

from __future__ import annotations

from collections.abc import Callable

from babygun.smtp.commands import Prepared, prepare
from babygun.smtp.connection import Connection, Lost, MessageLost
from babygun.smtp.envelope import Envelope, NotSent
from babygun.smtp.replies import Phase, Reply, make_reply
from babygun.smtp.reply_parser import ServerReply

FIRST_GROUP = 100  # RFC 5321, 4.5.3.1.8: the least that a server must take
AT_ONCE = 64 * 1024  # bytes of the largest message that goes with its envelope
NOT_KNOWN = (500, 502, 504)  # a command that the server does not have (RFC 5321, 4.2.4)
OUT_OF_STEP = 503  # bad sequence of commands: such a connection is of no more use
NEXT_GROUP = 10  # below the 20 errors after which Postfix hangs up by default


class Stale(Exception):
    """A reused connection turned out to be dead before it answered anything. ``replies``: what the outcome would be."""

    def __init__(self, replies: dict[str, Reply]) -> None:
        super().__init__()
        self.replies = replies


class ChunkingUnknown(Stale):
    """The server offers BDAT and does not know it. Nobody has got anything; what followed the command may have been taken for commands, so the connection is closed."""


async def transact(
    connection: Connection, envelope: Envelope, may_send: Callable[[], bool]
) -> dict[str, Reply]:
    """Sends the envelope: one reply per recipient. The connection is either fit for the next one afterwards, or lost.

    Raises NotSent where ``may_send``, asked right before the content would go out, says no; Stale, ChunkingUnknown; what the envelope's ``message`` raises.
    """
    prepared = prepare(envelope, connection.capabilities)
    if not prepared.recipients:
        return prepared.refused
    replies = await _Transaction(connection, prepared).run(may_send)
    if any(reply.code == OUT_OF_STEP for reply in replies.values()):
        connection.abort("the server says that commands and replies are out of step")
    return replies


class _Transaction:
    def __init__(self, connection: Connection, prepared: Prepared) -> None:
        self._connection = connection
        self._prepared = prepared
        self._replies = prepared.refused
        self._accepted: list[str] = []
        self._mail: ServerReply | None = None
        self._asked = 0  # recipients for whom RCPT was answered
        self._full: Reply | None = None  # the server takes no more recipients in this transaction
        self._touched = False  # the server has answered something of this transaction

    async def run(self, may_send: Callable[[], bool]) -> dict[str, Reply]:
        connection, total = self._connection, len(self._prepared.rcpts)
        try:
            if self._fits_in_one_step(total):
                await self._in_one_step(may_send)
                return self._replies
            if connection.capabilities.pipelining:
                data = await self._envelope_pipelined(total)
            else:
                data = await self._envelope_in_steps(total)
            if data is not None:
                await self._data(data, may_send)
        except Lost as lost:
            self._settle_lost(lost)
            slow = connection.timed_out and isinstance(
                lost, MessageLost
            )  # it has the message, and may still take it
            if connection.reused and not self._touched and not slow:
                raise Stale(self._replies) from None
        return self._replies

    # --- all at once ----------------------------------------------------------------------------------------------

    def _fits_in_one_step(self, total: int) -> bool:
        connection, offered = self._connection, self._connection.capabilities
        return (
            offered.chunking
            and offered.pipelining
            and total <= FIRST_GROUP
            and len(self._prepared.content) <= AT_ONCE
            and (connection.lively or not connection.reused)
        )

    async def _in_one_step(self, may_send: Callable[[], bool]) -> None:
        """MAIL, the RCPTs and the message in one write."""
        connection, prepared, total = self._connection, self._prepared, len(self._prepared.rcpts)
        if connection.lost:
            raise Lost(connection.lost, [], None)
        if not may_send():
            raise NotSent("called off before the message was sent")
        reset = connection.unclean
        head = b"RSET\r\n" + prepared.mail if reset else prepared.mail
        connection.send(
            b"%b%bBDAT %d LAST\r\n%b"
            % (head, b"".join(prepared.rcpts), len(prepared.content), prepared.content),
            reset + 2 + total,
        )
        try:
            self._take(await connection.collect(reset + 1 + total), reset, True, total)
            reply = (await connection.collect(1, patience=connection.data_timeout))[0]
        except Lost as lost:
            self._take(lost.replies, reset, True, total)
            if lost.goodbye is not None and self._asked < total:
                raise  # it was said before the message's turn came
            raise MessageLost(lost.text, [], lost.goodbye) from None
        if reply.code in NOT_KNOWN:
            connection.abort("the server does not know BDAT, which it offers")
            raise ChunkingUnknown(
                self._replies | dict.fromkeys(self._accepted, _reply("message", reply))
            )
        if not self._accepted:
            return
        connection.unclean = reply.code > 299  # after a failure the transaction waits for RSET
        self._settle_message(reply, "BDAT")

    # --- MAIL and RCPT --------------------------------------------------------------------------------------------

    async def _envelope_pipelined(self, total: int) -> ServerReply | None:
        """The reply to DATA; None: it was not sent."""
        size = FIRST_GROUP
        opening = True
        while True:
            last = self._asked + size >= total
            data = await self._group(
                opening, self._prepared.rcpts[self._asked : self._asked + size], data=last
            )
            if data is not None or not self._mail_taken():
                return data
            if self._full is not None:
                break
            opening, size = False, NEXT_GROUP
        return await self._group(False, [], data=True) if self._accepted else None

    async def _envelope_in_steps(self, total: int) -> ServerReply | None:
        await self._group(True, [], data=False)
        while self._mail_taken() and self._asked < total and self._full is None:
            await self._group(
                False, self._prepared.rcpts[self._asked : self._asked + 1], data=False
            )
        return await self._group(False, [], data=True) if self._accepted else None

    async def _group(self, opening: bool, rcpts: list[bytes], *, data: bool) -> ServerReply | None:
        """Sends commands in one write, and takes their replies. Returns the reply to DATA."""
        connection = self._connection
        commands = list(rcpts)
        reset = opening and connection.unclean
        if opening:
            commands.insert(0, self._prepared.mail)
        if data:
            commands.append(b"DATA\r\n")
        if reset and not connection.capabilities.pipelining:
            connection.send(b"RSET\r\n", 1)
            self._reset((await connection.collect(1))[0])
            reset = False
        elif reset:
            commands.insert(0, b"RSET\r\n")
        connection.send(b"".join(commands), len(commands))
        try:
            got = await connection.collect(len(commands))
        except Lost as lost:
            self._take(lost.replies, reset, opening, len(rcpts))
            raise
        self._take(got, reset, opening, len(rcpts))
        return got[-1] if data else None

    def _take(self, got: list[ServerReply], reset: bool, opening: bool, rcpts: int) -> None:
        """Notes the replies to a group's RSET, MAIL and RCPTs; there may be fewer than there should be."""
        at = 0
        if reset and got:
            self._reset(got[0])
            at = 1
        if opening and len(got) > at:
            self._touched = True
            self._connection.unclean = True  # until the reply to the message
            self._mail = got[at]
            at += 1
            if not self._mail_taken():
                refusal = _reply("mail", self._mail)
                self._replies.update(dict.fromkeys(self._prepared.recipients, refusal))
        if not self._mail_taken():
            return
        for reply in got[at : at + rcpts]:
            recipient = self._prepared.recipients[self._asked]
            self._asked += 1
            if reply.code <= 299:
                self._accepted.append(recipient)
            else:
                refused = _reply("rcpt", reply)
                self._replies[recipient] = refused
                if self._full is None and _says_full(refused):
                    self._full = refused
        if self._full is not None:
            for recipient in self._prepared.recipients[self._asked :]:
                self._replies.setdefault(recipient, self._full)

    def _reset(self, reply: ServerReply) -> None:
        if reply.code > 299:
            self._connection.abort("RSET was refused")
            raise Lost(f"RSET was refused: {reply.code} {reply.text}", [], None)
        self._connection.unclean = False

    def _mail_taken(self) -> bool:
        return self._mail is not None and self._mail.code <= 299

    # --- DATA and the message -------------------------------------------------------------------------------------

    async def _data(self, data: ServerReply, may_send: Callable[[], bool]) -> None:
        connection = self._connection
        if data.code == 354:
            if self._accepted:
                await self._message(may_send)
            else:
                connection.send(b".\r\n", 1)
                await connection.collect(1)
            connection.unclean = False
        elif data.code >= 400:
            self._settle(_reply("data", data))
        else:
            connection.abort(f"protocol error: {data.code} in reply to DATA")
            raise Lost(connection.lost, [], None)

    async def _message(self, may_send: Callable[[], bool]) -> None:
        connection = self._connection
        if connection.lost:
            raise Lost(connection.lost, [], None)
        if not may_send():
            connection.abort(
                "called off"
            )  # without a final dot, so that the server drops what it has
            raise NotSent("called off before the message was sent")
        self._settle_message(await connection.send_message(self._prepared.content), "the message")

    # --- outcomes -------------------------------------------------------------------------------------------------

    def _settle(self, reply: Reply) -> None:
        """The reply for all that were accepted so far."""
        self._replies.update(dict.fromkeys(self._accepted, reply))

    def _settle_message(self, reply: ServerReply, what: str) -> None:
        """The reply to the message, which came as ``what``. Raises MessageLost where it is none that may follow a message."""
        if 300 <= reply.code <= 399:
            self._connection.abort(f"protocol error: {reply.code} in reply to {what}")
            raise MessageLost(self._connection.lost, [], None)
        self._settle(_reply("message", reply))

    def _settle_lost(self, lost: Lost) -> None:
        """What was answered stays; the rest, accepted or not, failed with the connection."""
        if self._mail is not None and not self._mail_taken():
            return
        if isinstance(lost, MessageLost):
            phase: Phase = "message"
        elif self._mail is None:
            phase = "mail"
        else:
            phase = (
                "rcpt"
                if self._asked < len(self._prepared.recipients) and self._full is None
                else "data"
            )
        reply = (
            _reply(phase, lost.goodbye)
            if lost.goodbye
            else Reply(phase, None, None, lost.text, uncertain=isinstance(lost, MessageLost))
        )
        for recipient in self._prepared.recipients:
            self._replies.setdefault(recipient, reply)


def _reply(phase: Phase, reply: ServerReply) -> Reply:
    return make_reply(phase, reply.code, reply.text)


def _says_full(reply: Reply) -> bool:
    """The transaction has its fill of recipients (RFC 5321, 4.5.3.1.10)."""
    return reply.code in (451, 452, 552) and (
        (reply.enhanced or "").endswith(".5.3") or "too many recipients" in reply.text.lower()
    )
