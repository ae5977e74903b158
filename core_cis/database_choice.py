"""
Which database a core's folder goes with: its own file, or the PostgreSQL that it was told once.

What it was told stands in `database.json` of the folder, so that every command of this core uses the same. A password
is never kept there, nor taken from a command line, where everybody on the machine can read it: libpq looks for it as
always (`PGPASSFILE`, `PGPASSWORD`, `~/.pgpass`), or it is the first line of the file that is named with the URL.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from core_cis.database import FILE_NAME, Database, SqliteDatabase
from core_cis.errors import DatabaseInvalid
from core_cis.keys import write_private
from core_cis.settings import (
    DATABASE_PASSWORD_FILE_VARIABLE,
    DATABASE_VARIABLE,
    named_database,
    named_password_file,
)

if TYPE_CHECKING:
    from sqlalchemy import URL

CHOICE_NAME = "database.json"
# A server: the writers, the readers, the feed's pages, its lookout, and one to spare.
CONNECTIONS_MAX = 16


class DatabaseChoice(msgspec.Struct, frozen=True, kw_only=True):
    """A database by its URL, without a password, and the file that its password is in; "" for none."""

    url: str
    password_file: str = ""


def choose_database(data_dir: Path, named: str | None = None) -> None:
    """
    Keep the database that the command line, or else the environment, names for a core; nothing when none is named.

    Raises:
        DatabaseInvalid: It is no URL of a PostgreSQL database, the folder holds a core of its own, or the command line
            shows a password to everybody.
    """
    source: Literal["--database", "the environment"] = "--database"
    if named is None:
        named, source = named_database(), "the environment"
    if named is None:
        return
    url = _read_url(named)
    if url.password is not None and source == "--database":
        raise DatabaseInvalid(
            "a password on a command line can be read by everybody on this machine: leave it out, and give it in"
            f" PGPASSFILE, PGPASSWORD, {DATABASE_VARIABLE} or a file that {DATABASE_PASSWORD_FILE_VARIABLE} names"
        )
    if (data_dir / FILE_NAME).exists():
        raise DatabaseInvalid(
            f"{data_dir} holds a core in {FILE_NAME}: its books do not move by themselves; name another folder"
        )
    password_file = named_password_file()
    choice = DatabaseChoice(
        url=url.set(password=None).render_as_string(hide_password=False),
        password_file=str(password_file.absolute()) if password_file else "",
    )
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    if choice != read_choice(data_dir):
        write_private(
            data_dir / CHOICE_NAME, msgspec.json.format(msgspec.json.encode(choice)) + b"\n"
        )


def read_choice(data_dir: Path) -> DatabaseChoice | None:
    """
    Read which database a folder goes with; None for its own file.

    Raises:
        DatabaseInvalid: The file cannot be read.
    """
    path = data_dir / CHOICE_NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=DatabaseChoice)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise DatabaseInvalid(f"{path} cannot be read: {error}") from error


def find_database(data_dir: Path, *, connections_max: int = CONNECTIONS_MAX) -> Database:
    """
    Find the database of a core; opens nothing.

    Raises:
        DatabaseInvalid: What is kept about it cannot be used.
    """
    choice = read_choice(data_dir)
    if choice is None:
        return SqliteDatabase(data_dir / FILE_NAME)
    # A core in a file starts without either.
    from core_cis.postgresql_database import PostgresDatabase  # noqa: PLC0415

    url = _read_url(choice.url)
    password = _password(choice)
    if password is not None:
        url = url.set(password=password)
    return PostgresDatabase(url, connections_max=connections_max)


def _password(choice: DatabaseChoice) -> str | None:
    file = named_password_file() or (Path(choice.password_file) if choice.password_file else None)
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DatabaseInvalid(f"the password file {file} cannot be read: {error}") from error
        if not lines or not lines[0]:
            raise DatabaseInvalid(f"the password file {file} is empty")
        return lines[0]
    named = named_database()
    return None if named is None else _text(_read_url(named).password)


def _text(password: object) -> str | None:
    return None if password is None else str(password)


def _read_url(named: str) -> "URL":
    # Needed for a server only: a core in a file starts without it.
    from sqlalchemy import make_url  # noqa: PLC0415
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    try:
        url = make_url(named)
    except ArgumentError as error:
        raise DatabaseInvalid("that is no URL of a database") from error
    if url.drivername not in {"postgresql", "postgres"} or not url.database:
        raise DatabaseInvalid(
            "a database is named as postgresql://USER@HOST/DATABASE; without one the core is in a file of its folder"
        )
    if "password" in url.query:
        raise DatabaseInvalid("the password stands before the host, or nowhere in the URL")
    return url.set(drivername="postgresql")
