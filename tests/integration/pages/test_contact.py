"""How pages tell customers to reach the utility, with a number and without one."""

import re
from collections.abc import Iterator
from typing import Final

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from tests.integration.pages.sample import account
from tests.integration.pages.world import SITE, World, pages_app

NO_NUMBER: Final = msgspec.structs.replace(SITE, utility_phone="")
PAGES: Final = (
    "/", "/bills", "/usage", "/pay", "/payments", "/service", "/help", "/accessibility", "/privacy",
)  # fmt: skip
CALLING: Final = re.compile(r"tel:|\bcall\b|by phone:|a wire down", re.IGNORECASE)


@pytest.fixture
def customer(world: World) -> Iterator[TestClient[Litestar]]:
    """Return a signed-in browser without scripts at a utility that named no number."""
    with TestClient(pages_app(world, NO_NUMBER), base_url="http://edge.test") as client:
        client.cookies.set("ridethrough_session", "token")
        yield client


@pytest.mark.parametrize("payments_open", [None, True, False])
def test_without_a_number_no_page_speaks_of_calling(
    customer: TestClient[Litestar],
    world: World,
    payments_open: bool | None,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Live, and riding through with payments open and closed; where one needs a way, the utility is named."""
    if payments_open is not None:
        world.ride_through(payments_open=payments_open)
    for page in PAGES:
        answer = customer.get(page)
        assert answer.status_code == 200
        assert not CALLING.search(answer.text), page
    assert (
        '<p class="lead">Contact Northwater Power &amp; Light. Have' in customer.get("/help").text
    )
    assert "ontact Northwater Power &amp; Light." in customer.get("/pay").text
    customer.cookies.clear()
    door = customer.get("/sign-in").text
    assert not CALLING.search(door)
    assert "Forgot your password? Contact Northwater Power &amp; Light." in door


def test_without_a_number_the_limit_names_the_utility(
    customer: TestClient[Litestar], world: World
) -> None:
    """What cannot be paid at once is not offered by phone."""
    world.account = account(balance_cents=60_000)
    world.ride_through()
    text = customer.get("/pay").text
    assert not CALLING.search(text)
    assert (
        "Pay up to $500.00 here. To pay the whole sum, contact Northwater Power &amp; Light."
        in text
    )


def test_a_closed_till_names_the_number() -> None:
    """With a number, the service message ends with it."""
    world = World()
    world.ride_through(payments_open=False)
    with TestClient(pages_app(world), base_url="http://edge.test") as client:
        client.cookies.set("ridethrough_session", "token")
        text = client.get("/").text
    assert 'To pay now, call <a href="tel:+18005550142">1-800-555-0142</a>.' in text


@pytest.mark.parametrize(
    ("number", "link"),
    [
        ("1-800-555-0142", "tel:+18005550142"),
        ("(800) 555-0142", "tel:+18005550142"),
        ("+44 20 7946 0958", "tel:+442079460958"),
    ],
)
def test_a_number_is_dialled_with_its_country_code(number: str, link: str) -> None:
    """A code that is written is kept; without one the number is of the United States."""
    assert msgspec.structs.replace(SITE, utility_phone=number).phone_link == link
