"""Which version of the schema this release has, and what it says to others."""

from core_cis.errors import UnknownSchema

FIRST_VERSION = 1
SCHEMA_VERSION = 18


def revision(version: int) -> str:
    """Name the step of `migrations` that ends in a schema version."""
    return f"core_{version}"


def version_of(name: str) -> int:
    """Read what `revision` wrote; 0 for a name that no release gave."""
    _, _, number = name.partition("core_")
    return int(number) if number.isdecimal() else 0


def check_version(version: int, where: str) -> None:
    """
    Refuse a database that this release cannot read.

    Raises:
        UnknownSchema: It is of a newer release, or none of ours.
    """
    if version > SCHEMA_VERSION:
        raise UnknownSchema(
            f"{where} was written by a newer release (schema version {version}, this one knows up to {SCHEMA_VERSION}):"
            " install that release, or restore the backup that was made before it"
        )
    if version < FIRST_VERSION:
        raise UnknownSchema(f"{where} holds tables that are no core's")
