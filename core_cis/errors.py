"""
What the system of record refuses, and why.

```
CoreError
├── InvalidTariff          a tariff file breaks a rule of its shape
├── TariffConflict         a tariff in another currency than the books
├── CannotPrice            a tariff or a usage that rating cannot price, by name
├── MissingReadings        a gap too long to estimate
├── BillRefused            a bill that lacks something else, such as a tariff in force
├── UnusableReadings       a meter reading file that cannot be used at all
├── InvalidFile            a customer file with errors, by line and column
├── UnknownServicePoint    a service point that does not exist, or has no meter
├── UnknownCustomer        an e-mail address that nobody has
├── NobodyToForget         an id or address to forget that nobody has
├── ForgetRefused          a customer who cannot be forgotten yet
├── UnknownSchema          a database of another version of this program
├── DatabaseInvalid        a database that cannot be used as it was named
├── DatabaseUnreachable    a database that does not answer, or lets nobody in
├── SettingsConflict       a setting that cannot change any more
├── CoreNotEmpty           a core that should be empty and is not
├── DocumentTooLarge       a document that is longer than edges take
├── UnknownAccount         an account that does not exist
├── UnknownEdge            an edge that is not registered
├── CannotWrite            a version of a body that this release does not write
├── CannotRead             a version of a body that an edge has not said it reads
├── EdgeUnreachable        an edge whose journal cannot be read now
├── EdgeConflict           an edge's registration that cannot be done as asked
├── LimitInvalid           a stand-in limit that cannot be
├── UnknownCase            a case number that no dead letter has
├── CaseRefused            an action on a case that cannot be done
├── UnknownTicket          a number that no ticket has
├── TicketRefused          an action on a ticket that cannot be done
├── CollectionRefused      terms of collections that cannot be, or none where some are needed
├── UnknownBackup          a mark that these books do not hold
├── BackupRefused          a backup that cannot be named, released or restored from
├── EdgesAwaited           a restored core that has not heard yet from every edge
├── CoreBusy               another process serves this core
├── SnapshotsBusy          another process builds this core's snapshot files
├── SnapshotStuck          the replica that snapshot files are cut from cannot follow the feed
├── MoneyUnknown           a payment that may have been charged: it cannot be decided yet
├── BadSettlement          a settlement file that is none
├── NotBegun               a job whose turn did not come in time: nothing was done
└── WriterFull             too many jobs wait: nothing was done
```
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

_ERRORS_SHOWN = 50


class CoreError(Exception):
    """The root of what the core refuses."""


class InvalidTariff(CoreError):
    """
    A tariff file breaks a rule of its shape.

    Args:
        path: Where in the file, such as `energy.periods[0].tiers[1].max`.
        rule: What is expected there.
    """

    def __init__(self, path: str, rule: str) -> None:
        super().__init__(f"{path or 'tariff'}: {rule}")
        self.path = path
        self.rule = rule


class TariffConflict(CoreError):
    """A tariff that these books cannot use, because its prices are in another currency."""


class CannotPrice(CoreError):
    """
    A bill is refused because one thing in it has no price.

    Args:
        reason: A stable code, such as `unknown_unit`.
        field: What in the tariff or in the usage it is about.
        detail: The same for a person.
    """

    def __init__(self, reason: str, field: str, detail: str) -> None:
        super().__init__(f"cannot price {field}: {detail} ({reason})")
        self.reason = reason
        self.field = field
        self.detail = detail


class MissingReadings(CoreError):
    """
    More readings are missing in a row than may be estimated.

    Args:
        service_point_id: Whose readings.
        start: The first missing instant, UTC.
        end: The first instant after the gap, UTC.
        detail: Why they cannot be estimated.
    """

    def __init__(self, service_point_id: str, start: datetime, end: datetime, detail: str) -> None:
        hours = (end - start).total_seconds() / 3600
        super().__init__(
            f"service point {service_point_id}: no readings for {hours:g} h "
            f"from {start.isoformat()} to {end.isoformat()}: {detail}"
        )
        self.service_point_id = service_point_id
        self.start = start
        self.end = end
        self.detail = detail


class BillRefused(CoreError):
    """A bill cannot be made because something it needs is not there, such as a tariff in force."""


class UnusableReadings(CoreError):
    """
    A meter reading file that cannot be used at all.

    Args:
        reason: A stable code, such as `not_xml` or `unit`.
        detail: The same for a person.
        line: The line of the file, 0 when none is to blame.
    """

    def __init__(self, reason: str, detail: str, line: int = 0) -> None:
        where = f"line {line}: " if line else ""
        super().__init__(f"{where}{detail} ({reason})")
        self.reason = reason
        self.detail = detail
        self.line = line


class LineError(NamedTuple):
    """One thing wrong in a file: where, and the rule that is broken."""

    line: int
    column: str
    rule: str

    def __str__(self) -> str:
        """Write it as a person reads it."""
        column = f", column {self.column}" if self.column else ""
        return f"line {self.line}{column}: {self.rule}"


class InvalidFile(CoreError):
    """
    A file breaks rules of its shape; nothing of it was taken in.

    Args:
        errors: Every one that was found.
    """

    def __init__(self, errors: Sequence[LineError]) -> None:
        shown = [str(error) for error in errors[:_ERRORS_SHOWN]]
        if len(errors) > _ERRORS_SHOWN:
            shown.append(f"and {len(errors) - _ERRORS_SHOWN} more")
        super().__init__("nothing was imported:\n" + "\n".join(shown))
        self.errors = tuple(errors)


class UnknownServicePoint(CoreError):
    """A service point that does not exist, or has no meter."""

    def __init__(self, service_point_id: str) -> None:
        super().__init__(
            f"no service point {service_point_id}; import its customer first: core import customers FILE"
        )
        self.service_point_id = service_point_id


class UnknownCustomer(CoreError):
    """An e-mail address that nobody has."""

    def __init__(self, email: str) -> None:
        super().__init__(f"no customer has the e-mail address {email}")
        self.email = email


class NobodyToForget(CoreError):
    """Nobody in the books has the id, or the e-mail address, that was named; it is not said again."""

    def __init__(self) -> None:
        super().__init__(
            "no customer has this id or e-mail address; somebody who was forgotten is found by the id alone"
        )


class ForgetRefused(CoreError):
    """
    A customer who cannot be forgotten yet.

    Args:
        reasons: What is in the way, and what to do about each.
    """

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("nothing was changed:\n" + "\n".join(reasons))
        self.reasons = tuple(reasons)


class UnknownSchema(CoreError):
    """The database was written by another version of this program."""


class DatabaseInvalid(CoreError):
    """A database that cannot be used as it was named: not a URL, or not beside what the folder holds."""


class DatabaseUnreachable(CoreError):
    """A database that does not answer, or lets nobody in."""


class SettingsConflict(CoreError):
    """
    A setting that cannot change any more.

    Args:
        setting: Which one.
        detail: Why not.
    """

    def __init__(self, setting: str, detail: str) -> None:
        super().__init__(f"{setting} cannot change: {detail}")
        self.setting = setting


class CoreNotEmpty(CoreError):
    """A core that should be empty has customers: demo data never mixes with others."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"{where} has customers already (or an interrupted filling); name another folder or remove this one"
        )


