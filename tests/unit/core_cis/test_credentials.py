"""Passwords are kept as verifiers only, and made ones cannot be guessed."""

import re

from core_cis.credentials import PASSWORD_LENGTH_MIN, fits, initial_password, make_verifier


def test_a_verifier_knows_its_password_only() -> None:
    """It is salted argon2id and does not hold the password."""
    verifier = make_verifier("correct horse")
    assert verifier.startswith("$argon2id$")
    assert "correct horse" not in verifier
    assert fits(verifier, "correct horse")
    assert not fits(verifier, "Correct horse")
    assert make_verifier("correct horse") != verifier


def test_what_is_no_verifier_fits_nothing() -> None:
    """A row that was never a verifier lets nobody in, and breaks nothing."""
    assert not fits("", "correct horse")
    assert not fits("$argon2id$broken", "correct horse")


def test_initial_passwords_are_typed_from_paper() -> None:
    """Three groups without letters and digits that look alike; no two are the same."""
    made = {initial_password() for _ in range(200)}
    assert len(made) == 200
    for password in made:
        assert re.fullmatch(r"[a-hj-km-np-z2-9]{5}(-[a-hj-km-np-z2-9]{5}){2}", password)
        assert len(password) >= PASSWORD_LENGTH_MIN
