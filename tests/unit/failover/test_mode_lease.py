"""The lease of the mode: believed while it runs, and never longer."""

from pathlib import Path

from failover.mode_lease import LeaseReader, ModeLease, last_lease, write_lease
from tests.unit.failover.virtual import ManualClock


def lease(clock: ManualClock) -> ModeLease:
    """Make a lease of two seconds in normal operation."""
    return ModeLease(
        mode="normal",
        reason="ok",
        since=clock.now(),
        payments_open=True,
        archive_open=True,
        boot_id=clock.boot_id(),
        lease_until=clock.boot_seconds() + 2,
    )


def test_a_lease_in_force_is_what_the_agent_wrote(tmp_path: Path) -> None:
    """And a renewed one replaces it at once."""
    clock, path = ManualClock(), tmp_path / "mode.json"
    reader = LeaseReader(path, clock)
    write_lease(path, lease(clock))
    assert reader.read() == lease(clock)
    clock.seconds += 1
    write_lease(path, lease(clock))
    assert reader.read() == lease(clock)
    assert [file.name for file in tmp_path.iterdir()] == ["mode.json"]


def test_a_lease_that_ran_out_is_degraded_with_payments_closed(tmp_path: Path) -> None:
    """The agent is down: nobody can record a payment. The rest of what it knew is kept."""
    clock, path = ManualClock(), tmp_path / "mode.json"
    write_lease(path, lease(clock))
    reader = LeaseReader(path, clock)
    clock.seconds += 2
    read = reader.read()
    assert (read.mode, read.reason) == ("degraded", "lease_expired")
    assert not read.payments_open
    assert not read.archive_open


def test_a_lease_of_another_boot_has_run_out(tmp_path: Path) -> None:
    """Its clock cannot be compared with this one."""
    clock, path = ManualClock(), tmp_path / "mode.json"
    write_lease(path, lease(clock))
    clock.boot, clock.seconds = "another", 0.0
    assert LeaseReader(path, clock).read().mode == "degraded"


def test_no_lease_and_a_broken_one_are_degraded(tmp_path: Path) -> None:
    """Reading never raises."""
    clock, path = ManualClock(), tmp_path / "mode.json"
    reader = LeaseReader(path, clock)
    assert reader.read().mode == "degraded"
    path.write_text("{", encoding="utf-8")
    assert reader.read() == ModeLease(mode="degraded", reason="starting")


def test_the_last_lease_can_be_read_when_it_ran_out(tmp_path: Path) -> None:
    """A restarted agent learns from it when normal was last entered; a damaged one says nothing."""
    clock, path = ManualClock(), tmp_path / "mode.json"
    assert last_lease(path) is None
    write_lease(path, lease(clock))
    clock.seconds += 100
    assert last_lease(path) == ModeLease(
        mode="normal",
        reason="ok",
        since=lease(ManualClock()).since,
        payments_open=True,
        archive_open=True,
        boot_id=clock.boot_id(),
        lease_until=clock.boot_seconds() - 98,
    )
    path.write_text("{")
    assert last_lease(path) is None
