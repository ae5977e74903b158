"""Forms are taken only from our own pages: the origin is ours and the session's token comes along."""

import hmac
from urllib.parse import urlsplit

from edge_portal.cookies import AnyRequest
from edge_portal.session import Session


def from_own_page(request: AnyRequest) -> bool:
    """
    Tell whether a form was sent by a page of this very site.

    Browsers send ``Origin`` with every form post; ``Sec-Fetch-Site`` decides where it is missing or ``null``.
    """
    origin = request.headers.get("Origin")
    if origin and origin != "null":
        return urlsplit(origin).netloc == request.headers.get("Host", "")
    return request.headers.get("Sec-Fetch-Site") in {"same-origin", "none"}


def form_is_ours(request: AnyRequest, session: Session, csrf: str) -> bool:
    """Tell whether a signed-in customer's form came from our page and carries this session's token."""
    return from_own_page(request) and hmac.compare_digest(session.csrf.encode(), csrf.encode())
