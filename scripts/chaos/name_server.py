"""The DNS of a run: one server on loopback that workers ask as their resolver. Faults change it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

_TTL = 5  # s; workers keep an answer for longer
_STRING = 255  # characters of one string of a TXT record

Records = Mapping[tuple[str, str], tuple[str, ...]]  # by name and kind, such as ("a.example", "MX")


def quoted(text: str) -> str:
    """A TXT record in the form of a zone file."""
    return " ".join(f'"{text[at : at + _STRING]}"' for at in range(0, len(text), _STRING))


class NameServer:
    """Answers by ``records``; a name in none of them does not exist. ``port``: by UDP and TCP.

    What faults change: ``failing``: SERVFAIL to all. ``silent``: it answers nothing. ``lies``:
    records that count before the others.
    """

    def __init__(self, port: int, records: Records) -> None:
        self.port, self._records = port, dict(records)
        self._names = {name for name, _ in records}
        self._server: asyncio.Server | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self.asked = 0
        self.normal()

    def normal(self) -> None:
        """Undoes what faults changed."""
        self.failing = self.silent = False
        self.lies: Records = {}

    def publish(self, records: Records) -> None:
        """Takes in further records, in place of those of the same name and kind."""
        self._records |= records
        self._names |= {name for name, _ in records}

    def text(self, name: str) -> str:
        """A TXT record, as one string; empty if there is none."""
        found = self._records.get((name.lower().rstrip("."), "TXT"), ())
        return "".join(found[0].strip('"').split('" "')) if found else ""

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self), ("127.0.0.1", self.port)
        )
        self._server = await asyncio.start_server(self._stream, "127.0.0.1", self.port)

    async def stop(self) -> None:
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()

    def answer(self, wire: bytes) -> bytes | None:
        """The answer to a query; None: silence."""
        self.asked += 1
        if self.silent:
            return None
        query = dns.message.from_wire(wire)
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        if self.failing:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif found := self.lies.get((name, kind)) or self._records.get((name, kind)):
            answer.answer.append(dns.rrset.from_text(question.name, _TTL, "IN", kind, *found))
        elif name not in self._names:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer.to_wire()

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            size = int.from_bytes(await reader.readexactly(2), "big")
            if (answer := self.answer(await reader.readexactly(size))) is not None:
                writer.write(len(answer).to_bytes(2, "big") + answer)
                await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if (answer := self._server.answer(data)) is not None:
            self._transport.sendto(answer, addr)