class DocumentTooLarge(CoreError):
    """
    A document that would be longer than edges take; the transaction that would have published it changes nothing.

    ``account_id`` is empty for a document of the whole fleet.
    """

    def __init__(self, account_id: str, kind: str, text_bytes: int, bytes_max: int) -> None:
        whose = f"of account {account_id}" if account_id else "of the fleet"
        super().__init__(
            f"the {kind} document {whose} has {text_bytes} bytes, {bytes_max} are the most"
        )
        self.account_id = account_id
        self.kind = kind
        self.text_bytes = text_bytes
        self.bytes_max = bytes_max


class UnknownAccount(CoreError):
    """An account that does not exist."""

    def __init__(self, account_id: str) -> None:
        super().__init__(f"no account {account_id}")
        self.account_id = account_id


class UnknownEdge(CoreError):
    """An edge that is not registered."""

    def __init__(self, node_id: str) -> None:
        super().__init__(f"no edge {node_id} is registered")
        self.node_id = node_id


class CannotWrite(CoreError):
    """There is no such kind of body, or no such version of it in this release, whose newest is ``newest``."""

    def __init__(self, kind: str, version: int, newest: int | None) -> None:
        known = "" if newest is None else f", only 1 to {newest}"
        super().__init__(f"this release writes no {kind} documents of version {version}{known}")
        self.kind = kind


