"""Unit tests touch no network: an Internet socket that connects or listens is an error."""

import socket

import pytest


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every socket but Unix ones, which event loops use to wake themselves."""

    def guard(name: str) -> None:
        allowed = getattr(socket.socket, name)

        def guarded(self: socket.socket, address: object) -> object:
            if self.family == socket.AF_UNIX:
                return allowed(self, address)
            raise AssertionError(
                f"a unit test called {name}({address!r}): pass a transport instead"
            )

        monkeypatch.setattr(socket.socket, name, guarded)

    for name in ("connect", "connect_ex", "bind"):
        guard(name)
