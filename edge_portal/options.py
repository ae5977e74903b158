"""The options that commands of an edge share."""

from pathlib import Path

import click

data_option = click.option(
    "--data",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The edge's data folder.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
