"""
The whole story in a real browser on a real fleet: read, pay, lose the core, read on, pay on, get it back.

With ``RIDETHROUGH_PICTURES=FOLDER`` the story leaves pictures of what it saw there.
"""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from chaos.fleet import Fleet, FleetOptions
from chaos.fleet_file import Customer

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
SOON_SECONDS = 40
SOON = SOON_SECONDS * 1000
SIZES = {320: 568, 768: 1024, 1280: 900}
OPEN_PAGES = ("/service", "/help", "/accessibility", "/privacy", "/nowhere")
PICTURES = os.environ.get("RIDETHROUGH_PICTURES", "")


class Visitor:
    """A customer with a browser of their own at one edge."""

    def __init__(self, browser: Browser, edge: str, who: Customer) -> None:
        self.edge, self.who = edge, who
        self.page: Page = browser.new_context(base_url=edge, reduced_motion="reduce").new_page()
        self.problems: list[str] = []
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))

    @property
    def heading(self) -> Locator:
        """The page's main heading."""
        return self.page.get_by_role("heading", level=1)

    @property
    def message(self) -> Locator:
        """The service message."""
        return self.page.get_by_role("status", name="Service message")

    def sign_in(self) -> None:
        """Sign in with e-mail and password."""
        self.page.goto("/sign-in")
        self.page.get_by_label("Email").fill(self.who.email)
        self.page.get_by_label("Password").fill(self.who.password)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page).to_have_url(f"{self.edge}/")

    def read_bill(self) -> str:
        """Open the newest bill; returns its sums and lines as text."""
        self.page.goto("/bills")
        self.page.locator("tbody a").first.click()
        expect(self.heading).to_have_text(re.compile("^Your bill for "))
        return self.page.get_by_role("region", name="What you are charged for").inner_text()

    def pay(self, amount: str) -> str:
        """Choose, check and pay an amount; returns the receipt's address."""
        self.page.goto("/pay")
        self.page.get_by_label("Another amount").check()
        self.page.get_by_label(re.compile("^Amount in")).fill(amount)
        self.page.get_by_role("button", name="Check your payment").click()
        expect(self.heading).to_have_text("Check your payment")
        self.shoot("review")
        again = self.page.get_by_role("checkbox", name="all the same")
        if again.count():
            # Earlier payments left less to pay than this.
            again.check()
        self.page.get_by_role("button", name=f"Pay ${amount}").click()
        self.page.wait_for_url("**/payments/*")
        return self.page.url

    def left_to_pay(self) -> str:
        """Read what is left to pay on the overview."""
        self.page.goto("/")
        return self.page.locator(".hero .sum").last.inner_text()

    def wait_until(self, address: str, seen: str) -> None:
        """Look at a page again until its service message says something; empty waits for no message."""
        until = time.monotonic() + SOON_SECONDS
        while True:
            self.page.goto(address)
            told = self.message.inner_text() if self.message.count() else ""
            if seen in told if seen else not told:
                return
            assert time.monotonic() < until, f"{address} says {told!r}, not {seen!r}"

    def own_pages(self) -> list[str]:
        """List the addresses of every kind of page that this customer has."""
        self.page.goto("/bills")
        bills = [link.get_attribute("href") or "" for link in self.page.locator("tbody a").all()]
        self.page.goto("/payments")
        paid = self.page.locator(".trail a").first.get_attribute("href") or ""
        return ["/", "/bills", bills[0], bills[-1], "/usage", "/pay", "/payments", paid]

    def check_accessibility(self) -> None:
        """Run axe on every page, in light and in dark."""
        addresses = (*self.own_pages(), *OPEN_PAGES)
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            for address in addresses:
                self.page.goto(address)
                found = Axe().run(self.page).response["violations"]
                rules = [(rule["id"], rule["nodes"][0]["html"]) for rule in found]
                assert (address, scheme, rules) == (address, scheme, [])

    def shoot(self, name: str, *, dark: bool = False) -> None:
        """Take pictures of the page as it is, in three widths."""
        if not PICTURES:
            return
        self.page.emulate_media(color_scheme="dark" if dark else "light")
        for width, height in SIZES.items():
            self.page.set_viewport_size({"width": width, "height": height})
            path = Path(PICTURES) / f"{name}-{width}.png"
            self.page.screenshot(path=path, full_page=True, animations="disabled")
        self.page.set_viewport_size({"width": 1280, "height": 900})


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Run a core and two edges."""
    data = tmp_path_factory.mktemp("story fleet")
    running = Fleet(data, FleetOptions(accounts=6, normal_min_seconds=1))
    running.prepare()
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def browser(chromium: str) -> Iterator[Browser]:
    """Start a browser."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield started
        started.close()


