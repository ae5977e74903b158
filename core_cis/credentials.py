"""Making the verifiers that sign-ins are checked against."""

import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

# OWASP's second choice of parameters; a check takes about 26 ms of one core.
MEMORY_KIB = 19_456
PASSES = 2
LANES = 1
PASSWORD_LENGTH_MIN = 8

_WORD_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
_WORDS = 3
_WORD_LENGTH = 5

_HASHER = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)


def make_verifier(password: str) -> str:
    """Turn a password into an argon2id verifier; only this is ever stored."""
    return _HASHER.hash(password)


def fits(verifier: str, password: str) -> bool:
    """Tell whether a password is the one that a verifier was made of."""
    try:
        return _HASHER.verify(verifier, password)
    except (VerificationError, InvalidHashError):
        return False


def initial_password() -> str:
    """Make a password nobody can guess, in three groups that can be typed from paper (about 74 bits)."""
    groups = (
        "".join(secrets.choice(_WORD_LETTERS) for _ in range(_WORD_LENGTH)) for _ in range(_WORDS)
    )
    return "-".join(groups)
