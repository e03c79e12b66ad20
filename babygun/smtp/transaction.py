"""One mail transaction on a connection: MAIL, the RCPTs, DATA, the message (RFC 5321, 3.3).

**One write.** A server that offers PIPELINING and CHUNKING (RFC 2920, 3030) gets the message as
one BDAT in the same write as its envelope: one round trip, not two. There are four exceptions:

* A message that is large, or has more than a hundred recipients: it might be sent for nothing.
* A connection that was silent for a while. The server may have hung up, and then nobody would know
  whether it took the message.
* A connection with an open transaction. Its recipients might get the message if RSET is refused.
* A server that does not manage BDAT. It gets DATA.

**Pipelined.** MAIL, the first hundred RCPTs and DATA go out in one write. Then the replies
decide:

* A refused MAIL counts for all recipients, whatever the server said to the RCPTs.
* DATA may be accepted though no recipient was. A lone dot ends it; the reply to it is dropped.
* Each server must take a hundred recipients. The further ones follow in small groups, so that a
  server that has enough is not asked a thousand times more. Some hang up on a client that makes
  too many errors, and the accepted recipients would be lost too. All recipients behind the first
  refusal for their number get that reply without being asked.

**One by one.** Without PIPELINING each command waits for the reply to the one before.

**Once more.** What the server refuses may be about this connection alone: it has carried enough,
or it breaks when commands are pipelined. While nobody can have got the message, it is sent once
more on another connection (:class:`Again`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from babygun.smtp.again import (
    Again,
    ChunkingFailed,
    PipeliningBroke,
    is_soft,
    may_be_about_connection,
    says_full,
    says_no_bdat,
)
from babygun.smtp.commands import Prepared, prepare
from babygun.smtp.connection import Connection, Lost, MessageLost
from babygun.smtp.envelope import Envelope, NotSent, Outcome
from babygun.smtp.replies import Phase, Reply, make_reply
from babygun.smtp.reply_parser import ServerReply

FIRST_GROUP = 100  # recipients that each server must take (RFC 5321, 4.5.3.1.8)
NEXT_GROUP = 10  # below the 20 errors after which Postfix hangs up by default
AT_ONCE = 64 * 1024  # bytes of the largest message that goes out with its envelope
OUT_OF_STEP = 503  # bad sequence of commands: the connection is of no more use
_RSET, _DATA = b"RSET\r\n", b"DATA\r\n"


async def transact(
    connection: Connection, envelope: Envelope, may_send: Callable[[], bool]
) -> Outcome:
    """Sends the envelope.

    Afterwards the connection is fit for the next transaction, or retired, or lost.

    ``may_send`` is asked right before the content goes out. Raises NotSent where it says no;
    Again; what the envelope's ``message`` and ``sign`` raise.
    """
    prepared = await prepare(envelope, connection.capabilities)
    if not prepared.recipients:
        return Outcome(prepared.refused)
    return await _Transaction(connection, prepared).run(may_send)


class _Transaction:
    """One try to send a prepared envelope. It gathers a reply for each recipient."""

    def __init__(self, connection: Connection, prepared: Prepared) -> None:
        self._connection = connection
        self._prepared = prepared
        self._replies = prepared.refused
        self._accepted: list[str] = []
        self._mail: ServerReply | None = None  # the reply to MAIL
        self._mail_refused = False
        self._asked = 0  # recipients whose RCPT was answered
        self._full: Reply | None = None  # the server takes no more recipients
        self._reused = connection.reused
        self._pipelined = connection.capabilities.pipelining
        self._together = False  # several commands went out in one write, and have no replies yet

    async def run(self, may_send: Callable[[], bool]) -> Outcome:
        """Raises what :func:`transact` raises."""
        connection = self._connection
        try:
            if self._fits_in_one_write():
                await self._send_in_one_write(may_send)
            else:
                if self._pipelined:
                    data = await self._send_envelope_pipelined()
                else:
                    data = await self._send_envelope_one_by_one()
                if data is not None:
                    await self._after_data(data, may_send)
        except Lost as lost:
            self._settle_lost(lost)
            return self._outcome_of_lost(lost)
        if self._refused_by_session:
            connection.retired = True
            if self._reused:
                raise Again(self._replies)
        for reply in self._replies.values():
            if reply.code == OUT_OF_STEP:
                connection.abort("the server says that commands and replies are out of step")
                if self._pipelined and not self._reused and not self._mail_refused:
                    raise PipeliningBroke(self._replies, again=True)
            elif reply.phase in ("data", "message") and is_soft(reply):
                connection.retired = True
        return Outcome(self._replies)

    def _outcome_of_lost(self, lost: Lost) -> Outcome:
        """Raises Again where the message is to go out on another connection."""
        timed_out = self._connection.timed_out
        if self._reused:
            # A server that is silent after the final dot has the message, and may still take it.
            may_take_it = timed_out and isinstance(lost, MessageLost)
            if (self._mail is None and not may_take_it) or self._refused_by_session:
                raise Again(self._replies)
            if lost.goodbye is not None and not self._mail_refused:
                raise Again(self._replies)
        elif lost.goodbye is not None:
            return self._outcome_of_goodbye()
        elif self._together and (timed_out or self._connection.hung_up):
            uncertain = any(reply.uncertain for reply in self._replies.values())
            again = not uncertain and (self._mail_refused or not timed_out)
            raise PipeliningBroke(self._replies, again=again)
        return Outcome(self._replies)

    def _outcome_of_goodbye(self) -> Outcome:
        """The server hung up with 421. It takes no more recipients than it has accepted."""
        asked, recipients = self._asked, self._prepared.recipients
        if not self._accepted or asked == len(recipients) or self._full is not None:
            return Outcome(self._replies)
        unanswered = [*self._accepted, *recipients[asked:]]
        replies = {r: reply for r, reply in self._replies.items() if r not in set(unanswered)}
        rest = [tuple(recipients[at : at + asked]) for at in range(asked, len(recipients), asked)]
        return Outcome(replies, (tuple(self._accepted), *rest))

    # --- all in one write ---

    def _fits_in_one_write(self) -> bool:
        connection, offered = self._connection, self._connection.capabilities
        return (
            offered.chunking
            and offered.pipelining
            and len(self._prepared.rcpts) <= FIRST_GROUP
            and len(self._prepared.content) <= AT_ONCE
            and (connection.lively or not connection.reused)
            and not connection.unclean
        )

    async def _send_in_one_write(self, may_send: Callable[[], bool]) -> None:
        connection, prepared = self._connection, self._prepared
        self._require_permission(may_send)
        envelope = [prepared.mail, *prepared.rcpts]
        size = b"BDAT %d LAST\r\n" % len(prepared.content)
        connection.send(b"".join((*envelope, size, prepared.content)), len(envelope) + 1)
        self._together = True
        try:
            self._note(envelope, await connection.collect(len(envelope)))
            reply = (await connection.collect(1, within=connection.data_timeout))[0]
        except Lost as lost:
            self._note(envelope, lost.replies)
            if lost.goodbye is not None and self._asked < len(prepared.rcpts):
                raise  # the server said it before it came to the message
            raise MessageLost(lost.text, [], lost.goodbye) from None
        self._together = False
        if reply.code >= 400:
            refusal = _reply("message", reply)
            if says_no_bdat(refusal, accepted=bool(self._accepted)):
                connection.abort("the server does not manage BDAT, which it offers")
                raise ChunkingFailed(self._replies | dict.fromkeys(self._accepted, refusal))
        if self._accepted:
            connection.unclean = reply.code > 299  # a failed transaction stays open until RSET
            self._settle_message(reply, "BDAT")

    # --- MAIL and RCPT ---

    async def _send_envelope_pipelined(self) -> ServerReply | None:
        """Returns the reply to DATA; None: it was not sent."""
        rcpts = self._prepared.rcpts
        first = [*self._opening(), *rcpts[:FIRST_GROUP]]
        if len(rcpts) <= FIRST_GROUP:
            return await self._exchange([*first, _DATA])
        await self._exchange(first)
        for start in range(FIRST_GROUP, len(rcpts), NEXT_GROUP):
            if self._mail_refused or self._full is not None:
                break
            group = rcpts[start : start + NEXT_GROUP]
            if start + NEXT_GROUP >= len(rcpts):
                return await self._exchange([*group, _DATA])
            await self._exchange(group)
        return await self._exchange([_DATA]) if self._accepted else None

    async def _send_envelope_one_by_one(self) -> ServerReply | None:
        """Returns the reply to DATA; None: it was not sent."""
        for command in [*self._opening(), *self._prepared.rcpts]:
            await self._exchange([command])
            if self._mail_refused or self._full is not None:
                break
        return await self._exchange([_DATA]) if self._accepted else None

    def _opening(self) -> list[bytes]:
        """MAIL, and a RSET before it where the last transaction is still open."""
        mail = self._prepared.mail
        return [_RSET, mail] if self._connection.unclean else [mail]

    async def _exchange(self, commands: Sequence[bytes]) -> ServerReply:
        """Sends commands in one write and notes the replies. Returns the last one."""
        self._connection.send(b"".join(commands), len(commands))
        self._together = len(commands) > 1
        try:
            replies = await self._connection.collect(len(commands))
        except Lost as lost:
            self._note(commands, lost.replies)
            raise
        self._together = False
        self._note(commands, replies)
        return replies[-1]

    def _note(self, commands: Sequence[bytes], replies: list[ServerReply]) -> None:
        """Notes the replies to RSET, MAIL and RCPTs. There may be fewer replies than commands."""
        for command, reply in zip(commands, replies, strict=False):
            verb = command[:4]
            if verb == b"RCPT" and not self._mail_refused:
                self._note_rcpt(reply)
            elif verb == b"MAIL":
                self._note_mail(reply)
            elif verb == b"RSET":
                self._note_reset(reply)
        if self._full is not None:
            for recipient in self._prepared.recipients[self._asked :]:
                self._replies.setdefault(recipient, self._full)

    def _note_reset(self, reply: ServerReply) -> None:
        if reply.code > 299:
            self._connection.abort("RSET was refused")
            raise Lost(f"RSET was refused: {reply.code} {reply.text}", [], None)
        self._connection.unclean = False

    def _note_mail(self, reply: ServerReply) -> None:
        self._mail, self._mail_refused = reply, reply.code > 299
        self._connection.unclean = True  # until the reply to the message
        if self._mail_refused:
            refusal = _reply("mail", reply)
            self._replies.update(dict.fromkeys(self._prepared.recipients, refusal))

    def _note_rcpt(self, reply: ServerReply) -> None:
        recipient = self._prepared.recipients[self._asked]
        self._asked += 1
        if reply.code <= 299:
            self._accepted.append(recipient)
            return
        refusal = self._replies[recipient] = _reply("rcpt", reply)
        if self._full is None and says_full(refusal):
            self._full = refusal

    @property
    def _refused_by_session(self) -> bool:
        return self._mail_refused and may_be_about_connection(
            self._replies[self._prepared.recipients[0]]
        )

    # --- DATA and the message ---

    async def _after_data(self, data: ServerReply, may_send: Callable[[], bool]) -> None:
        """Goes on as the reply to DATA says."""
        connection = self._connection
        if data.code == 354:
            if self._accepted:
                await self._send_message(may_send)
            else:
                connection.send(b".\r\n", 1)
                await connection.collect(1)
            connection.unclean = False
        elif data.code >= 400:
            self._settle(_reply("data", data))
        else:
            connection.abort(f"protocol error: {data.code} in reply to DATA")
            raise Lost(connection.lost, [], None)

    async def _send_message(self, may_send: Callable[[], bool]) -> None:
        try:
            self._require_permission(may_send)
        except NotSent:
            # Without a final dot: the server drops what it has.
            self._connection.abort("called off")
            raise
        reply = await self._connection.send_message(self._prepared.content)
        self._settle_message(reply, "the message")

    def _require_permission(self, may_send: Callable[[], bool]) -> None:
        """Asks whether the content may go out. Raises NotSent, and Lost without a connection."""
        if self._connection.lost:
            raise Lost(self._connection.lost, [], None)
        if not may_send():
            raise NotSent("called off before the message was sent")

    # --- outcomes ---

    def _settle(self, reply: Reply) -> None:
        """The reply for all recipients that were accepted."""
        self._replies.update(dict.fromkeys(self._accepted, reply))

    def _settle_message(self, reply: ServerReply, what: str) -> None:
        """The reply to the message. Raises MessageLost where the code can't be one."""
        if 300 <= reply.code <= 399:
            self._connection.abort(f"protocol error: {reply.code} in reply to {what}")
            raise MessageLost(self._connection.lost, [], None)
        self._settle(_reply("message", reply))

    def _settle_lost(self, lost: Lost) -> None:
        """Replies that came stay. All other recipients failed with the connection."""
        if self._mail_refused:
            return
        phase: Phase = "data"
        if isinstance(lost, MessageLost):
            phase = "message"
        elif self._mail is None:
            phase = "mail"
        elif self._asked < len(self._prepared.recipients) and self._full is None:
            phase = "rcpt"
        if lost.goodbye:
            reply = _reply(phase, lost.goodbye)
        else:
            reply = Reply(phase, None, None, lost.text, uncertain=phase == "message")
        for recipient in self._prepared.recipients:
            self._replies.setdefault(recipient, reply)


def _reply(phase: Phase, reply: ServerReply) -> Reply:
    return make_reply(phase, reply.code, reply.text)
