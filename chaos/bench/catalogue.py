"""Every benchmark by its name, in the order in which they run."""

from typing import NamedTuple

from chaos.bench.apply import bench_apply
from chaos.bench.outage import bench_outage
from chaos.bench.serving import bench_serving
from chaos.bench.setting import Bench
from chaos.bench.visible import bench_visible


class Entry(NamedTuple):
    """A benchmark and what it measures, in a sentence."""

    summary: str
    run: Bench


BENCHES: dict[str, Entry] = {
    "apply": Entry("applying the feed, against bare inserts into the same table", bench_apply),
    "visible": Entry("from a commit at the core to readers of an edge", bench_visible),
    "serving": Entry("account JSON and bill pages, against constants and a cache", bench_serving),
    "outage": Entry("customers while the core is dead, frozen or cut off", bench_outage),
}
