"""Connections to webhooks, over real sockets: TLS, one that ends, one that is used again."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

import pytest

from babygun.webhooks import connection as connection_module
from babygun.webhooks.answers import Answer
from babygun.webhooks.connection import Connection, connect
from babygun.webhooks.endpoint import Unreachable, parse_endpoint
from tests.support.certificates import Authority, Pem

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LOOPBACK = [ip_address("127.0.0.1")]


class Heard:
    """What a connection has reported."""

    def __init__(self) -> None:
        self.answers: asyncio.Queue[tuple[Connection, Answer | None, str]] = asyncio.Queue()
        self.closed = asyncio.Event()

    def make(self) -> Connection:
        return Connection(
            lambda *found: self.answers.put_nowait(found), lambda _: self.closed.set()
        )

    async def next(self) -> tuple[Answer | None, str]:
        async with asyncio.timeout(30):
            return (await self.answers.get())[1:]


@asynccontextmanager
async def server(*answers: bytes | None) -> AsyncIterator[int]:
    """Answers each request by the next of ``answers``; None: closes. Yields its port."""
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while left:
                await reader.readuntil(b"\r\n\r\n")
                answer = left.pop(0)
                if answer is None:
                    break
                writer.write(answer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


@contextmanager
def tls_server(own: Pem) -> Iterator[int]:
    """Answers OK to each request over TLS; in a thread, so that it closes what fails."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.cert, own.key)

    def serve() -> None:
        with suppress(OSError):
            while True:
                taken, _ = listening.accept()
                with suppress(OSError), taken:
                    session = context.wrap_socket(taken, server_side=True)
                    with session:
                        session.recv(1000)
                        session.sendall(OK)
                        session.recv(1000)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


async def opened(heard: Heard, url: str) -> Connection:
    endpoint = parse_endpoint(url, allow_http=True)
    return await connect(endpoint, LOOPBACK, heard.make, 30.0)


async def test_connection_is_used_for_one_request_after_the_other() -> None:
    heard = Heard()
    async with server(OK, OK) as port:
        connection = await opened(heard, f"http://h:{port}/")
        for _ in range(2):
            connection.send(b"POST / HTTP/1.1\r\n\r\n", 30.0)
            assert await heard.next() == (Answer(200, "", b"ok", True), "")
        await asyncio.wait_for(heard.closed.wait(), 30)
        connection.send(b"POST / HTTP/1.1\r\n\r\n", 30.0)
        answer, error = await heard.next()
        assert answer is None and "closed" in error and connection.stale


async def test_connection_that_ends_without_an_answer_says_so() -> None:
    heard = Heard()
    async with server(None) as port:
        connection = await opened(heard, f"http://h:{port}/")
        connection.send(b"POST / HTTP/1.1\r\n\r\n", 30.0)
        answer, error = await heard.next()
    assert answer is None and "closed the connection" in error and not connection.stale


async def test_answer_that_does_not_come_in_time_ends_the_connection() -> None:
    heard = Heard()
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nnot", OK) as port:
        connection = await opened(heard, f"http://h:{port}/")
        connection.send(b"POST / HTTP/1.1\r\n\r\n", 0.2)
        assert await heard.next() == (None, "no answer within 0.2 s")


async def test_server_that_speaks_unasked_is_left() -> None:
    heard = Heard()
    async with server(OK + b"HTTP/1.1 200 OK\r\n\r\n") as port:
        connection = await opened(heard, f"http://h:{port}/")
        connection.send(b"POST / HTTP/1.1\r\n\r\n", 30.0)
        answer, _ = await heard.next()
        assert answer is not None and not answer.again


async def test_nobody_who_listens_is_a_reason() -> None:
    with pytest.raises(Unreachable, match=r"no connection to 127\.0\.0\.1"):
        await opened(Heard(), "http://h:1/")


async def test_certificate_is_checked_against_the_host_of_the_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    connection_module._tls.cache_clear()
    heard = Heard()
    try:
        with tls_server(authority.sign("server", hosts=("hooks.example",))) as port:
            with pytest.raises(Unreachable, match="TLS failed"):
                await opened(heard, f"https://other.example:{port}/")
            connection = await opened(heard, f"https://hooks.example:{port}/")
            connection.send(b"POST / HTTP/1.1\r\n\r\n", 30.0)
            assert await heard.next() == (Answer(200, "", b"ok", True), "")
            connection.close()
            await heard.closed.wait()
    finally:
        connection_module._tls.cache_clear()


async def test_certificate_of_an_unknown_authority_is_refused(tmp_path: Path) -> None:
    own = Authority(tmp_path).sign("server", hosts=("hooks.example",))
    with tls_server(own) as port, pytest.raises(Unreachable, match="TLS failed"):
        await opened(Heard(), f"https://hooks.example:{port}/")
