"""Forms are taken only from our own pages: the origin is ours and the session's token comes along."""

import hmac

from edge_portal.cookies import AnyRequest
from edge_portal.session import Session
from failover.own_pages import from_own_page


def form_is_ours(request: AnyRequest, session: Session, csrf: str) -> bool:
    """Tell whether a signed-in customer's form came from our page and carries this session's token."""
    return from_own_page(request) and hmac.compare_digest(session.csrf.encode(), csrf.encode())
