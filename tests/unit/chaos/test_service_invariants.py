"""What must hold of the service under other faults than a dead core: silent where it held, loud where not."""

from datetime import timedelta

import msgspec
import pytest

from chaos.findings import Finding
from chaos.history import FaultFacts, History
from chaos.label_invariants import pages_answered_alone, reads_answered
from chaos.money_invariants import nothing_lost
from chaos.service_invariants import (
    modes_do_not_flicker,
    nothing_promised_alone,
    others_undisturbed,
    posted_unheard,
    taken_elsewhere,
    taken_in_outage,
)

replace = msgspec.structs.replace


@pytest.fixture
def one_edge(history: History) -> History:
    """Return a history in which edge-1 lost the core and edge-2 noticed nothing."""
    history.fault = FaultFacts(without_core=["edge-1"])
    history.samples = [
        replace(sample, mode="normal") if sample.edge == "edge-2" else sample
        for sample in history.samples
    ]
    return history


def told(finding: Finding) -> str:
    """Join a finding's evidence."""
    return "\n".join(finding.evidence)


def test_the_others_stay_normal(one_edge: History) -> None:
    """One look at which they were not is found; without others it proves nothing."""
    assert others_undisturbed(one_edge).held
    place = next(i for i, one in enumerate(one_edge.samples) if one.edge == "edge-2")
    one_edge.samples[place] = replace(one_edge.samples[place], mode="degraded", reason="breaker")
    assert "edge-2: degraded (breaker)" in told(others_undisturbed(one_edge))
    one_edge.fault = FaultFacts(without_core=["edge-1", "edge-2"])
    assert "not put to the test" in told(others_undisturbed(one_edge))


def test_payments_are_taken_elsewhere(one_edge: History) -> None:
    """The edge that the fault left alone took one; that the other did too is not asked."""
    assert taken_elsewhere(one_edge).held
    one_edge.attempts = [one for one in one_edge.attempts if one.edge == "edge-1"]
    assert told(taken_elsewhere(one_edge)) == "edge-2 accepted none"
    one_edge.fault = FaultFacts(without_core=["edge-1"], away=["edge-2"])
    assert "not put to the test" in told(taken_elsewhere(one_edge))


def test_an_edge_that_was_taken_away_need_not_take_payments(history: History) -> None:
    """With a live core "posted" counts as taken too."""
    history.fault = FaultFacts(away=["edge-2"])
    history.attempts = [
        replace(one, state="posted") for one in history.attempts if one.edge == "edge-1"
    ]
    assert taken_in_outage(history).held
    history.fault = FaultFacts(away=["edge-2"], core_silent=True)
    assert told(taken_in_outage(history)) == "edge-1 accepted none"


def test_alone_nothing_is_promised(history: History) -> None:
    """Any promise is a violation, and so is a drill in which nobody asked for one."""
    assert "edge-1: intent-2 accepted" in told(nothing_promised_alone(history))
    history.attempts = [
        replace(one, state="checking") if one.state == "accepted" else one
        for one in history.attempts
    ]
    assert nothing_promised_alone(history).held
    history.attempts = history.attempts[:1]
    assert "nobody tried" in told(nothing_promised_alone(history))


def test_lost_answers_are_shown_to_have_been_lost(history: History) -> None:
    """Accepted payments that the core posted before the lines were mended: in a blackout there is none."""
    assert "no answer of the core was lost" in told(posted_unheard(history))
    healing = history.milestones.healing_at
    assert healing is not None
    ledger = history.ledgers_after["account-2"]
    early = replace(ledger.entries[-1], posted_at=healing - timedelta(seconds=5))
    history.ledgers_after["account-2"] = replace(ledger, entries=[*ledger.entries[:-1], early])
    assert posted_unheard(history).held


def test_modes_do_not_flicker(history: History) -> None:
    """An edge that is normal again and again while the core comes and goes is found."""
    assert modes_do_not_flicker(history).held
    inside = [
        place
        for place, sample in enumerate(history.samples)
        if sample.edge == "edge-1" and history.phase(sample.at) == "outage"
    ]
    for place in inside[10::10]:
        history.samples[place] = replace(history.samples[place], mode="normal")
    returns = len(inside[10::10])
    assert told(modes_do_not_flicker(history)) == (
        f"edge-1: normal again {returns} times, at most 0 allowed"
    )
    history.fault = replace(history.fault, returns_max=returns)
    assert modes_do_not_flicker(history).held
    history.fault = FaultFacts()
    assert "nothing was broken" in told(modes_do_not_flicker(history))


def test_only_what_nobody_took_may_be_unknown(history: History) -> None:
    """A payment that an edge knows nothing of is no failed page there; any other page is, also another answer."""
    read = next(one for one in history.reads if one.edge == "edge-1")
    unknown = replace(read, what="payment", status=404, problem="not_found")
    history.reads.append(unknown)
    assert pages_answered_alone(history).held
    assert not reads_answered(history).held
    history.reads.append(replace(unknown, status=500, problem="broken"))
    assert "edge-1 payment" in told(pages_answered_alone(history))
    history.reads[-1] = replace(unknown, what="account")
    assert "edge-1 account" in told(pages_answered_alone(history))


def test_no_answer_says_nothing_of_a_payment(history: History) -> None:
    """An edge that is away tells nobody that a payment is lost; one that does not know it does."""
    taken = next(one for one in history.sightings if one.state)
    later = taken.received_at + timedelta(seconds=5)
    silent = replace(taken, status=0, state="", sent_at=later, received_at=later)
    history.sightings.append(silent)
    assert nothing_lost(history).held
    history.sightings.append(replace(silent, status=404))
    assert "answered 404" in told(nothing_lost(history))
