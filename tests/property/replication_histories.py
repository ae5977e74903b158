"""Histories of commits and faults, for hypothesis to choose from."""

from hypothesis import strategies as st

from cache_sync.publication import Name
from tests.property.replication_faults import FAULTS, HONEST, Fault
from tests.property.replication_world import (
    EVENTS,
    Action,
    Advance,
    Beginning,
    Commit,
    Crash,
    Event,
    Pages,
    Steps,
)

NAMES = [Name(f"account-{number}", "payment", "p") for number in range(6)]

_shards = st.integers(0, 2)
_changes = st.lists(
    st.tuples(st.sampled_from(NAMES), st.none() | st.sampled_from([b"1", b"22", b"333"])),
    min_size=1,
    max_size=6,
)
_commits = st.builds(Commit, _changes)
_good_steps = st.builds(Steps, _shards, st.just(Fault(HONEST, 0)), st.integers(1, 5))
_faults = st.builds(Fault, st.sampled_from(FAULTS), st.integers(0, 10_000))
_bad_steps = st.builds(Steps, _shards, _faults, st.integers(1, 2))
_crashes = st.builds(Crash, st.integers(0, 80), st.just(value=False)) | st.builds(
    Crash, st.integers(0, 6), st.just(value=True)
)
_rare = st.one_of(
    st.builds(Pages, st.integers(1, 4)),
    st.builds(Advance, st.floats(0.0, 100.0)),
    st.builds(Event, st.sampled_from(EVENTS)),
    st.builds(Event, st.sampled_from(EVENTS)),
)
_actions = st.one_of(_commits, _commits, _good_steps, _bad_steps, _crashes, _rare)

beginnings = st.builds(Beginning, st.sampled_from([1, 1, 2, 3]), st.none() | _commits)
histories: st.SearchStrategy[list[Action]] = st.lists(_actions, min_size=10, max_size=50)
