"""Card and bank account numbers are recognised, tokens and labels are not taken for them."""

import pytest

from core_cis.importing.numbers import holds_a_number, is_only_a_number


@pytest.mark.parametrize(
    "text",
    [
        "4242424242424242",
        "4242 4242 4242 4242",
        "Visa 5555-5555-5555-4444",
        "378282246310005",
        "GB29 NWBK 6016 1331 9268 19",
        "account de89370400440532013000",
    ],
)
def test_numbers_are_recognised(text: str) -> None:
    """Cards with or without groups, and IBANs, anywhere in a text."""
    assert holds_a_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "tok_1Mz4242424242424242x",
        "tok_4242",
        "Visa ending 4242",
        "pm-100200300",
        # A card number's length, but wrong check digits.
        "4242424242424241",
        "GB29 NWBK 6016 1331 9268 18",
    ],
)
def test_tokens_and_labels_are_not(text: str) -> None:
    """A token's letters, a label's last four digits and numbers with wrong check digits are none."""
    assert not holds_a_number(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("000123456789", True), ("12-34-56", True), ("12345", False), ("tok_123456", False)],
)
def test_bare_digits_are_an_account_number(text: str, *, expected: bool) -> None:
    """Six digits and nothing else are no processor's token."""
    assert is_only_a_number(text) is expected
