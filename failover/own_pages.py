"""What pages of every application share: the headers they carry, and that forms are taken only from our own pages."""

from typing import Any, Final
from urllib.parse import urlsplit

from litestar import Request, Response

HTML: Final = "text/html"
FORM_FIELDS_MAX: Final = 32
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Forms must carry their Origin; nobody else learns which page somebody came from.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
PERSONAL: Final = "no-store"

AnyRequest = Request[Any, Any, Any]


def page(content: bytes, status: int = 200) -> Response[bytes]:
    """Wrap rendered HTML: never stored by anyone, because pages are personal."""
    headers = {**SECURITY_HEADERS, "Cache-Control": PERSONAL}
    return Response(content, status_code=status, media_type=HTML, headers=headers)


def see_other(address: str) -> Response[bytes]:
    """Send the browser to another page with a GET."""
    headers = {**SECURITY_HEADERS, "Cache-Control": PERSONAL, "Location": address}
    return Response(b"", status_code=303, media_type=HTML, headers=headers)


async def read_form(request: AnyRequest) -> dict[str, str]:
    """Read a posted form's text fields; uploads and repeated fields are not ours and are left out."""
    form = await request.form()
    fields = list(form.multi_items())[:FORM_FIELDS_MAX]
    return {name: value for name, value in fields if isinstance(value, str)}


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
