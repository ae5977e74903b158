"""What all tests share: where real data lies, which browser there is, how property tests run."""

import os
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

from core_cis.database_choice import choose_database, find_database
from tests.postgres_server import PostgresServer

TESTS = Path(__file__).resolve().parent
CHECKOUT = TESTS.parent

# A machine busy with other tests is slow, not wrong; a failure prints what repeats it.
settings.register_profile(
    "ridethrough", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ridethrough")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts real processes by its folder, so that nobody forgets to."""
    for item in items:
        if item.path.is_relative_to(TESTS / "e2e"):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """Return the root of the repository."""
    return CHECKOUT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the real tariffs, bills and Green Button files beside the checkout, where they are."""
    folder = CHECKOUT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(
            "needs the reference data in ../shared/data, which is not part of this repository"
        )
    return folder


@pytest.fixture(scope="session")
def launcher() -> ModuleType:
    """Return the script at the root as a module; importing it prepares nothing."""
    loader = SourceFileLoader("launcher", str(CHECKOUT / "ridethrough"))
    spec = spec_from_loader("launcher", loader)
    assert spec
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Return a PostgreSQL server for all tests that do not break it."""
    server = PostgresServer()
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def made_core_database(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the name of a database with a core's tables, to be copied: that is faster than making them."""
    folder = tmp_path_factory.mktemp("template")
    url = postgres.new_database()
    choose_database(folder, url)
    database = find_database(folder)
    database.make()
    database.close()
    return url.rpartition("/")[2]


@pytest.fixture
def postgres_url(postgres: PostgresServer, made_core_database: str) -> Iterator[str]:
    """Return the URL of a database of this test's own, with a core's tables."""
    url = postgres.new_database(made_core_database)
    yield url
    postgres.drop(url)


@pytest.fixture(scope="session")
def chromium(launcher: ModuleType) -> str:
    """Return the path of a Chromium; without one the test skips, or fails where CI promises one."""
    found: str | None = launcher.find_browser()
    if found is None:
        how = "no Chromium found: apt-get install chromium, or ./ridethrough test as root"
        if os.environ.get("CI") == "true":
            pytest.fail(how)
        pytest.skip(how)
    return found
