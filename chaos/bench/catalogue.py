"""Every benchmark by its name, in the order in which they run."""

from typing import NamedTuple

from chaos.bench.apply import bench_apply
from chaos.bench.setting import Bench


class Entry(NamedTuple):
    """A benchmark and what it measures, in a sentence."""

    summary: str
    run: Bench


BENCHES: dict[str, Entry] = {
    "apply": Entry("applying the feed, against bare inserts into the same table", bench_apply),
}
