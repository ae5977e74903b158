"""Drills in which the lines fail: slow, lossy, one-way, cut."""

from chaos.drills.aborting import USUAL
from chaos.drills.core_drills import OUTAGE_PAGES
from chaos.drills.drill import Drill, Places, Step
from chaos.drills.link_faults import LinkBroken
from chaos.drills.process_faults import Killed
from chaos.faults import Cut, Flaky, Latency
from chaos.invariants import CORE_BLACKOUT, MONEY, READING
from chaos.label_invariants import (
    degraded_in_time,
    normal_returns,
    pages_answered_alone,
    reads_answered,
)
from chaos.service_invariants import (
    nothing_promised_alone,
    others_undisturbed,
    posted_unheard,
    taken_in_outage,
)

WITHOUT_CORE = (*MONEY, taken_in_outage, *READING, degraded_in_time, normal_returns)

CORE_CUT_OFF = Drill(
    name="core-cut-off",
    title="Core cut off",
    purpose="Lose everything between the core and every edge, both ways: the core is well and nobody hears it.",
    did="We cut the lines to the core",
    customers=OUTAGE_PAGES,
    recovery="The lines are mended; edges drain and return to normal by themselves.",
    method=(Step(LinkBroken(Cut())),),
    places=Places(core_silent=True, without_core=None),
    invariants=CORE_BLACKOUT,
    aborts=USUAL,
    began="Lines broken",
    healing="Lines mended",
    healed="Core answers",
)

REQUESTS_LOST = Drill(
    name="requests-lost",
    title="Requests lost on the way",
    purpose="Lose what edges send to the core; what the core sends would arrive.",
    did="We lost the edges’ requests",
    customers=OUTAGE_PAGES,
    recovery="The lines are mended; edges drain and return to normal by themselves.",
    method=(Step(LinkBroken(Cut(direction="forward"))),),
    places=Places(without_core=None),
    invariants=WITHOUT_CORE,
    aborts=USUAL,
    began="Lines broken",
    healing="Lines mended",
    healed="Core answers",
)

REPLY_LOST = Drill(
    name="reply-lost",
    title="Replies lost after the commit",
    purpose="Let requests reach the core and lose every answer: it posts, and no edge hears that it did.",
    did="We lost the core’s answers",
    customers="As in an outage; no payment is made twice, though each was asked for again.",
    recovery="The lines are mended; edges ask with the same ids and learn what was posted.",
    method=(Step(LinkBroken(Cut(direction="backward"))),),
    places=Places(without_core=None),
    invariants=(*WITHOUT_CORE, posted_unheard),
    aborts=USUAL,
    began="Lines broken",
    healing="Lines mended",
    healed="Core answers",
)

CORE_SLOW = Drill(
    name="core-slow",
    title="Core slow",
    purpose="Delay everything between core and edges by two seconds each way: it answers, too late to wait for.",
    did="We made the core slow",
    customers="Pages as fast as ever, from the edge’s own snapshot; payments accepted instead of posted.",
    recovery="The lines are as fast as before; edges drain and return to normal by themselves.",
    method=(Step(LinkBroken(Latency(latency_seconds=2.0, jitter_seconds=1.0))),),
    places=Places(without_core=None),
    invariants=(*MONEY, taken_in_outage, *READING, normal_returns),
    aborts=USUAL,
    began="Lines broken",
    healing="Lines mended",
    healed="Core answers",
)

CORE_HALF_FAILING = Drill(
    name="core-half-failing",
    title="Half of the calls fail",
    purpose="Reset the connection under half of all calls to the core, at random.",
    did="We let half of the calls to the core fail",
    customers="Pages as ever; payments posted or accepted, none twice.",
    recovery="Calls arrive again; edges drain and return to normal by themselves.",
    method=(Step(LinkBroken(Flaky(share=0.5))),),
    places=Places(without_core=None),
    invariants=(*MONEY, taken_in_outage, *READING, normal_returns),
    aborts=USUAL,
    began="Lines broken",
    healing="Lines mended",
    healed="Core answers",
)

EDGE_CUT_OFF = Drill(
    name="edge-cut-off",
    title="One edge cut off from the core",
    purpose="Cut the first edge off from the core; its sibling is well and feeds it.",
    did="We cut one edge off from the core",
    customers="At the edge that is cut off payments are accepted, not posted; at the other one nothing.",
    recovery="The line is mended; the edge drains and returns to normal by itself.",
    method=(Step(LinkBroken(Cut(), places=(0,))),),
    places=Places(without_core=(0,)),
    invariants=(*WITHOUT_CORE, others_undisturbed),
    aborts=USUAL,
    edges_min=2,
    began="Lines broken",
    healing="Lines mended",
    healed="Core answers",
)

EDGES_APART = Drill(
    name="edges-apart",
    title="Edges cut off from each other",
    purpose="Cut the lines between edges; every edge still has the core.",
    did="We cut the edges off from each other",
    customers="Nothing: the core posts, and no second copy is needed.",
    recovery="The lines are mended.",
    method=(Step(LinkBroken(Cut(), to="peers")),),
    places=Places(),
    invariants=(*MONEY, taken_in_outage, *READING, others_undisturbed, normal_returns),
    aborts=USUAL,
    edges_min=2,
    began="Lines broken",
    healing="Lines mended",
    healed="Lines carry again",
)

EDGES_ALONE = Drill(
    name="edges-alone",
    title="Every edge alone",
    purpose="Kill the core and cut the lines between edges: no second disk can be reached.",
    did="We left every edge alone",
    customers="Pages as in an outage; payments are not promised, and the page says so.",
    recovery="Lines are mended and the core is started; what was being checked is decided.",
    method=(Step(LinkBroken(Cut(), to="peers")), Step(Killed())),
    places=Places(core_silent=True, without_core=None),
    invariants=(
        *(one for one in CORE_BLACKOUT if one not in {taken_in_outage, reads_answered}),
        pages_answered_alone,
        nothing_promised_alone,
    ),
    aborts=USUAL,
    edges_min=2,
    began="Every edge alone",
    healing="Core started, lines mended",
    healed="Core answers",
)

DRILLS = (
    CORE_CUT_OFF,
    REQUESTS_LOST,
    REPLY_LOST,
    CORE_SLOW,
    CORE_HALF_FAILING,
    EDGE_CUT_OFF,
    EDGES_APART,
    EDGES_ALONE,
)
