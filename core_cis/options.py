"""What the core's commands have in common: where the data lies, whose books they are, how a store is opened."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from cache_sync.clock import SystemClock
from cache_sync.sql import OperationalError
from core_cis.database_choice import choose_database, find_database
from core_cis.errors import CoreError
from core_cis.publishing import publish_everything_shown
from core_cis.settings import Utility, default_data_dir
from core_cis.store import CoreStore, change_utility
from failover.errors import ConfigInvalid

_CommandT = TypeVar("_CommandT", bound=Callable[..., Any])

_UTILITY_OPTIONS = (
    click.option("--utility-name", "name", metavar="NAME", help="Whose books these are."),
    click.option(
        "--timezone", metavar="ZONE", help="IANA time zone of local days and value dates."
    ),
    click.option("--currency", metavar="CODE", help="ISO 4217 code."),
    click.option(
        "--phone",
        metavar="NUMBER",
        help="The number that customers call; without one, pages name none.",
    ),
    click.option(
        "--retention-months",
        "edge_retention_months",
        type=click.IntRange(1, 1200),
        help="How many months of statements edges hold.",
    ),
)

data_option = click.option(
    "--data",
    "data_dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_data_dir,
    show_default="$RIDETHROUGH_CORE_DATA or ./ridethrough-core",
    help="The core's folder. init, import, demo-data and serve make one where there is none.",
)
"""``--data DIR``, as ``data_dir: Path``."""

database_option = click.option(
    "--database",
    metavar="URL",
    help="Keep the books in PostgreSQL, postgresql://USER@HOST/DATABASE (or $RIDETHROUGH_DATABASE), instead of a file"
    " in the folder; said once, every command of this core knows it. Never with a password.",
)
"""``--database URL``, as ``database: str | None``."""

json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
"""``--json``, as ``as_json: bool``."""


def utility_options(command: _CommandT) -> _CommandT:
    """Add the utility's settings; pass what arrives in the command's keyword arguments on to `open_store`."""
    for option in reversed(_UTILITY_OPTIONS):
        command = option(command)
    return command


@contextmanager
def open_store(
    data_dir: Path,
    database: str | None = None,
    shards: int | None = None,
    /,
    **changes: str | int | None,
) -> Iterator[CoreStore]:
    """
    Open the core's store for one command; what the core refuses ends the command with a sentence.

    Args:
        data_dir: The core's folder.
        database: The database that its books are in from now on, as given on the command line.
        shards: How many shards a new core has; an existing one must have as many.
        changes: Settings of `Utility` as given on the command line; None leaves one as it is.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        wanted = Utility(**given)  # type: ignore[arg-type]
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    with _refusals_told():
        choose_database(data_dir, database)
        with CoreStore.open(data_dir, SystemClock(), utility=wanted, shards=shards) as store:
            _change(store, given)
            yield store


@contextmanager
def _refusals_told() -> Iterator[None]:
    try:
        yield
    except (CoreError, ConfigInvalid) as error:
        raise click.ClickException(str(error)) from error
    except OperationalError as error:
        raise click.ClickException(
            f"the database does not answer, or others are in the way: {error}. Run the command again: what it has done"
            " already it does not do twice"
        ) from error


@contextmanager
def open_known_store(data_dir: Path) -> Iterator[CoreStore]:
    """
    Open the store of a core that is there; a mistyped folder ends the command (code 2) instead of making an empty core.

    An empty core has nothing to bill and nothing that differs: both would read as success.
    """
    with _refusals_told():
        if data_dir.is_dir():
            choose_database(data_dir)
        database = find_database(data_dir)
        with contextlib.closing(database):
            made = database.is_made()
        if not made:
            where = data_dir if database.file else database.name
            raise click.UsageError(f"there is no core in {where}; `core init` makes one")
    with open_store(data_dir) as store:
        yield store


def _change(store: CoreStore, given: dict[str, str | int]) -> None:
    known = store.utility()
    wanted = msgspec.structs.replace(known, **given)
    if wanted == known:
        return
    with store.transaction(alone=True) as tx:
        change_utility(tx, wanted)
        publish_everything_shown(tx)
