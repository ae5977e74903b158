"""Drills in which an edge fails: one of its processes, all of them, or its disk."""

from chaos.drills.aborting import USUAL
from chaos.drills.clock_faults import ClockSkewed
from chaos.drills.disk_faults import Destroyed, DiskFilled, WritesRefused
from chaos.drills.drill import Drill, Places, Step
from chaos.drills.process_faults import Frozen, Killed, PartKilled
from chaos.drills.service_faults import RedisFlushed
from chaos.drills.snapshot_faults import SnapshotsDamaged, build_snapshot_file
from chaos.invariants import MONEY, READING, Invariant
from chaos.label_invariants import (
    degraded_in_time,
    normal_returns,
    pages_answered_alone,
    reads_answered,
)
from chaos.service_invariants import (
    accepted_before_loss,
    damage_noticed,
    others_undisturbed,
    taken_elsewhere,
    taken_in_outage,
)
from chaos.services import REDIS

Invariants = tuple[Invariant, ...]
ONE_AWAY: Invariants = (*MONEY, taken_in_outage, *READING, others_undisturbed, normal_returns)
ELSEWHERE = "Who is sent to the other edge notices nothing; nothing that was accepted is lost."

EDGE_AGENT_KILLED = Drill(
    name="edge-agent-killed",
    title="An edge’s agent killed",
    purpose="Kill the process that owns an edge’s journal, twice; the edge puts another in its place.",
    did="We killed an edge’s agent and watched",
    customers="Pages as ever; a payment that was under way is repeated with its key.",
    recovery="The edge’s supervisor starts another agent, which reads the journal.",
    method=(Step(PartKilled(0, "agent")), Step(PartKilled(0, "agent"), after=0.5)),
    places=Places(),
    invariants=(*MONEY, taken_in_outage, *READING, normal_returns),
    aborts=USUAL,
    began="Agent killed",
    healing="Watching ended",
    healed="Core answers",
)

EDGE_KILLED = Drill(
    name="edge-killed",
    title="An edge killed",
    purpose="Kill an edge with all its processes under live traffic, and start it again.",
    did="We killed an edge",
    customers=ELSEWHERE,
    recovery="The edge is started again with its disk.",
    method=(Step(Killed(0)),),
    places=Places(away=(0,)),
    invariants=ONE_AWAY,
    aborts=USUAL,
    edges_min=2,
    began="Edge killed",
    healing="Edge started again",
    healed="Edge answers",
)

EDGE_FROZEN = Drill(
    name="edge-frozen",
    title="An edge frozen",
    purpose="Stop every process of an edge where it stands, and let them go on.",
    did="We froze an edge",
    customers=ELSEWHERE,
    recovery="The edge’s processes go on where they stood.",
    method=(Step(Frozen(0)),),
    places=Places(away=(0,)),
    invariants=ONE_AWAY,
    aborts=USUAL,
    edges_min=2,
    began="Edge frozen",
    healing="Edge thawed",
    healed="Edge answers",
)

EDGE_DISK_REFUSES = Drill(
    name="edge-disk-refuses",
    title="An edge’s disk takes no more writes",
    purpose="Let every write to an edge’s disk fail, as on a full or failing one, and let them succeed again.",
    did="We let an edge’s disk refuse every write",
    customers="Pages as ever; payments there are refused plainly or taken by the core, and go through elsewhere.",
    recovery="Writes succeed again; the edge goes on by itself.",
    method=(Step(WritesRefused(0)),),
    places=Places(without_core=(0,)),
    invariants=(*MONEY, taken_elsewhere, *READING, others_undisturbed, normal_returns),
    aborts=USUAL,
    edges_min=2,
    began="Writes refused",
    healing="Writes allowed",
    healed="Core answers",
)

EDGE_DISK_FULL = Drill(
    name="edge-disk-full",
    title="An edge’s disk full",
    purpose="Fill an edge’s disk to the last byte under live traffic, and make room again.",
    did="We filled an edge’s disk",
    customers="Pages as ever; payments there are refused plainly or taken by the core, and go through elsewhere.",
    recovery="There is room again; the edge goes on by itself.",
    method=(Step(DiskFilled()),),
    places=Places(without_core=(0,)),
    invariants=(*MONEY, taken_elsewhere, *READING, others_undisturbed, normal_returns),
    aborts=USUAL,
    edges_min=2,
    began="Disk full",
    healing="Room made",
    healed="Core answers",
    needs=("small disks",),
    fleet="small disk",
    on_trial=True,
)

EDGE_DISK_DESTROYED = Drill(
    name="edge-disk-destroyed",
    title="An edge lost with its disk",
    purpose="Kill the core; then destroy an edge with everything that it had accepted; bring both back.",
    did="We killed the core, then lost an edge with its disk,",
    customers="Every receipt of the lost edge is found at the other one, and every payment is posted once.",
    recovery="The core is started; the edge begins with an empty disk; its sibling delivers the second copies.",
    method=(Step(Killed()), Step(Destroyed(0), after=0.6)),
    places=Places(core_silent=True, without_core=(1,), away=(0,)),
    invariants=(
        *MONEY,
        accepted_before_loss,
        taken_in_outage,
        # Whose answer was lost with the edge asks for what nobody has taken.
        *(one for one in READING if one is not reads_answered),
        pages_answered_alone,
        degraded_in_time,
        normal_returns,
    ),
    aborts=USUAL,
    edges_min=2,
    began="Core killed",
    healing="Core and edge started",
    healed="Core and edge answer",
    own_fleet=True,
    spoils=True,
    on_trial=True,
)


