"""Every benchmark by its name, in the order in which they run."""

from typing import NamedTuple

from chaos.bench.apply import bench_apply
from chaos.bench.bootstrap import bench_bootstrap
from chaos.bench.day import bench_day
from chaos.bench.drain import bench_drain
from chaos.bench.followers import bench_followers
from chaos.bench.herd import bench_herd
from chaos.bench.outage import bench_outage
from chaos.bench.payments import bench_payments
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
    "bootstrap": Entry("a new edge of a million accounts, against copying a file", bench_bootstrap),
    "serving": Entry("account JSON and bill pages, against constants and a cache", bench_serving),
    "outage": Entry("customers while the core is dead, frozen or cut off", bench_outage),
    "followers": Entry("what many followers cost the core, and a tree of them", bench_followers),
    "payments": Entry("payments accepted on two disks, against one disk's commits", bench_payments),
    "day": Entry("an edge's memory over a day without the core", bench_day),
    "herd": Entry("customers' payments while a great queue drains into a slow core", bench_herd),
    "drain": Entry("the core's intake of queued payments, against bare postings", bench_drain),
}
