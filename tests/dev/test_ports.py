import socket
from collections.abc import Iterator

import pytest

from babygun.dev.ports import Ports
from babygun.errors import SettingsError


@pytest.fixture
def busy() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_asked_port_that_is_busy_is_refused_in_one_sentence(busy: int) -> None:
    with pytest.raises(
        SettingsError,
        match=rf"the API can't have port {busy}: something else listens there already.*--port",
    ):
        Ports(print).choose("the API", asked=busy, default=8080, option="--port")


@pytest.mark.parametrize("port", [-1, 65536, 99999])
def test_asked_port_out_of_range_is_refused(port: int) -> None:
    with pytest.raises(SettingsError, match="between 1 and 65535"):
        Ports(print).choose("the API", asked=port, default=8080, option="--port")


def test_default_port_that_is_busy_gives_the_next_and_says_so(busy: int) -> None:
    said: list[str] = []
    port = Ports(said.append).choose("the API", asked=None, default=busy, option="--port")
    assert busy < port < busy + 100
    assert said == [f"port {busy} is busy: the API takes {port} (--port names another)"]


def test_default_port_that_is_free_is_taken_silently() -> None:
    said: list[str] = []
    free = Ports(print).any()
    assert Ports(said.append).choose("the API", asked=None, default=free, option="--port") == free
    assert not said


def test_no_port_is_given_out_twice() -> None:
    ports = Ports(lambda line: None)
    first = ports.any()
    assert ports.choose("etcd", asked=None, default=first, option="--etcd-port") != first
    with pytest.raises(SettingsError, match="given to another part"):
        ports.choose("etcd", asked=first, default=2379, option="--etcd-port")


def test_any_port_is_free_and_below_those_of_outgoing_connections() -> None:
    ports = Ports(print)
    first, second = ports.any(), ports.choose("it", asked=0, default=1, option="")
    assert first != second and 20_000 <= first < 32_768 and 20_000 <= second < 32_768
    with socket.create_server(("127.0.0.1", first)):
        pass