def _snapshot_drill(
    name: str, title: str, purpose: str, did: str, damage: tuple[Step, ...], more: Invariants
) -> Drill:
    """Make a drill in which an edge begins anew, beside a snapshot file of before the traffic."""
    return Drill(
        name=name,
        title=title,
        purpose=purpose,
        did=did,
        customers=ELSEWHERE,
        recovery="The edge starts with an empty disk and builds its snapshot from what proves to be right.",
        prepare=build_snapshot_file,
        method=(*damage, Step(Destroyed(0))),
        places=Places(away=(0,)),
        invariants=(*ONE_AWAY, *more),
        aborts=USUAL,
        edges_min=2,
        began="Edge lost with its disk",
        healing="Edge started anew",
        healed="Edge answers",
        own_fleet=True,
        spoils=True,
        on_trial=True,
    )


SNAPSHOT_CORRUPTED = _snapshot_drill(
    "snapshot-corrupted",
    "A snapshot file with a flipped bit",
    "Flip a bit in the core’s snapshot file, and let an edge that lost its disk begin anew.",
    "We flipped a bit in the snapshot file and took an edge away",
    (Step(SnapshotsDamaged("flip"), to_the_end=True),),
    (damage_noticed,),
)

SNAPSHOT_TRUNCATED = _snapshot_drill(
    "snapshot-truncated",
    "Half a snapshot file",
    "Cut the core’s snapshot file in half, and let an edge that lost its disk begin anew.",
    "We cut the snapshot file in half and took an edge away",
    (Step(SnapshotsDamaged("truncate"), to_the_end=True),),
    (damage_noticed,),
)

SNAPSHOT_OLD = _snapshot_drill(
    "snapshot-old",
    "An old snapshot file",
    "Let an edge that lost its disk begin anew with a snapshot file that is older than what customers have seen.",
    "We took an edge away",
    (),
    (),
)

CLOCK_SKEW = Drill(
    name="clock-skew",
    title="An edge’s clock jumps",
    purpose="Let the wall clock of an edge jump two hours ahead, then a day back, while it serves.",
    did="We moved an edge’s clock",
    customers="Nothing: labels, sign-ins, limits and value dates go by the core’s time.",
    recovery="The clock is set right.",
    method=(Step(ClockSkewed("+2h")), Step(ClockSkewed("-26h"), after=0.5)),
    places=Places(),
    invariants=(*MONEY, taken_in_outage, *READING, others_undisturbed, normal_returns),
    aborts=USUAL,
    began="Clock moved",
    healing="Clock set right",
    healed="Core answers",
    needs=("libfaketime",),
    fleet="wrong clock",
    on_trial=True,
)


def _redis_drill(
    name: str, title: str, purpose: str, did: str, method: tuple[Step, ...], began: str
) -> Drill:
    """Make a drill of a Redis that nobody needs: whatever becomes of it, nobody notices."""
    return Drill(
        name=name,
        title=title,
        purpose=purpose,
        did=did,
        customers="Nothing: what a Redis does not answer, the core’s feed and the snapshot on the disk do.",
        recovery="The Redis is back; core and edges use it again by themselves.",
        method=method,
        places=Places(),
        invariants=(*MONEY, taken_in_outage, *READING, others_undisturbed, normal_returns),
        aborts=USUAL,
        began=began,
        healing="Redis back",
        healed="Core answers",
        needs=("redis",),
        fleet="redis",
        on_trial=True,
    )


REDIS_KILLED = _redis_drill(
    "redis-killed",
    "Redis dead",
    "Kill the Redis that carries the feed and shares accounts, and start it again, empty.",
    "We killed the Redis",
    (Step(Killed(REDIS)),),
    "Redis killed",
)

REDIS_FROZEN = _redis_drill(
    "redis-frozen",
    "Redis hung",
    "Stop the Redis where it stands: connections stay open and nobody answers.",
    "We froze the Redis",
    (Step(Frozen(REDIS)),),
    "Redis frozen",
)

REDIS_FLUSHED = _redis_drill(
    "redis-flushed",
    "Redis flushed",
    "Empty the Redis twice while it is in use.",
    "We emptied the Redis and watched",
    (Step(RedisFlushed()), Step(RedisFlushed(), after=0.5)),
    "Redis emptied",
)

DRILLS = (
    EDGE_AGENT_KILLED,
    EDGE_KILLED,
    EDGE_FROZEN,
    EDGE_DISK_REFUSES,
    EDGE_DISK_FULL,
    EDGE_DISK_DESTROYED,
    SNAPSHOT_CORRUPTED,
    SNAPSHOT_TRUNCATED,
    SNAPSHOT_OLD,
    REDIS_KILLED,
    REDIS_FROZEN,
    REDIS_FLUSHED,
    CLOCK_SKEW,
)
