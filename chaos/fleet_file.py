"""
The file by which tools find a running fleet: ``fleet.json`` in its data folder, mode 0600.

It names every process with the argv that starts it again, the proxies that control the faults between them, and the
made-up customers with their passwords.
"""

import os
from pathlib import Path

import msgspec

from chaos.errors import FleetError

FILE_NAME = "fleet.json"


class CoreEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The core: its own address (no proxy before it), its process, and the token of its operator API."""

    url: str
    pid: int
    command: list[str]
    operator_token: str
    data: str = ""


class EdgeEntry(msgspec.Struct, frozen=True, kw_only=True):
    """
    An edge.

    ``pid`` is its supervisor's; ``proxy`` controls the faults between it and the core, ``peer_proxy`` between it and
    its siblings, both directions.
    """

    name: str
    url: str
    pid: int
    command: list[str]
    data: str
    proxy: str
    peer_proxy: str


class ServiceEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A server besides core and edges, such as ``redis``."""

    name: str
    pid: int
    port: int


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """A made-up customer's sign-in; each has a statement and a saved method."""

    account_id: str
    email: str
    password: str


class FleetFile(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of ``fleet.json``; ``play_url`` is empty where no demo serves its page."""

    core: CoreEntry
    edges: list[EdgeEntry]
    customers: list[Customer]
    services: list[ServiceEntry] = []
    play_url: str = ""


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    beside.replace(path)


def write_fleet_file(path: Path, fleet: FleetFile) -> None:
    """Write the file for others to find, readable by its owner alone."""
    write_private(path, msgspec.json.format(msgspec.json.encode(fleet), indent=2) + b"\n")


def read_fleet_file(path: Path) -> FleetFile:
    """Read the file of a running fleet. Raises `FleetError` when it is not there or not one."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=FleetFile)
    except OSError as error:
        raise FleetError(
            f"cannot read {path}: {error.strerror}; is a demo running there?"
        ) from error
    except msgspec.DecodeError as error:
        raise FleetError(f"{path} is not a fleet file: {error}") from error
