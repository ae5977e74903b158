"""Settings that would fail far from where they were given are refused where they are."""

from pathlib import Path
from typing import Any

import pytest

from core_cis.settings import DATA_VARIABLE, Utility, default_data_dir


@pytest.mark.parametrize(
    "wrong",
    [
        {"timezone": "Mars/Olympus"},
        {"timezone": ""},
        {"timezone": "../../etc/passwd"},
        {"currency": "dollars"},
        {"currency": "usd"},
        {"edge_retention_months": 0},
    ],
)
def test_utility_refuses(wrong: dict[str, Any]) -> None:
    """An unknown zone, a currency that is none, a retention of nothing."""
    with pytest.raises(ValueError, match=r"time zone|currency|retention"):
        Utility(**wrong)


def test_no_number_is_invented() -> None:
    """A utility that named no number has none: customers would be told to call a stranger."""
    assert not Utility().phone


def test_data_folder_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable wins over the default, unless it is empty."""
    monkeypatch.setenv(DATA_VARIABLE, "/somewhere/core")
    assert default_data_dir() == Path("/somewhere/core")
    monkeypatch.setenv(DATA_VARIABLE, "")
    assert default_data_dir() == Path("ridethrough-core")
