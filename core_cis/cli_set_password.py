"""``core set-password``: a customer's new password."""

import getpass
import warnings
from pathlib import Path

import click

from core_cis.credentials import PASSWORD_LENGTH_MIN, make_verifier
from core_cis.importing.customers import set_password
from core_cis.options import data_option, open_known_store


@click.command("set-password")
@data_option
@click.option(
    "--password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take the password from this file's first line instead of asking.",
)
@click.argument("email")
def set_password_command(data_dir: Path, password_file: Path | None, email: str) -> None:
    """Give a customer a new password; every sign-in made with the old one ends when edges learn of it."""
    if password_file is None:
        password = _ask()
    else:
        lines = password_file.read_text(encoding="utf-8").splitlines()
        password = lines[0] if lines else ""
    if len(password) < PASSWORD_LENGTH_MIN:
        raise click.ClickException(
            f"a password needs at least {PASSWORD_LENGTH_MIN} characters; nothing was changed"
        )
    verifier = make_verifier(password)
    with open_known_store(data_dir) as store, store.transaction() as tx:
        customer_id = set_password(tx, email, verifier)
    click.echo(f"customer {customer_id} has a new password")


def _ask() -> str:
    with warnings.catch_warnings():
        # Without a terminal the password would be read from anywhere, and shown.
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            answer = click.prompt("New password", hide_input=True, confirmation_prompt=True)
        except getpass.GetPassWarning as error:
            raise click.UsageError(
                "there is no terminal to ask on: name a file with the password, --password-file FILE"
            ) from error
    return str(answer)
