"""Recognising card and bank account numbers, so that none enters the system."""

import re

_CARD_DIGITS_MIN = 13
_ACCOUNT_DIGITS_MIN = 6
_TWO_DIGITS = 9
_IBAN_MODULUS = 97

# Digits in groups, as people write them, not part of a longer run of letters and digits.
_CARD = re.compile(r"(?<![0-9A-Za-z])\d(?:[ -]?\d){12,18}(?![0-9A-Za-z])")
_IBAN = re.compile(r"(?<![0-9A-Za-z])[A-Z]{2}\d{2}(?: ?[0-9A-Z]){11,30}(?![0-9A-Za-z])")
_ONLY_DIGITS = re.compile(r"\d(?:[ .-]?\d)*\Z")


def holds_a_number(text: str) -> bool:
    """
    Tell whether a text holds a card number or an IBAN.

    Both carry check digits, so that a processor's token is not taken for one.
    """
    cards = (re.sub(r"\D", "", match.group()) for match in _CARD.finditer(text))
    ibans = (match.group().replace(" ", "") for match in _IBAN.finditer(text.upper()))
    return any(map(_passes_luhn, cards)) or any(map(_is_iban, ibans))


def is_only_a_number(text: str) -> bool:
    """Tell whether a text is nothing but digits, as many as a bank account number has."""
    digits = re.sub(r"\D", "", text)
    return _ONLY_DIGITS.match(text) is not None and len(digits) >= _ACCOUNT_DIGITS_MIN


def _passes_luhn(digits: str) -> bool:
    assert len(digits) >= _CARD_DIGITS_MIN, "the pattern asks for as many"
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + index % 2)
        total += value - _TWO_DIGITS if value > _TWO_DIGITS else value
    return total % 10 == 0


def _is_iban(text: str) -> bool:
    number = "".join(str(int(letter, 36)) for letter in text[4:] + text[:4])
    return int(number) % _IBAN_MODULUS == 1
