"""Forms are taken only from our own pages: the origin is ours and the session's token comes along."""

import hmac
from urllib.parse import urlsplit

from edge_portal.cookies import AnyRequest
from edge_portal.session import Session


def from_own_page(request: AnyRequest) -> bool:
    """
    Tell whether a form was sent by a page of this very site, or by no page at all.

    Browsers send ``Origin`` with every form post; ``Sec-Fetch-Site``, then ``Referer`` decide where it is missing or
    ``null``. A client that sends none of them is no browser, so no foreign page can have made it send anything.
    """
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site")
    referrer = request.headers.get("Referer")
    if origin and origin != "null":
        return _is_ours(request, origin)
    if site is not None:
        return site in {"same-origin", "none"}
    if referrer is not None:
        return _is_ours(request, referrer)
    return origin is None


def _is_ours(request: AnyRequest, address: str) -> bool:
    return urlsplit(address).netloc == request.headers.get("Host", "")


def form_is_ours(request: AnyRequest, session: Session, csrf: str) -> bool:
    """Tell whether a signed-in customer's form came from our page and carries this session's token."""
    return from_own_page(request) and hmac.compare_digest(session.csrf.encode(), csrf.encode())
