"""Fixtures of the credits suite."""

import itertools

import pytest

from credits import ledger
from credits.audit import disagreements


@pytest.fixture(autouse=True)
def no_welcome(settings):
    """Sums are easier to follow from zero; the tests of the welcome grant switch it on."""
    settings.WELCOME_CREDITS = 0


@pytest.fixture
def fund():
    """Give credits to a user, under a new key each time."""
    numbers = itertools.count()

    def give(user, amount, *, kind="purchase", **fields):
        return ledger.grant(user, amount, kind=kind, key=f"fund:{next(numbers)}", **fields)

    return give


@pytest.fixture
def sound():
    """Fail when the audit finds anything at the end of a test."""
    yield
    assert list(disagreements()) == []
