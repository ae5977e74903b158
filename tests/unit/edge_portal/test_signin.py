"""Sign-in is checked at the edge: right, wrong, delayed, bounded."""

import asyncio

import pytest

from edge_portal.errors import SignInBusy, SignInThrottled, WrongCredentials
from edge_portal.signin import FREE_ATTEMPTS, FREE_ATTEMPTS_CLIENT, Attempts, SignIn
from tests.unit.edge_portal.edge_world import EMAIL, LOOKUP_KEY, PASSWORD, EdgeWorld, HandClock

CLIENT = "192.0.2.1"


@pytest.fixture
def world() -> EdgeWorld:
    """Return an edge in memory."""
    return EdgeWorld()


async def attempt(world: EdgeWorld, email: str, password: str, client: str = CLIENT) -> bool:
    """Try once; tells whether it was right."""
    try:
        await world.portal.sign_in(email, password, client)
    except WrongCredentials:
        return False
    return True


async def test_the_right_password_signs_in_however_the_address_is_written(world: EdgeWorld) -> None:
    """Addresses are compared without case and surrounding spaces."""
    token = await world.portal.sign_in(f"  {EMAIL.upper()} ", PASSWORD, CLIENT)
    assert world.portal.authenticate(token).account_id == "A-1"


async def test_wrong_password_unknown_address_and_revoked_customer_look_alike(
    world: EdgeWorld,
) -> None:
    """None of them tells which it was."""
    assert not await attempt(world, EMAIL, "wrong")
    assert not await attempt(world, "nobody@example.com", PASSWORD)
    assert not await attempt(world, EMAIL, "x" * 10_000)
    world.put_credential(status="revoked")
    assert not await attempt(world, EMAIL, PASSWORD)


async def test_wrong_attempts_are_delayed_and_never_locked(world: EdgeWorld) -> None:
    """The right password works again after the told wait, at once from elsewhere."""
    for _ in range(FREE_ATTEMPTS + 1):
        assert not await attempt(world, EMAIL, "wrong")
    with pytest.raises(SignInThrottled) as throttled:
        await world.portal.sign_in(EMAIL, PASSWORD, CLIENT)
    assert await attempt(world, EMAIL, PASSWORD, "192.0.2.99")
    world.clock.seconds += throttled.value.retry_after_seconds
    assert await attempt(world, EMAIL, PASSWORD)


async def test_guesses_in_parallel_earn_the_same_delay(world: EdgeWorld) -> None:
    """No more are checked than one after another would be."""
    results = await asyncio.gather(
        *(world.portal.sign_in(EMAIL, f"guess {n}", CLIENT) for n in range(20)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, WrongCredentials) for result in results) == FREE_ATTEMPTS + 1
    assert sum(isinstance(result, SignInThrottled) for result in results) == 19 - FREE_ATTEMPTS


async def test_one_client_cannot_try_every_address(world: EdgeWorld) -> None:
    """Attempts are counted by client too."""
    for number in range(FREE_ATTEMPTS_CLIENT + 1):
        assert not await attempt(world, f"{number}@example.com", "wrong")
    with pytest.raises(SignInThrottled):
        await attempt(world, "new@example.com", "wrong")


async def test_a_full_queue_is_told(world: EdgeWorld) -> None:
    """More than are checked and queued are turned away with a time to come back."""
    sign_in = SignIn(lookup_key=LOOKUP_KEY, clock=world.clock, queue_max=3)
    results = await asyncio.gather(
        *(
            sign_in.check(EMAIL, PASSWORD, f"c{n}", credential_of=world.portal.credential)
            for n in range(10)
        ),
        return_exceptions=True,
    )
    sign_in.close()
    busy = [result for result in results if isinstance(result, SignInBusy)]
    assert len(busy) == 7
    assert all(error.retry_after_seconds >= 1 for error in busy)


def test_delays_double_up_to_a_minute_and_are_forgotten() -> None:
    """A quarter of an hour later nothing is left."""
    clock = HandClock()
    attempts = Attempts(clock, free=1)
    waits = []
    for _ in range(12):
        attempts.wrong("k")
        waits.append(attempts.wait_seconds("k"))
    assert waits[:4] == [0, 1, 2, 4]
    assert waits[-1] == 60
    clock.seconds += 901
    assert attempts.wait_seconds("k") == 0
    attempts.wrong("k")
    attempts.right("k")
    assert attempts.wait_seconds("k") == 0


def test_what_is_remembered_is_bounded() -> None:
    """A flood of addresses forgets the oldest, not the memory's limit."""
    attempts = Attempts(HandClock(), free=0)
    for number in range(10_050):
        attempts.wrong(str(number))
    assert attempts.wait_seconds("0") == 0
    assert attempts.wait_seconds("10049") > 0
