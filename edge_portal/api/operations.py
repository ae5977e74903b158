"""What operators and their machines ask of an edge: ``/healthz``, ``/readyz``, ``/status``, ``/metrics``."""

from typing import Final

import msgspec
from litestar import Response, get

from edge_portal.cookies import AnyRequest
from edge_portal.metrics import CONTENT_TYPE, exposition
from edge_portal.node_status import EdgeStatus, NodeStatus
from failover.web import Problem

_TEXT: Final = "text/plain"


@get("/healthz", sync_to_thread=False, tags=["operators"], summary="Is a worker there?")
def healthz() -> Response[str]:
    """Answer as long as a worker runs."""
    return Response("ok\n", media_type=_TEXT)


@get("/readyz", sync_to_thread=False, tags=["operators"], summary="Is there a snapshot?")
def readyz(request: AnyRequest) -> Response[str]:
    """Answer 200 once this edge has a snapshot to serve, core or not; 503 before."""
    if not _node(request).ready():
        raise Problem(
            "no_snapshot",
            status=503,
            title="This edge has no snapshot yet",
            retry="same",
            headers={"Retry-After": "1"},
        )
    return Response("ready\n", media_type=_TEXT)


@get("/status", sync_to_thread=False, tags=["operators"], summary="How this edge is")
def status(request: AnyRequest) -> Response[EdgeStatus]:
    """Tell mode, ages, queue, breaker, shards and processes."""
    body: Response[EdgeStatus] = Response(
        msgspec.json.encode(_node(request).read()),  # type: ignore[arg-type]
        media_type="application/json",
    )
    return body


@get("/metrics", sync_to_thread=False, tags=["operators"], summary="For Prometheus")
def metrics(request: AnyRequest) -> Response[bytes]:
    """Expose what all workers counted, and how this edge is."""
    return Response(exposition(_node(request).read()), media_type=CONTENT_TYPE)


OPERATIONS: Final = [healthz, readyz, status, metrics]


def _node(request: AnyRequest) -> NodeStatus:
    node: NodeStatus = request.app.state.node
    return node
