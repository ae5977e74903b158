"""Every page in every mode, as a browser without scripts gets it."""

import re
from datetime import timedelta
from html.parser import HTMLParser

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from edge_portal.errors import NoSnapshot
from edge_portal.pdf import bill_text
from tests.integration.pages.sample import (
    ACCOUNT,
    ARCHIVED,
    BANK,
    OTHER_ACCOUNT,
    PAID_TODAY,
    payment,
)
from tests.integration.pages.world import World

Client = TestClient[Litestar]

OWN_PAGES = (
    "/",
    "/bills",
    "/bills/S-2026-11",
    "/bills/S-2026-04",
    "/usage",
    "/usage?from=2026-10-10",
    "/pay",
    f"/pay/review?amount=other&other=20&method={BANK}&key=r.{ACCOUNT}",
    "/payments",
    "/accounts",
)
OPEN_PAGES = ("/service", "/help", "/accessibility", "/privacy")
MODES = ("live", "riding", "catching", "reading", "behind")
NEVER_TOLD = re.compile(
    r"\b(?:pending|processing|degraded|core|oops|None|Undefined)\b", re.IGNORECASE
)


def put(world: World, state: str) -> None:
    """Put the portal into a state, with a payment on its way where there can be one."""
    if state in {"riding", "catching"}:
        world.payments_made = [payment("k", 5000, "accepted", PAID_TODAY), *world.payments_made]
        world.pending_cents = 5000
    if state in {"riding", "reading"}:
        world.ride_through(payments_open=state == "riding")
    if state == "catching":
        world.now_mode, world.age_seconds = "recovering", 5_900
    world.behind = state == "behind"