def posted_in_the_books(fleet: Fleet, account_id: str, receipt: str) -> list[int]:
    """List the amounts of the core's ledger entries for the payment of a receipt's address."""
    url = f"{fleet.core_url}/accounts/{account_id}/ledger"
    headers = {"Authorization": f"Bearer {fleet.operator_token}"}
    ledger = httpx.get(url, headers=headers, timeout=15, trust_env=False).json()
    intent = receipt.rpartition("/")[2]
    return [entry["amount"] for entry in ledger["entries"] if entry["intent_id"] == intent]


def test_the_story(fleet: Fleet, browser: Browser) -> None:
    """Two browsers at two edges live through an outage of the core: nothing is lost, doubled or undated."""
    edges = [fleet.edge_url(name) for name in fleet.edges]
    customer, stranger = fleet.customers[0], fleet.customers[1]
    here, there = Visitor(browser, edges[0], customer), Visitor(browser, edges[1], customer)
    newcomer = Visitor(browser, edges[1], stranger)
    here.sign_in()
    there.sign_in()
    here.wait_until("/", "")
    there.wait_until("/", "")
    first = live(here, there)
    left = here.left_to_pay()
    fleet.core.kill()
    here.wait_until("/", "Our main system is down. You can still read your bills and pay.")
    there.wait_until("/", "Our main system is down.")
    assert here.left_to_pay() == left
    never_asked_before(newcomer)
    second = riding_through(here, there)
    here.page.goto(second)
    for visitor in (here, there):
        visitor.page.evaluate("document.body.dataset.kept = 'yes'")
    fleet.core.start()
    settling(here, there)
    assert posted_in_the_books(fleet, customer.account_id, first) == [-1234]
    assert posted_in_the_books(fleet, customer.account_id, second) == [-2000]
    # Nothing was blocked by the pages' own rules, and no script failed.
    seen = [*here.problems, *there.problems, *newcomer.problems]
    assert [problem for problem in seen if "Failed to load resource" not in problem] == []


def live(here: Visitor, there: Visitor) -> str:
    """Both edges show the same bill and the same amount, and a payment is posted at once. Returns its receipt."""
    assert here.read_bill() == there.read_bill()
    here.shoot("bill")
    assert here.left_to_pay() == there.left_to_pay()
    here.shoot("overview-live")
    here.page.goto("/usage")
    here.shoot("usage")
    receipt = here.pay("12.34")
    expect(here.heading).to_have_text("We have posted your payment of $12.34")
    there.page.goto(receipt.replace(here.edge, there.edge))
    expect(there.heading).to_have_text("We have posted your payment of $12.34")
    here.check_accessibility()
    return receipt


def never_asked_before(newcomer: Visitor) -> None:
    """While the core is away, somebody whom this edge never served signs in and reads a bill."""
    newcomer.page.goto("/sign-in")
    newcomer.shoot("sign-in-degraded")
    newcomer.sign_in()
    newcomer.read_bill()
    expect(newcomer.message).to_contain_text("Our main system is down.")


def riding_through(here: Visitor, there: Visitor) -> str:
    """The same pages, dated, and paying goes on. Returns the receipt of a payment that is accepted."""
    here.page.goto("/")
    expect(here.heading).to_have_text(re.compile(r"^Your account as of \d+:\d\d [ap]\.m\."))
    assert "as of" in here.page.title()
    assert here.read_bill() == there.read_bill()
    receipt = here.pay("20.00")
    expect(here.heading).to_have_text("We have accepted your payment of $20.00")
    expect(here.page.get_by_text("It counts as paid today, ")).to_be_visible()
    here.shoot("receipt-accepted")
    here.page.goto("/")
    here.shoot("overview-degraded")
    here.shoot("overview-degraded-dark", dark=True)
    here.page.goto("/pay")
    here.shoot("pay-degraded")
    here.page.goto("/service")
    here.shoot("service-degraded")
    there.page.goto(receipt.replace(here.edge, there.edge))
    expect(there.heading).to_have_text("We have accepted your payment of $20.00")
    here.check_accessibility()
    return receipt


def settling(here: Visitor, there: Visitor) -> None:
    """The core returns: a receipt left open, at either edge, settles by itself on the same page; the message goes."""
    expect(here.heading).to_have_text("We have posted your payment of $20.00", timeout=SOON)
    expect(here.page.locator("body")).to_have_attribute("data-kept", "yes")
    here.shoot("receipt-posted")
    expect(there.heading).to_have_text("We have posted your payment of $20.00", timeout=SOON)
    expect(there.page.locator("body")).to_have_attribute("data-kept", "yes")
    here.wait_until("/", "")
    there.wait_until("/", "")
    assert here.left_to_pay() == there.left_to_pay()
