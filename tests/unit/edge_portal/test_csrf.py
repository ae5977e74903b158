"""Which form posts count as our own."""

import pytest
from litestar.testing import RequestFactory

from failover.own_pages import from_own_page

HOST = "portal.example"


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({"Origin": f"https://{HOST}"}, True),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Referer": f"https://{HOST}/pay"}, True),
        ({"Referer": "https://evil.example/pay"}, False),
        ({}, True),
    ],
)
def test_only_our_own_pages_and_no_page_at_all_may_send_forms(
    *, headers: dict[str, str], ours: bool
) -> None:
    """A browser always names where a form came from; whoever names nothing is no browser."""
    request = RequestFactory().post("/pay", headers={"Host": HOST, **headers})
    assert from_own_page(request) is ours
