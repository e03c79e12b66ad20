"""Who holds a socket."""

from __future__ import annotations

import os
import socket

from scripts.chaos.sockets import owner_of


def test_owner_of_a_connections_port_is_the_process_that_called() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as caller,
    ):
        ports = caller.getsockname()[1], server.getsockname()[1]
        assert owner_of(*ports, [os.getppid(), os.getpid()]) == os.getpid()
        assert owner_of(*ports, [os.getppid()]) is None
