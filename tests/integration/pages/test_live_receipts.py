"""The script of a waiting receipt, in a real browser: news in place, and no question that nobody needs."""

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.integration.edge_fleet import wait_until
from tests.integration.pages.live_page import LONG_MILLISECONDS, LivePage
from tests.integration.pages.sample import PAID_TODAY, payment
from tests.integration.pages.test_in_browser import WAITING, browser, put, signed_in
from tests.integration.pages.world import World

pytestmark = pytest.mark.browser

__all__ = ["browser"]
ADDRESS = f"/payments/{WAITING.intent_id}"


def heading_is(page: Page, told: str) -> None:
    """Wait for the page's main heading."""
    expect(page.get_by_role("heading", level=1)).to_have_text(told)


def test_news_come_in_place(browser: Browser, served: str, world: World) -> None:
    """
    What is new is shown without a reload and read out once, the focus stays, and a settled receipt asks no more.

    Another word of the service message is shown, but is no news of the payment.
    """
    put(world, "riding")
    page = signed_in(browser, served).new_page()
    live = LivePage(page, ADDRESS)
    heading_is(page, "We have accepted your payment of $50.00")
    message = page.get_by_role("status", name="Service message")
    news = page.get_by_role("status", name="News")
    expect(message).to_contain_text("Our main system is down.")
    page.get_by_role("link", name="Bills").focus()
    world.payments_open = False
    live.look()
    expect(message).to_contain_text("You cannot pay online right now.")
    expect(news).to_be_empty()
    expect(page.get_by_role("link", name="Bills")).to_be_focused()
    page.get_by_role("link", name="Check again").focus()
    world.now_mode, world.age_seconds, world.payments_open = "normal", 0.3, True
    world.payments_made = [payment("k", 5000, "posted", PAID_TODAY)]
    live.look()
    heading_is(page, "We have posted your payment of $50.00")
    expect(news).to_contain_text("We have posted your payment of $50.00. It is on your account")
    expect(message).to_have_count(0)
    expect(page.get_by_text("Check again")).to_have_count(0)
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    asked = live.asked
    live.pass_time(LONG_MILLISECONDS)
    live.hide(hidden=False)
    assert live.asked == asked
    page.context.close()


def test_it_asks_less_and_less_and_never_unseen_or_signed_out(
    browser: Browser, served: str, world: World
) -> None:
    """The pauses grow; a hidden tab asks nothing and looks at once when it is seen; the session's end is the end."""
    put(world, "riding")
    page = signed_in(browser, served).new_page()
    live = LivePage(page, ADDRESS)
    pauses = [live.look() for _ in range(10)]
    assert max(pauses[:2]) < 6_000
    assert min(pauses[-2:]) > 15_000
    assert max(pauses) < 40_000
    live.hide(hidden=True)
    asked = live.asked
    live.pass_time(LONG_MILLISECONDS)
    assert live.asked == asked
    live.hide(hidden=False)
    assert live.asked == asked + 1
    live.hear()
    assert live.look() < 6_000
    world.renews = True
    live.look()
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
    assert cookies["ridethrough_session"]["expires"] == -1, "looking by itself renews no session"
    page.context.clear_cookies()
    live.look()
    told = "You are signed out, and this page no longer looks by itself."
    expect(page.get_by_text(told).first).to_be_visible()
    expect(page.get_by_role("status", name="News")).to_contain_text(told)
    expect(page.get_by_text("This page also looks by itself.")).to_be_hidden()
    again = page.get_by_role("link", name="Sign in again")
    expect(again).to_have_attribute("href", f"/sign-in?next={ADDRESS}")
    asked = live.asked
    live.pass_time(LONG_MILLISECONDS)
    assert live.asked == asked
    page.context.close()


def test_an_edge_that_hangs_is_asked_again(browser: Browser, served: str, world: World) -> None:
    """A question without an answer is given up and said so; the next one finds the news."""
    put(world, "riding")
    page = signed_in(browser, served).new_page()
    live = LivePage(page, ADDRESS)
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/state", hold_the_first)
    live.pass_time_until_it_asks(live.asked)
    wait_until("held", lambda: page.evaluate("1") == 1 and bool(held))
    away = page.get_by_text("We could not look just now. This page tries again by itself.")
    expect(away).to_be_hidden()
    live.pass_time(8_500)
    expect(away).to_be_visible()
    world.payments_made = [payment("k", 5000, "posted", PAID_TODAY)]
    live.look()
    heading_is(page, "We have posted your payment of $50.00")
    page.context.close()


def test_a_link_does_the_same_without_scripts(browser: Browser, served: str, world: World) -> None:
    """Nothing is promised that only a script does."""
    put(world, "riding")
    page = signed_in(browser, served, java_script_enabled=False).new_page()
    page.goto(ADDRESS)
    for hidden in ("This page also looks by itself", "We could not look", "You are signed out"):
        expect(page.get_by_text(hidden)).to_be_hidden()
    world.payments_made = [payment("k", 5000, "posted", PAID_TODAY)]
    page.get_by_role("link", name="Check again").click()
    heading_is(page, "We have posted your payment of $50.00")
    page.context.close()
