"""What the core's commands have in common: where the data lies, whose books they are, how a store is opened."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from cache_sync.clock import SystemClock
from core_cis.errors import CoreError
from core_cis.publishing import publish_everything_shown
from core_cis.settings import Utility, default_data_dir
from core_cis.store import DATABASE_NAME, CoreStore, change_utility

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

json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
"""``--json``, as ``as_json: bool``."""


def utility_options(command: _CommandT) -> _CommandT:
    """Add the utility's settings; pass what arrives in the command's keyword arguments on to `open_store`."""
    for option in reversed(_UTILITY_OPTIONS):
        command = option(command)
    return command


@contextmanager
def open_store(data_dir: Path, **changes: str | int | None) -> Iterator[CoreStore]:
    """
    Open the core's store for one command; what the core refuses ends the command with a sentence.

    Args:
        data_dir: The core's folder.
        changes: Settings of `Utility` as given on the command line; None leaves one as it is.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        wanted = Utility(**given)  # type: ignore[arg-type]
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    try:
        with CoreStore.open(data_dir, SystemClock(), utility=wanted) as store:
            _change(store, given)
            yield store
    except CoreError as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def open_known_store(data_dir: Path) -> Iterator[CoreStore]:
    """
    Open the store of a core that is there; a mistyped folder ends the command (code 2) instead of making an empty core.

    An empty core has nothing to bill and nothing that differs: both would read as success.
    """
    if not (data_dir / DATABASE_NAME).is_file():
        raise click.UsageError(f"there is no core in {data_dir}; `core init` makes one")
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
