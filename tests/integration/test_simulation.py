"""
Whole fleets in virtual time: worlds that break go well, always the same way, and planted bugs are caught.

A bug that simulation has found stays here as the seed or plan that found it.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.simulation.checkers import CHECKERS
from chaos.simulation.mutants import MUTANTS, SEEDS_MAX, hunt
from chaos.simulation.run import live_through_seed

SECONDS = 10.0


@pytest.mark.parametrize("seed", range(1, 26))
def test_a_broken_world_goes_well(seed: int) -> None:
    """A broken world goes well."""
    judged = live_through_seed(seed, SECONDS)
    assert not judged.wrong, "\n".join([*judged.wrong, *judged.story])
    assert judged.payments
    assert judged.looks


def test_a_seed_is_the_same_world_in_every_process() -> None:
    """A seed is the same world in every process."""
    command = [sys.executable, "-m", "chaos", "simulate", "--seed", "17", "--seconds", "5"]
    marks = {
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": hash_seed, "PATH": ""},
            cwd=Path(__file__).parents[2],
        ).stdout.rpartition("mark ")[2]
        for hash_seed in ("1", "2")
    }
    assert len(marks) == 1
    assert marks != {live_through_seed(18, 5.0).mark}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_caught(name: str) -> None:
    """A planted bug is caught."""
    caught = hunt(name, first=MUTANTS[name].seed, seeds=SEEDS_MAX, seconds=SECONDS)
    assert caught.seed > 0, f"{caught.tried} worlds went well"


def test_every_checker_has_a_bug_that_it_catches() -> None:
    """Every checker has a bug that it catches."""
    assert {mutant.noticed_by for mutant in MUTANTS.values()} == set(CHECKERS)


def test_many_worlds_from_the_command_line(tmp_path: Path) -> None:
    """Many worlds from the command line."""
    figures = tmp_path / "figures.json"
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "chaos", "simulate", "--seeds", "2", "--seconds", "3"),
            *("--jobs", "2", "--json", str(figures)),
        ],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert "2 worlds, 0 went wrong" in ran.stdout
    told = json.loads(figures.read_bytes())
    assert told["worlds"] == 2
    assert told["failed"] == {}
    assert told["payments"] > 0
