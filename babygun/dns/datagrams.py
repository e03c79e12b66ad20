"""One question to one server in one datagram (RFC 1035, 4), and the reading of a plain answer.

Most lookups end so. The general ways of dnspython cost several times as much, so they are kept for
what is not plain.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
from typing import NamedTuple

import dns.inet
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.wire

_HEADER = struct.Struct("!2sHHHHH")
_RECURSION_DESIRED = 0x0100
_AUTHENTIC = 0x0020  # AD: of a query, that we want to know whether it is (RFC 6840, 5.7)
# The bits of a response to a query that is whole (not TC) and without an error.
_MATTER, _PLAIN = 0xFA0F, 0x8000
# RFC 9715: larger datagrams get lost on some ways. The server then asks for TCP.
DATAGRAM = 1232
_EDNS = struct.pack("!BHHIH", 0, dns.rdatatype.OPT, DATAGRAM, 0, 0)  # RFC 6891, 6.1.2
_LONGEST_TTL = 0x7FFFFFFF
_TO_QUESTION = b"\xc0\x0c"  # a pointer to the name in the question (RFC 1035, 4.1.4)


class Plain(NamedTuple):
    """The records of a plain answer, and for how many seconds they hold. ``secure``: signed."""

    records: list[dns.rdata.Rdata]
    ttl: int
    secure: bool


class Question:
    """``name``: an absolute one. ``trusted``: whether the server may say what is secure."""

    def __init__(
        self, name: dns.name.Name, kind: dns.rdatatype.RdataType, *, trusted: bool = False
    ) -> None:
        self._kind, self._trusted = kind, trusted
        self._wire = (name.to_wire() or b"") + struct.pack("!HH", kind, dns.rdataclass.IN)

    async def ask(self, address: str, port: int) -> bytes:
        """What the server answers. It waits as long as that takes. Raises OSError.

        A forger has to guess the number and the port. Each query has its own ones: the system picks
        the port of a new socket. A connected socket gets datagrams of its server only.
        """
        loop = asyncio.get_running_loop()
        number = secrets.token_bytes(2)
        flags = _RECURSION_DESIRED | (_AUTHENTIC if self._trusted else 0)
        head = _HEADER.pack(number, flags, 1, 0, 0, 1)
        family = dns.inet.af_for_address(address)
        with socket.socket(family, socket.SOCK_DGRAM) as connected:
            connected.setblocking(False)
            connected.connect(dns.inet.low_level_address_tuple((address, port), family))
            connected.send(head + self._wire + _EDNS)
            while True:
                answer = await loop.sock_recv(connected, 65_535)
                if answer[:2] == number and self._is_in(answer):
                    return answer

    def _is_in(self, answer: bytes) -> bool:
        """Whether it is a response to this question. Names are equal in any case of letters."""
        start = _HEADER.size
        asked = answer[start : start + len(self._wire)]
        return len(answer) > start and answer[2] >= 0x80 and asked.lower() == self._wire.lower()

    def plain_answer(self, answer: bytes) -> Plain | None:
        """What a response has for the question.

        There are no records where it says so. None: it is not plain, since it has an alias or an
        error, or is cut. Raises DNSException where it can't be read.
        """
        _, flags, questions, answers, authorities, _ = _HEADER.unpack_from(answer)
        if flags & _MATTER != _PLAIN or questions != 1:
            return None
        secure = self._trusted and bool(flags & _AUTHENTIC)
        end = _HEADER.size + len(self._wire)  # of the question
        if not answers:
            ttl = _ttl_without(answer, end) if authorities == 1 else None
            return None if ttl is None else Plain([], ttl, secure)
        parser = dns.wire.Parser(answer, end)
        found, least = [], _LONGEST_TTL
        for _ in range(answers):
            owner = parser.get_bytes(2)
            kind, of, ttl, length = parser.get_struct("!HHIH")
            if owner != _TO_QUESTION or kind != self._kind or of != dns.rdataclass.IN:
                return None
            with parser.restrict_to(length):
                found.append(dns.rdata.from_wire_parser(dns.rdataclass.IN, self._kind, parser))
            least = min(least, ttl)
        return Plain(found, least, secure)


def _ttl_without(answer: bytes, start: int) -> int | None:
    """The zone's SOA says for how long there is no record (RFC 2308, 5)."""
    _, length = dns.name.from_wire(answer, start)
    parser = dns.wire.Parser(answer, start + length)
    kind, of, ttl, length = parser.get_struct("!HHIH")
    if kind != dns.rdatatype.SOA or of != dns.rdataclass.IN:
        return None
    minimum = int.from_bytes(parser.get_bytes(length)[-4:], "big")  # its last field
    return min(int(ttl), minimum)