class Outline(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Remember what is said."""
        self.said.append(data)

    @property
    def text(self) -> str:
        """Everything said, on one line."""
        return " ".join(" ".join(self.said).split())


@pytest.mark.parametrize("state", MODES)
@pytest.mark.parametrize("address", OWN_PAGES + OPEN_PAGES)
def test_every_page_answers_in_every_mode(
    customer: Client, world: World, address: str, state: str
) -> None:
    """A page is 200 whatever became of the core, with one main heading, labels and no inline code."""
    put(world, state)
    answer = customer.get(address)
    closed = state == "reading" and address.startswith("/pay/review")
    assert answer.status_code == (422 if closed else 200)
    page = Outline(answer.text)
    assert [tag for tag, _ in page.tags].count("h1") == 1
    assert not any("style" in attributes for _, attributes in page.tags)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert all(attributes.get("src") for tag, attributes in page.tags if tag == "script")
    assert "style" not in {tag for tag, _ in page.tags}
    assert NEVER_TOLD.findall(page.text) == []
    assert ".." not in page.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["Ridethrough-As-Of"] == "2026-11-17T14:42:33.000000Z"


@pytest.mark.parametrize("state", ["riding", "reading"])
@pytest.mark.parametrize("address", ["/", "/bills", "/usage", "/payments", "/accounts", "/service"])
def test_title_and_heading_gain_the_as_of_time(
    customer: Client, world: World, address: str, state: str
) -> None:
    """While the core is away, what a page shows is dated in its title and its main heading."""
    put(world, state)
    text = customer.get(address).text
    title = re.search("<title>(.*?)</title>", text)
    heading = re.search("<h1[^>]*>(.*?)</h1>", text)
    assert title
    assert heading
    assert "as of 9:42 a.m." in title[1]
    assert "as of 9:42 a.m." in heading[1]
    assert 'role="status"' in text


def test_live_has_no_message(customer: Client) -> None:
    """Nothing is said about the system while it works."""
    text = customer.get("/").text
    assert 'role="status"' not in text
    assert "as of" not in text
    assert "Amount due" in text
    assert "$100.56" in text


def test_three_balances_are_never_merged(customer: Client, world: World) -> None:
    """Billed, as of, and left to pay stand beside each other with the arithmetic between them."""
    put(world, "riding")
    page = Outline(customer.get("/").text).text
    for told in ("Billed $125.56", "Balance as of 9:42 a.m. $100.56", "Left to pay $50.56"):
        assert told in page
    assert "$100.56 less the $50.00 we accepted from you and have not posted yet." in page


def test_what_cannot_be_done_is_a_sentence_not_a_button(customer: Client, world: World) -> None:
    """Reading only: no page offers to pay."""
    put(world, "reading")
    for address in ("/", "/bills/S-2026-11"):
        text = customer.get(address).text
        assert 'href="/pay">Pay $' not in text
    text = customer.get("/pay").text
    assert "You cannot pay online right now" in text
    assert "<button" not in text.replace('<button class="plain">Sign out', "")


def test_at_least_is_told(customer: Client, world: World) -> None:
    """After a restart of the machine ages are lower bounds, and "today" is not known."""
    put(world, "riding")
    world.at_least = True
    page = Outline(customer.get("/").text).text
    assert "9:42 a.m. on Tuesday, November 17, 2026, at least 1 hour 38 minutes ago" in page
    assert "It is at least 1 hour 38 minutes old" in Outline(customer.get("/service").text).text


def test_archived_bills_are_live_or_plainly_away(customer: Client, world: World) -> None:
    """An archived bill opens while the core answers, and says why not while it does not: 200 both times."""
    address = f"/bills/{ARCHIVED.statement_id}"
    assert "What you are charged for" in customer.get(address).text
    put(world, "riding")
    for path in (address, f"{address}/pdf"):
        answer = customer.get(path)
        assert answer.status_code == 200
        page = Outline(answer.text).text
        assert "Only our main system has them, and it does not answer right now." in page
        assert "$140.11" in page
    listed = Outline(customer.get("/bills").text).text
    assert "In the archive" in listed
    assert "They open again when our main system is back." in listed


@pytest.mark.parametrize(
    "address", ["/bills/unknown", "/bills/unknown/pdf", "/payments/unknown", "/payments/x/state"]
)
def test_what_does_not_exist_is_not_found(customer: Client, address: str) -> None:
    """An unknown bill or payment, or anybody else's, is a page that says so."""
    answer = customer.get(address)
    assert answer.status_code == 404
    assert "We could not find that page" in answer.text


@pytest.mark.parametrize(
    ("method", "address", "status"),
    [("GET", "/nowhere", 404), ("GET", "/static/style.css", 404), ("PUT", "/bills", 405)],
)
def test_wrong_addresses_are_told_by_a_page(
    customer: Client, method: str, address: str, status: int
) -> None:
    """A mistyped address shows a page in the look that leads back, not a machine's answer."""
    answer = customer.request(method, address)
    assert answer.status_code == status
    if not address.startswith("/static/"):
        assert 'href="/help"' in answer.text
        assert answer.headers["Content-Type"].startswith("text/html")


def test_an_address_for_machines_keeps_its_answer(customer: Client) -> None:
    """Below ``/api/`` errors stay problem details."""
    answer = customer.get("/api/v1/nowhere")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_bug_is_told_without_its_details(
    customer: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something unexpected is a page that says so, and nothing of it leaks."""

    def break_down(*_: object, **__: object) -> None:
        raise RuntimeError("account 12345 exploded")

    monkeypatch.setattr(world, "view", break_down)
    answer = customer.get("/")
    assert answer.status_code == 500
    assert "Something went wrong on our side" in answer.text
    assert "exploded" not in answer.text


def test_without_a_snapshot_there_is_an_honest_page(
    customer: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An edge that never heard of any bill says that, and when to come back."""

    def nothing(*_: object, **__: object) -> None:
        raise NoSnapshot

    for name in ("authenticate", "freshness", "view"):
        monkeypatch.setattr(world, name, nothing)
    for address in ("/", "/sign-in", "/service"):
        answer = customer.get(address)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "5"
        assert "has just started" in answer.text


def test_the_pdf_is_the_same_every_time(customer: Client) -> None:
    """A bill's PDF depends on the bill alone, is tagged and claims its standards."""
    first = customer.get("/bills/S-2026-11/pdf")
    second = customer.get("/bills/S-2026-11/pdf")
    assert first.headers["Content-Type"] == "application/pdf"
    assert "bill-2026-11-11.pdf" in first.headers["Content-Disposition"]
    assert first.content == second.content
    assert first.content.startswith(b"%PDF-1.7")
    assert b"/MarkInfo" in first.content
    assert b"<pdfuaid:part>1" in first.content
    assert b"<pdfaid:part>2" in first.content


def test_usage_has_a_table_for_every_bar(customer: Client) -> None:
    """Each bar of the chart leads to its row, and the finding is told in words."""
    text = customer.get("/usage?from=2026-10-10").text
    assert re.findall('class="day" href="#(d[0-9]+)"', text) == re.findall(
        '<tr id="(d[0-9]+)"', text
    )
    assert "kWh more than the 30 days before." in Outline(text).text
    assert "of your electricity goes between 5 and 9 p.m." in text
    told = Outline(text).text
    assert "Sat, Nov 7 Estimated, 3 to 5 a.m." in told
    assert "Sun, Nov 8 Estimated " in told
    assert "3 days with estimated hours are not counted here." in told


def test_usage_goes_by_links(customer: Client) -> None:
    """Earlier and later periods are links; a date that is no period shows the newest."""
    newest = customer.get("/usage").text
    assert "Usage, since November 10" in newest
    assert 'href="/usage?from=2026-10-10"' in newest
    assert "Usage, since November 10" in customer.get("/usage?from=nonsense").text


def test_an_empty_account_has_sentences(customer: Client, world: World) -> None:
    """No bill, no reading, no payment and no saved method: every page still says something true."""
    world.statements, world.archived, world.usage, world.payments_made = [], [], [], []
    world.account = type(world.account)(
        account_id=ACCOUNT,
        customer_id="C-1",
        customer_name="Ines Calloway",
        email="ines@example.com",
        utility_name="Northwater Power & Light",
        currency="USD",
        timezone="America/New_York",
        status="active",
        balance_cents=0,
        billed_balance_cents=0,
    )
    assert "You have no bill yet" in customer.get("/").text
    assert "You have no bill yet" in customer.get("/bills").text
    assert "We have no readings of your meter yet" in customer.get("/usage").text
    assert "no saved card or bank account" in customer.get("/pay").text
    assert "You have made no payments yet" in customer.get("/payments").text


def test_a_credit_is_told_as_one(customer: Client, world: World) -> None:
    """A balance below zero is the customer's money."""
    world.pending_cents = 12_056
    assert "Credit on your account" in customer.get("/").text
    assert "$20.00" in customer.get("/").text


def test_text_of_strangers_is_escaped(customer: Client, world: World) -> None:
    """Names and addresses come from files: they never become markup."""
    world.account = type(world.account)(
        **{
            **{name: getattr(world.account, name) for name in world.account.__struct_fields__},
            "customer_name": "<script>alert(1)</script>",
        }
    )
    text = customer.get("/").text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_static_files_are_kept_for_ever(visitor: Client) -> None:
    """Static files carry their content's hash in their name."""
    text = visitor.get("/sign-in").text
    address = re.search('href="(/static/style-[0-9a-f]{12}.css)"', text)
    assert address
    answer = visitor.get(address[1])
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert visitor.get("/static/style-000000000000.css").status_code == 404


def test_several_accounts_can_be_chosen(customer: Client, world: World) -> None:
    """Who has several accounts sees a switch, and only own accounts can be chosen."""
    assert 'href="/accounts"' not in customer.get("/").text
    world.account_ids = [ACCOUNT, OTHER_ACCOUNT]
    assert 'href="/accounts"' in customer.get("/").text
    assert OTHER_ACCOUNT in customer.get("/accounts").text
    form = {"csrf": "csrf-of-session", "account": OTHER_ACCOUNT}
    answer = customer.post("/accounts", data=form)
    assert answer.status_code == 303
    assert "token-other" in answer.headers["Set-Cookie"]
    assert customer.post("/accounts", data={**form, "account": "of-others"}).status_code == 404


def test_a_session_is_renewed_in_passing(customer: Client, world: World) -> None:
    """A session that is old enough gets a fresh cookie with the page."""
    world.renews = True
    assert "ridethrough_session=token" in customer.get("/").headers["Set-Cookie"]


def test_payments_a_node_does_not_have_are_asked_for(customer: Client, world: World) -> None:
    """A payment made at another edge has its receipt here too."""
    made = payment("elsewhere", 4200, "accepted", PAID_TODAY - timedelta(minutes=5))
    world.elsewhere[made.intent_id] = made
    assert (
        "We have accepted your payment of $42.00"
        in customer.get(f"/payments/{made.intent_id}").text
    )


def test_a_little_estimated_energy_is_not_told_as_nothing(customer: Client, world: World) -> None:
    """Page and PDF say that less than a kilowatt-hour was estimated."""
    bill = world.statements[0]
    meters = [msgspec.structs.replace(meter, estimated_wh=282) for meter in bill.meters]
    bill = msgspec.structs.replace(bill, statement_id="S-little", estimated_wh=282, meters=meters)
    world.statements[0] = bill
    assert "less than 1 kWh estimated" in customer.get(f"/bills/{bill.statement_id}").text
    assert bill_text(world.account, bill)["estimated"] == "less than 1 kWh"


def test_a_node_that_cannot_keep_payments_says_so_while_the_core_is_there(
    customer: Client, world: World
) -> None:
    """Its disk is full: no button to pay, and no word of the main system, which is up."""
    world.payments_open = False
    for page in ("/", "/bills", "/pay", "/service"):
        text = customer.get(page).text
        assert "You cannot pay online right now." in text, page
        assert "main system is" not in text, page
    text = customer.get("/").text
    assert '<a class="btn" href="/pay">' not in text
    assert "Part of our system is down." in text
    assert "Everything works" not in customer.get("/service").text
