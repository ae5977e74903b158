"""Every page in a real browser: accessibility, width, the fold, the keyboard."""

import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from cache_sync.documents import PaymentMethod
from failover.message_bodies import MeterReading, ServiceRequest
from failover.sibling_news import MayMiss
from tests.integration.pages.sample import (
    ACCOUNT,
    ARCHIVED,
    BANK,
    OTHER_ACCOUNT,
    PAID_TODAY,
    account,
    message,
    payment,
)
from tests.integration.pages.world import World

pytestmark = pytest.mark.browser

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE = {"width": 320, "height": 568}
WAITING = payment("k", 5000, "accepted", PAID_TODAY)
CHECKED = payment("c", 4002, "checking", PAID_TODAY)
SENT = message(
    "m",
    MeterReading(
        salt="",
        service_point_id="SP-1",
        meter_id="NW 20 771 384",
        read_on=PAID_TODAY.date(),
        register_wh=48_900_000,
    ),
    "accepted",
)
# The longest that a customer may write, without a place to break the line.
WRITTEN = message(
    "w", ServiceRequest(salt="", kind="other", text="x" * 500), "accepted", accepted_at=PAID_TODAY
)
PAGES = (
    "/",
    "/bills",
    "/bills/S-2026-11",
    f"/bills/{ARCHIVED.statement_id}",
    "/usage",
    "/usage?from=2026-10-10",
    "/pay",
    "/pay/review?amount=other&other=nonsense",
    f"/pay/review?amount=other&other=50&method={BANK}&key=r.{ACCOUNT}",
    "/payments",
    f"/payments/{WAITING.intent_id}",
    "/reading",
    "/outage",
    "/request",
    "/contact",
    "/messages",
    f"/messages/{SENT.intent_id}",
    f"/messages/{WRITTEN.intent_id}",
    "/accounts",
    "/service",
    "/help",
    "/accessibility",
    "/privacy",
    "/nowhere",
)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """Start one browser for this file."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield started
        started.close()


def signed_in(browser: Browser, served: str, **options: object) -> BrowserContext:
    """Open a browser profile of a signed-in customer."""
    context = browser.new_context(base_url=served, **options)  # type: ignore[arg-type]
    context.add_cookies([{"name": "ridethrough_session", "value": "token", "url": served}])
    return context


def put(world: World, state: str) -> None:
    """Put the portal into a mode, with a payment on its way and a second account."""
    world.account_ids = [ACCOUNT, OTHER_ACCOUNT]
    world.payments_made = [WAITING, *world.payments_made]
    world.pending_cents = 5000
    world.messages = [SENT, WRITTEN]
    if state in {"riding", "reading"}:
        world.ride_through(payments_open=state == "riding")
    if state == "catching":
        world.now_mode, world.age_seconds = "recovering", 5_900
        world.may_miss = MayMiss(why="waiting", payments=2)
    if state in {"checked", "large"}:
        world.payments_made = [CHECKED, *world.payments_made]
    if state == "checked":
        world.ride_through()
    if state == "large":
        method = PaymentMethod(
            method_id=BANK,
            type="bank_account",
            label="Cooperative Farmers and Merchants Bank checking ending 0417",
            status="verified",
        )
        world.account = account(
            balance_cents=1_234_567_89, billed_balance_cents=987_654_32, payment_methods=[method]
        )


def violations(page: Page) -> list[tuple[str, list[str]]]:
    """Run axe on a page; returns rule and elements of each violation."""
    found = Axe().run(page).response["violations"]
    return [(rule["id"], [str(node["target"]) for node in rule["nodes"]]) for rule in found]


@pytest.mark.parametrize(
    ("state", "scheme"),
    [
        ("live", "light"),
        ("live", "dark"),
        ("riding", "light"),
        ("riding", "dark"),
        ("catching", "light"),
        ("reading", "dark"),
        ("checked", "light"),
        ("large", "light"),
    ],
)
def test_no_page_violates_accessibility_or_scrolls_sideways(
    browser: Browser, served: str, world: World, state: str, scheme: str
) -> None:
    """In each mode, in light and in dark, every page passes axe and fits a phone's width."""
    put(world, state)
    context = signed_in(browser, served, viewport=PHONE, color_scheme=scheme)
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    for address in PAGES:
        page.goto(address)
        assert (address, violations(page)) == (address, [])
        assert (address, page.evaluate("document.documentElement.scrollWidth")) == (address, 320)
    context.clear_cookies()
    page.goto("/sign-in")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    context.close()
    # Only answers that are no 200 may show up in the console: no blocked style, script or form.
    assert [text for text in problems if "Failed to load resource" not in text] == []


@pytest.mark.parametrize("width", [768, 1280])
def test_wider_screens_do_not_scroll_sideways(
    browser: Browser, served: str, world: World, width: int
) -> None:
    """Tablets and desks show every page without a horizontal scroll bar."""
    put(world, "riding")
    context = signed_in(browser, served, viewport={"width": width, "height": 900})
    page = context.new_page()
    for address in PAGES:
        page.goto(address)
        assert (address, page.evaluate("document.documentElement.scrollWidth")) == (address, width)
    context.close()


@pytest.mark.parametrize("state", ["live", "riding", "catching", "reading"])
def test_mode_and_amount_are_above_the_fold(
    browser: Browser, served: str, world: World, state: str
) -> None:
    """On the smallest phone the service message and what is left to pay are seen without scrolling."""
    put(world, state)
    context = signed_in(browser, served, viewport=PHONE)
    page = context.new_page()
    page.goto("/")
    seen = [page.locator(".hero .sum").last]
    if state != "live":
        seen.append(page.get_by_role("status").locator("p").first)
    for part in seen:
        box = part.bounding_box()
        assert box is not None
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= PHONE["height"]
    context.close()


def test_paying_works_by_keyboard_and_survives_impatience(
    browser: Browser, served: str, world: World
) -> None:
    """Choose, check and pay with the keyboard; going back shows the receipt again, one payment was made."""
    context = signed_in(browser, served)
    page = context.new_page()
    page.goto("/pay")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to main content")).to_be_focused()
    page.get_by_label("Another amount").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.type("12.34")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Check your payment")
    page.get_by_role("button", name="Pay $12.34").dblclick()
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text("We have posted your payment of $12.34")
    page.go_back()
    expect(heading).to_have_text("We have posted your payment of $12.34")
    assert {call[0] for call in world.paid} == {"random0"}
    context.close()


def test_chart_bars_are_read_with_the_keyboard(browser: Browser, served: str) -> None:
    """Each day of the chart takes focus, tells its value and leads to its row."""
    context = signed_in(browser, served)
    page = context.new_page()
    page.goto("/usage?from=2026-10-10")
    day = page.locator("a.day").nth(14)
    day.focus()
    expect(day.locator(".read")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{served}/usage?from=2026-10-10#d15")
    context.close()


def test_what_was_wrong_has_the_focus(browser: Browser, served: str, world: World) -> None:
    """A form that comes back begins at what was wrong with it, and the link there leads to the field."""
    context = signed_in(browser, served, viewport=PHONE)
    page = context.new_page()
    page.goto(f"/pay/review?amount=other&other=nonsense&method={BANK}&key=r.{ACCOUNT}")
    expect(page.locator("#wrong")).to_be_focused()
    page.get_by_role("link", name="Go to the field").click()
    assert page.evaluate("location.hash") == "#other"
    expect(page.locator("#other")).to_be_in_viewport()
    expect(page.locator("#other")).to_have_accessible_description(
        re.compile("Write the amount as a number")
    )
    context.close()
