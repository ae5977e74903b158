"""Problem details as OpenAPI describes them."""

import msgspec
from litestar.openapi.datastructures import ResponseSpec

from failover.web import PROBLEM_JSON


class FieldRule(msgspec.Struct, frozen=True):
    """One field of a request and the rule that it breaks."""

    field: str
    rule: str


class ProblemDetail(msgspec.Struct, frozen=True, kw_only=True):
    """
    Why a request was not answered (RFC 9457).

    ``type`` is ``urn:ridethrough:problem:<slug>``; ``retry`` is ``same`` where asking again is the right thing to do.
    """

    type: str
    title: str
    status: int
    detail: str = ""
    errors: list[FieldRule] = []
    retry: str = ""


_MEANINGS = {
    400: "The request cannot be read.",
    401: "The caller is not who this is for.",
    403: "This is not for this caller.",
    404: "There is no such thing.",
    409: "The question is of another history.",
    410: "What was asked for is forgotten.",
    413: "The body is too large.",
    416: "There are no such bytes.",
    422: "The body is not what is asked for.",
    503: "Not now; nothing was done.",
    504: "It is not known whether it was done; ask again.",
}


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """Describe the problems that a route answers with, for its ``responses``."""
    return {
        status: ResponseSpec(
            data_container=ProblemDetail,
            media_type=PROBLEM_JSON,
            description=_MEANINGS[status],
            generate_examples=False,
        )
        for status in statuses
    }
