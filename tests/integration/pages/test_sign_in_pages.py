"""Signing in and out."""

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from edge_portal.errors import SignInBusy, SignInThrottled
from edge_portal.pages.sign_in import safe_address
from tests.integration.pages.world import World

Client = TestClient[Litestar]
RIGHT = {"email": "ines@example.com", "password": "water"}


def test_who_is_not_signed_in_is_led_to_the_door_and_back(visitor: Client) -> None:
    """A bookmark leads through the sign-in page to where it pointed."""
    answer = visitor.get("/usage?from=2026-10-10")
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/sign-in?next=/usage%3Ffrom%3D2026-10-10"
    door = visitor.get(answer.headers["Location"]).text
    assert 'name="next" value="/usage?from=2026-10-10"' in door
    answer = visitor.post("/sign-in", data={**RIGHT, "next": "/usage?from=2026-10-10"})
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/usage?from=2026-10-10"
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie


def test_a_wrong_password_and_an_unknown_address_are_told_alike(visitor: Client) -> None:
    """Nobody learns from the page which addresses are customers'."""
    wrong = visitor.post("/sign-in", data={**RIGHT, "password": "no"})
    unknown = visitor.post("/sign-in", data={**RIGHT, "email": "who@example.com"})
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.text.replace("ines@", "who@") == unknown.text
    assert "The email or the password is not right" in wrong.text
    assert 'value="ines@example.com"' in wrong.text
    assert "Set-Cookie" not in wrong.headers


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [(SignInThrottled(8), 429, "wait 8 seconds"), (SignInBusy(1), 503, "again in 1 second")],
)
def test_waiting_is_told_with_its_length(
    visitor: Client,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
    told: str,
) -> None:
    """Too many attempts are delayed, and the page says for how long."""

    async def refuse(*_: object) -> str:
        raise error

    monkeypatch.setattr(world, "sign_in", refuse)
    answer = visitor.post("/sign-in", data=RIGHT)
    assert answer.status_code == status
    assert told in answer.text


def test_a_form_from_elsewhere_signs_nobody_in(visitor: Client) -> None:
    """Another site cannot sign its visitors in here."""
    answer = visitor.post("/sign-in", data=RIGHT, headers={"Origin": "http://elsewhere.test"})
    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers


def test_signing_out_needs_the_sessions_token(customer: Client) -> None:
    """Another site cannot sign a customer out; the customer can."""
    forged = customer.post("/sign-out", data={"csrf": "guess"})
    assert "Set-Cookie" not in forged.headers
    foreign = customer.post(
        "/sign-out", data={"csrf": "csrf-of-session"}, headers={"Origin": "http://elsewhere.test"}
    )
    assert "Set-Cookie" not in foreign.headers
    assert customer.get("/").status_code == 200
    answer = customer.post("/sign-out", data={"csrf": "csrf-of-session"})
    assert answer.headers["Location"] == "/sign-in"
    assert 'ridethrough_session="";' in answer.headers["Set-Cookie"].replace("null", '""')


@pytest.mark.parametrize(
    "address",
    ["//evil.test", "https://evil.test", "/\\evil.test", "/%2F/evil.test", "javascript:alert(1)",
     "/\nSet-Cookie: x", "", "bills", "/sign-in", "/" + "a" * 400, "/%5Cevil.test"],
)  # fmt: skip
def test_nobody_is_led_elsewhere(address: str) -> None:
    """After signing in, only pages of this site are gone to."""
    assert safe_address(address) == "/"


def test_the_door_says_what_works(visitor: Client, world: World) -> None:
    """While the core is away the sign-in page says that signing in works and as of when figures are."""
    world.ride_through()
    text = visitor.get("/sign-in").text
    assert "You can still sign in, read your bills and pay." in text
    assert "9:42 a.m. today" in text
    assert "Your password works as usual" in text


def test_a_wrong_password_is_led_to(visitor: Client) -> None:
    """Title, focus and fields tell readers of screens what a red sentence tells others."""
    text = visitor.post("/sign-in", data={**RIGHT, "password": "wrong"}).text
    assert "<title>Error: Sign in" in text
    assert 'id="wrong" tabindex="-1" autofocus' in text
    assert text.count('aria-invalid="true"') == 2


def test_whoever_is_signed_in_keeps_the_navigation_when_lost(customer: Client) -> None:
    """A page that is not there does not look as if one were signed out."""
    lost = customer.get("/no/such/page")
    assert lost.status_code == 404
    assert 'aria-label="Main"' in lost.text
    customer.cookies.clear()
    assert 'aria-label="Main"' not in customer.get("/no/such/page").text
