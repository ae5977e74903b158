"""Drills in which the core fails: dead, frozen, coming and going."""

import signal

from chaos.drills.aborting import USUAL
from chaos.drills.core_faults import Poisoned, RestoredLater, Weakened, back_up
from chaos.drills.drill import Drill, Places, Step
from chaos.drills.operator_faults import BreakersHeld
from chaos.drills.process_faults import Frozen, Killed
from chaos.drills.sign_in_storm import SignInStorm
from chaos.invariants import CORE_BLACKOUT, MONEY, READING
from chaos.label_invariants import (
    balance_belongs_to_label,
    normal_returns,
    reads_monotonic,
)
from chaos.service_invariants import (
    modes_do_not_flicker,
    one_account_parked,
    sign_ins_answered,
    taken_in_outage,
)
from chaos.services import POSTGRESQL

EVERY_EDGE = Places(core_silent=True, without_core=None)
OUTAGE_PAGES = "Every page as before, dated with the last moment of the core; payments are accepted and posted later."

CORE_BLACKOUT_DRILL = Drill(
    name="core-blackout",
    title="Core blackout",
    purpose="Kill the core under live traffic, hold, start it again, and compare every book.",
    did="We killed the core",
    customers=OUTAGE_PAGES,
    recovery="The core is started again; edges drain and return to normal by themselves.",
    method=(Step(Killed()),),
    places=EVERY_EDGE,
    invariants=CORE_BLACKOUT,
    aborts=USUAL,
    began="Core killed",
    healing="Core started again",
    healed="Core answers",
)

CORE_FROZEN = Drill(
    name="core-frozen",
    title="Core frozen",
    purpose="Stop the core where it stands: connections stay open and nobody answers.",
    did="We froze the core",
    customers=OUTAGE_PAGES,
    recovery="The core goes on where it stood; nothing is started again.",
    method=(Step(Frozen()),),
    places=EVERY_EDGE,
    invariants=CORE_BLACKOUT,
    aborts=USUAL,
    began="Core frozen",
    healing="Core thawed",
    healed="Core answers",
)

CORE_FLAPPING = Drill(
    name="core-flapping",
    title="Core coming and going",
    purpose="Kill the core again and again, each time as soon as it has come back.",
    did="We let the core come and go",
    customers="One calm outage: pages do not flicker between live and riding through.",
    recovery="The core stays; edges return to normal after the time that their setting demands.",
    method=(Step(Killed()),),
    rounds=3,
    pause_seconds=3.0,
    places=Places(without_core=None),
    invariants=(*MONEY, taken_in_outage, *READING, modes_do_not_flicker, normal_returns),
    aborts=USUAL,
    began="Core killed for the first time",
    healing="Core stays",
    healed="Core answers",
)

CORE_RESTORED = Drill(
    name="core-restored",
    title="Core restored from a backup",
    purpose="Lose the core’s books, put back a backup that is older than what customers have seen, raise the epoch.",
    did="We lost the core and its newest books",
    customers="As in an outage; nothing that was posted or accepted is gone, and nothing is posted twice.",
    recovery="Edges refuse the old history until an operator raises the epoch; then they bring back what it lost.",
    prepare=back_up,
    method=(Step(RestoredLater()),),
    places=EVERY_EDGE,
    # Entries that are brought back are posted anew, later than when they were shown.
    invariants=tuple(one for one in CORE_BLACKOUT if one is not balance_belongs_to_label),
    aborts=USUAL,
    began="Core and books lost",
    healing="Backup restored",
    healed="Core answers in its new epoch",
    own_fleet=True,
    spoils=True,
    on_trial=True,
)

PLANNED_MAINTENANCE = Drill(
    name="planned-maintenance",
    title="Planned maintenance",
    purpose="Hold every edge away from the core by an operator’s order, then stop the core, then the other way round.",
    did="We took the core out for maintenance",
    customers="The pages of an outage from a moment that operators choose; no page and no payment fails.",
    recovery="The core is started, the orders are taken back; edges drain and return to normal by themselves.",
    method=(Step(BreakersHeld()), Step(Killed(), after=0.3)),
    places=Places(without_core=None),
    invariants=(*MONEY, taken_in_outage, *READING, normal_returns),
    aborts=USUAL,
    began="Breakers held open",
    healing="Core started, orders taken back",
    healed="Core answers",
)

RECOVERY_HERD = Drill(
    name="recovery-herd",
    title="A weak core meets what has queued",
    purpose="Kill the core, let payments queue, and start it on a machine that gives it a third of its time.",
    did="We killed the core, and gave it back weak,",
    customers="The outage lasts a little longer; nobody pays twice and nobody’s page fails.",
    recovery="The core rations what edges deliver; all of it is posted while live traffic goes on.",
    method=(Step(Killed()),),
    recovering=(Weakened(0.33),),
    places=EVERY_EDGE,
    invariants=CORE_BLACKOUT,
    aborts=USUAL,
    began="Core killed",
    healing="Core started again, weak",
    healed="Core answers",
)

POISON_PAYMENT = Drill(
    name="poison-payment",
    title="Payments that the core cannot process",
    purpose="Let the core fail on every payment of one account, while all others pay.",
    did="We poisoned one account’s payments",
    customers="One customer is told that the payment is under review, with a case number; nobody else notices.",
    recovery="An operator decides the case; the account can be posted to again.",
    method=(Step(Poisoned()),),
    places=Places(),
    # The customer of the parked payment was told "accepted" and sees it leave the balance again.
    invariants=(
        *MONEY,
        one_account_parked,
        taken_in_outage,
        *(one for one in READING if one is not reads_monotonic),
        normal_returns,
    ),
    aborts=USUAL,
    began="One account poisoned",
    healing="Poison taken away",
    healed="Core answers",
    own_fleet=True,
)

SIGN_IN_STORM = Drill(
    name="sign-in-storm",
    title="Everybody signs in while the core is dead",
    purpose="Kill the core and let a crowd sign in at every edge, most of it with wrong passwords.",
    did="We killed the core and let a crowd in",
    customers="Who is signed in notices nothing; who signs in may be asked to wait a moment.",
    recovery="The crowd leaves; the core is started again.",
    method=(Step(Killed()), Step(SignInStorm())),
    places=EVERY_EDGE,
    invariants=(*CORE_BLACKOUT, sign_ins_answered),
    aborts=USUAL,
    began="Core killed",
    healing="Core started again",
    healed="Core answers",
    on_trial=True,
)

DATABASE_RESTARTED = Drill(
    name="database-restarted",
    title="The core’s PostgreSQL gone",
    purpose="Shut the core’s PostgreSQL down at once, as a crash does, hold, and start it again.",
    did="We took the core’s database away",
    customers="As in an outage: the core is there and can decide nothing.",
    recovery="The database is started; the core finds it again by itself; edges drain and return to normal.",
    method=(Step(Killed(POSTGRESQL, signal.SIGQUIT)),),
    places=Places(without_core=None),
    invariants=(*MONEY, taken_in_outage, *READING, normal_returns),
    aborts=USUAL,
    began="Database shut down",
    healing="Database started again",
    healed="Core answers",
    needs=("postgresql",),
    fleet="postgresql",
    on_trial=True,
)

DRILLS = (
    CORE_BLACKOUT_DRILL,
    CORE_FROZEN,
    CORE_FLAPPING,
    PLANNED_MAINTENANCE,
    RECOVERY_HERD,
    POISON_PAYMENT,
    SIGN_IN_STORM,
    CORE_RESTORED,
    DATABASE_RESTARTED,
)
