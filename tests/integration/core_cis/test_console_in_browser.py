"""The console in a real browser: accessibility, width, light and dark, without a script, by keyboard."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect, sync_playwright

from core_cis.app import create_app
from core_cis.intake import Intake
from core_cis.peer_journals import PeerJournals
from core_cis.settings import ServerSettings
from failover.http_server import serve
from failover.message_bodies import ServiceRequest
from tests.integration.core_cis.console_edges import Edges

pytestmark = pytest.mark.browser
WIDE = 1280
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


@pytest.fixture
def served(file_core: Any) -> Iterator[str]:
    """Serve a core with queued payments at one edge, another that is silent, and a dead letter."""
    edges = Edges()
    edges.waiting["east"] = [
        file_core.intent("a", amount_cents=123_456_78),
        file_core.intent("b", method_id="pm-old"),
    ]
    edges.silent = {"west"}

    def fail(*_: object) -> Any:
        raise ZeroDivisionError

    with file_core.open() as store:
        secret = store.keys.node_secret
        poison = file_core.intent("poison", amount_cents=4200)
        asked = file_core.message("s", ServiceRequest(salt="s", kind="tree", text="Elm leans"))
        Intake(store, ServerSettings()).take([asked], delivered_by="east")
        for _ in range(ServerSettings().attempts_max):
            Intake(store, ServerSettings(), process=fail).take([poison], delivered_by="east")
    journals = PeerJournals(secret, transport=httpx.MockTransport(edges.answer))
    app = create_app(file_core.data_dir, file_core.clock, journals=journals)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        listening.setblocking(False)  # noqa: FBT003 - the name is the library's
        loop, stop = asyncio.new_event_loop(), asyncio.Event()
        done = threading.Thread(
            target=loop.run_until_complete, args=(serve(app, listening, stop=stop),)
        )
        done.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            loop.call_soon_threadsafe(stop.set)
            done.join(10)
            loop.close()


def check(page: Page, what: str, width: int) -> None:
    """Run axe on a page, and measure it."""
    found = Axe().run(page).response["violations"]
    rules = [(rule["id"], [str(node["target"]) for node in rule["nodes"]]) for rule in found]
    assert (what, rules) == (what, [])
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert (what, wide) == (what, width)


def change_limits(page: Page, width: int) -> None:
    """Set a limit with the keyboard alone: a wrong one is named, and the link leads to its field."""
    page.goto("/ops/limits")
    check(page, "the limits", width)
    field = page.get_by_label("One payment", exact=True)
    field.focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("a lot")
    page.get_by_label("Why", exact=True).fill("storm")
    page.get_by_role("button", name="Check it").press("Enter")
    check(page, "a wrong limit", width)
    wrong = page.get_by_role("alert")
    expect(wrong).to_contain_text("“One payment” must be")
    wrong.get_by_role("link", name="Go to the field").press("Enter")
    expect(field).to_be_in_viewport()
    field.fill("75.50")
    # Enter in a field sends the form; its first button is the one that checks.
    field.press("Enter")
    expect(page.get_by_text("$75.50")).to_be_visible()
    check(page, "limits to check", width)
    page.get_by_role("button", name="Set the limits").press("Enter")
    expect(page.get_by_text("Order 1 holds.")).to_be_visible()


def close_ticket(page: Page, width: int) -> None:
    """Find a ticket by its kind, read it and close it, with the keyboard."""
    page.goto("/ops/tickets")
    page.get_by_label("Kind").select_option("service")
    page.get_by_role("button", name="Show").press("Enter")
    check(page, "the tickets", width)
    page.get_by_role("rowheader").get_by_role("link").first.press("Enter")
    expect(page.get_by_text("Elm leans")).to_be_visible()
    check(page, "a ticket", width)
    page.get_by_label("Why, for the audit log").fill("cut back")
    page.get_by_role("button", name="Check it").press("Enter")
    page.get_by_role("button", name="Close the ticket").press("Enter")
    expect(page.get_by_text("cut back")).to_be_visible()


@pytest.mark.parametrize(("scheme", "width"), [("light", 320), ("dark", 320), ("light", 1280)])
def test_console_is_accessible_and_works_without_scripts(
    chromium: str, served: str, file_core: Any, scheme: str, width: int
) -> None:
    """Every page passes axe and fits; an order and a case go through by keyboard and forms alone."""
    token = file_core.operator()["Authorization"].split()[1]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        context = browser.new_context(
            base_url=served,
            viewport={"width": width, "height": 720},
            color_scheme="dark" if scheme == "dark" else "light",
        )
        page = context.new_page()
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.goto("/ops")
        check(page, "the door", width)
        page.get_by_label("Your name").fill("Ada")
        page.get_by_label("Operators’ token").fill(token)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_contain_text("2 payments waiting")
        check(page, "the queue", width)
        page.get_by_role("button", name="Dry run").click()
        expect(page.get_by_text("rejected: method expired").first).to_be_visible()
        check(page, "the dry run", width)
        page.goto("/ops/drain?edge=east")
        page.get_by_label("Hold them").check()
        page.get_by_label("Why").fill("its clock is wrong")
        check(page, "an order", width)
        page.get_by_role("button", name="Check it").click()
        check(page, "an order to check", width)
        page.get_by_role("button", name="Hold the drain").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("waiting")
        page.goto("/ops/cases")
        check(page, "the cases", width)
        page.get_by_role("row").get_by_role("link").first.click()
        page.get_by_label("Why, for the audit log").fill("mended")
        check(page, "a case", width)
        page.get_by_role("button", name="Check it").click()
        page.get_by_role("button", name="Retry the payment").click()
        expect(page.get_by_text("posted").first).to_be_visible()
        page.goto("/ops/reconciliation")
        page.get_by_role("button", name="Reconcile now").click()
        # Payments, and messages beside them.
        expect(page.get_by_role("columnheader", name="Dead letter")).to_have_count(2)
        check(page, "the reconciliation", width)
        page.get_by_role("rowheader").get_by_role("link").first.click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("Payments of east")
        check(page, "the payments", width)
        if width < WIDE:
            change_limits(page, width)
            close_ticket(page, width)
        page.goto("/ops/audit")
        check(page, "the audit log", width)
        browser.close()
    # The wrong limit is answered with a status of its own, and nothing else is.
    assert [text for text in problems if "422" not in text] == []