class CannotRead(CoreError):
    """Active edges have not said that they read a version of a body: they would stop applying."""

    def __init__(self, kind: str, version: int, edges: Sequence[str]) -> None:
        super().__init__(
            f"{kind} documents of version {version} are not read by {', '.join(edges)}, as far as they have said:"
            " upgrade them first, or expel those that are gone"
        )
        self.edges = list(edges)


class EdgeConflict(CoreError):
    """An edge's registration that cannot be done as asked: the name is taken, or its keys were handed out."""


class LimitInvalid(CoreError):
    """A stand-in limit that cannot be: ``field`` breaks ``rule``."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


class UnknownCase(CoreError):
    """A case number that no dead letter has."""

    def __init__(self, case_number: str) -> None:
        super().__init__(f"there is no case {case_number}")
        self.case_number = case_number


class CaseRefused(CoreError):
    """An action on a case that cannot be done; says why, in a sentence for operators."""


class UnknownTicket(CoreError):
    """A number that no ticket has."""

    def __init__(self, ticket_number: str) -> None:
        super().__init__(f"there is no ticket {ticket_number}")
        self.ticket_number = ticket_number


class TicketRefused(CoreError):
    """An action on a ticket that cannot be done; says why, in a sentence for operators."""


class CollectionRefused(CoreError):
    """Terms of collections that cannot be, or a run without any; says why, in a sentence for operators."""


class UnknownBackup(CoreError):
    """A mark that these books do not hold: of another core, or begun after the backup that they were restored from."""

    def __init__(self, mark: str) -> None:
        super().__init__(f"these books know no backup {mark}")
        self.mark = mark


class BackupRefused(CoreError):
    """A backup that cannot be named, released or restored from; says why, in a sentence for operators."""


class EdgesAwaited(CoreError):
    """A restored core decides nothing until these edges have brought back the outcomes that they kept."""

    def __init__(self, node_ids: Sequence[str]) -> None:
        super().__init__(f"edges are awaited: {', '.join(node_ids)}")
        self.node_ids = tuple(node_ids)


class CoreBusy(CoreError):
    """Another process serves the core of this folder."""


class SnapshotsBusy(CoreError):
    """Another process builds this core's snapshot files."""


class SnapshotStuck(CoreError):
    """The replica that snapshot files are cut from cannot follow the feed, whatever the reason."""


class NotBegun(CoreError, TimeoutError):
    """A job's turn did not come before its caller's deadline: nothing was done."""


class WriterFull(CoreError):
    """Too many jobs wait for the core's writer: nothing was done."""


class EdgeUnreachable(CoreError):
    """An edge whose journal cannot be read now: what it holds is not reconciled."""

    def __init__(self, node_id: str, detail: str) -> None:
        super().__init__(f"edge {node_id}: {detail}")
        self.node_id = node_id


class MoneyUnknown(CoreError):
    """A payment may have been charged, and the processor has not said yet: it cannot be decided."""

    def __init__(self) -> None:
        super().__init__("the payment processor has not answered yet")


class BadSettlement(CoreError):
    """A settlement file cannot be read, or is none."""
