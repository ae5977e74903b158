"""
Static files under names that carry their content's hash, so that browsers may keep them for ever.

Read once at start; a worker serves them from memory.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

from litestar import MediaType, Response, get
from litestar.params import FromPath

import failover

FOLDERS: Final = (
    Path(__file__).resolve().parent.parent / "static",
    # The look that all pages share, operators' too.
    Path(failover.__file__).resolve().parent / "look",
)
TYPES: Final = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
FOR_EVER: Final = "public, max-age=31536000, immutable"


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    files = {}
    for path in sorted(path for folder in FOLDERS for path in folder.iterdir()):
        if path.suffix in TYPES:
            content = path.read_bytes()
            mark = hashlib.sha256(content).hexdigest()[:12]
            files[f"{path.stem}-{mark}{path.suffix}"] = (content, TYPES[path.suffix])
    return files


@cache
def asset(name: str) -> str:
    """Return the address of a static file, such as ``style.css``."""
    stem, _, suffix = name.rpartition(".")
    found = [
        hashed for hashed in _files() if hashed.startswith(f"{stem}-") and hashed.endswith(suffix)
    ]
    assert len(found) == 1, f"no static file {name}"
    return f"/static/{found[0]}"


@get("/static/{name:str}", sync_to_thread=False, include_in_schema=False)
def static_file(name: FromPath[str]) -> Response[bytes]:
    """Serve a static file under its hashed name; an old hash is not found."""
    content, kind = _files().get(name, (None, ""))
    if content is None:
        return Response(b"Not found", status_code=404, media_type=MediaType.TEXT)
    headers = {"Cache-Control": FOR_EVER, "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type=kind, headers=headers)
