"""Recompute every account from what lies beneath it. Reads only; finds nothing, as a rule.

A constant number of queries, whatever the number of accounts: the database adds up, and
answers with the rows that disagree. Figures that are compared come from one statement each,
so that a site at work is not accused of what moved between two looks. This is SQL because
the ORM could only say it with a subquery per figure and account.
"""

from collections.abc import Iterator
from typing import Any

from django.db import connection

SUMS = """
    SELECT * FROM (
        SELECT
            owner.email AS owner,
            account.available,
            account.held,
            account.available + account.held AS total,
            COALESCE(entries.available, 0) AS entries_available,
            COALESCE(entries.held, 0) AS entries_held,
            COALESCE(entries.captured, 0) AS entries_captured,
            COALESCE(grants.remaining, 0) AS remaining,
            COALESCE(parts.still_open, 0) AS still_open,
            COALESCE(parts.captured, 0) AS captured,
            COALESCE(grants.granted, 0) - COALESCE(parts.captured, 0)
                - COALESCE(entries.lost, 0) AS left_over
        FROM credits_creditaccount account
        JOIN accounts_user owner ON owner.id = account.owner_id
        LEFT JOIN (
            SELECT
                account_id,
                SUM(available_delta) AS available,
                SUM(held_delta) AS held,
                SUM(CASE WHEN kind = 'capture' THEN -held_delta ELSE 0 END) AS captured,
                SUM(CASE WHEN kind IN ('expire', 'adjust') AND available_delta < 0
                    THEN -available_delta ELSE 0 END) AS lost
            FROM credits_ledgerentry GROUP BY account_id
        ) entries ON entries.account_id = account.id
        LEFT JOIN (
            SELECT account_id, SUM(amount) AS granted, SUM(remaining) AS remaining
            FROM credits_grant GROUP BY account_id
        ) grants ON grants.account_id = account.id
        LEFT JOIN (
            SELECT
                hold.account_id,
                SUM(part.captured) AS captured,
                SUM(part.amount - part.captured - part.released) AS still_open
            FROM credits_holdpart part JOIN credits_hold hold ON hold.id = part.hold_id
            GROUP BY hold.account_id
        ) parts ON parts.account_id = account.id
    ) figures
    WHERE available <> entries_available OR held <> entries_held OR available <> remaining
        OR held <> still_open OR captured <> entries_captured OR total <> left_over
    ORDER BY owner
"""

PAIRS = [
    ("available", "entries_available", "available, but the entries add up to"),
    ("held", "entries_held", "on hold, but the entries add up to"),
    ("available", "remaining", "available, but what remains in the grants is"),
    ("held", "still_open", "on hold, but what is open in the holds is"),
    ("captured", "entries_captured", "captured from holds, but the captures add up to"),
    (
        "total",
        "left_over",
        "available and on hold, but granted less captured, expired and taken is",
    ),
]
"""Pairs of figures in SUMS that are one figure, and the words between them when they differ."""

# Each of these finds rows that should not be there, and says what is wrong with one.
CHECKS = [
    (
        # The chain: the figures after each entry are the sums of all entries up to it. Only
        # the first break is told, since all that follows is wrong as well.
        """
        SELECT owner.email AS owner, broken.* FROM (
            SELECT *, ROW_NUMBER() OVER (PARTITION BY account_id ORDER BY id) AS place FROM (
                SELECT
                    id, account_id, key, available_after, held_after,
                    SUM(available_delta) OVER chain AS available,
                    SUM(held_delta) OVER chain AS held
                FROM credits_ledgerentry
                WINDOW chain AS (PARTITION BY account_id ORDER BY id)
            ) running
            WHERE available_after <> available OR held_after <> held
        ) broken
        JOIN credits_creditaccount account ON account.id = broken.account_id
        JOIN accounts_user owner ON owner.id = account.owner_id
        WHERE place = 1 ORDER BY owner
        """,
        (
            "the entry {key} says {available_after} available and {held_after} on hold after it, "
            "but the entries up to it add up to {available} and {held}."
        ),
    ),
    (
        """
        SELECT owner.email AS owner, account.available, account.held
        FROM credits_creditaccount account JOIN accounts_user owner ON owner.id = account.owner_id
        WHERE account.available < 0 OR account.held < 0 ORDER BY account.id
        """,
        "{available} available and {held} on hold; neither may be below zero.",
    ),
    (
        """
        SELECT owner.email AS owner, hold.key, part.*
        FROM credits_holdpart part
        JOIN credits_hold hold ON hold.id = part.hold_id
        JOIN credits_creditaccount account ON account.id = hold.account_id
        JOIN accounts_user owner ON owner.id = account.owner_id
        WHERE part.captured < 0 OR part.released < 0
            OR part.amount < part.captured + part.released
        ORDER BY part.id
        """,
        (
            "the hold {key} took {amount} from grant {grant_id}, but {captured} were captured and "
            "{released} released."
        ),
    ),
    (
        """
        SELECT * FROM (
            SELECT
                owner.email AS owner, source.id, source.key, source.amount, source.remaining,
                COALESCE((
                    SELECT SUM(part.amount - part.released)
                    FROM credits_holdpart part WHERE part.grant_id = source.id
                ), 0) AS drawn
            FROM credits_grant source
            JOIN credits_creditaccount account ON account.id = source.account_id
            JOIN accounts_user owner ON owner.id = account.owner_id
        ) grants
        WHERE remaining < 0 OR amount < remaining + drawn
        ORDER BY id
        """,
        (
            "the grant {key} gave {amount}, but {remaining} remain and {drawn} are captured or "
            "on hold."
        ),
    ),
]


def disagreements() -> Iterator[str]:
    """One plain sentence for each thing that should be true of credits and is not."""
    for figures in _rows(SUMS):
        for left, right, words in PAIRS:
            if figures[left] != figures[right]:
                yield f"{figures['owner']}: {figures[left]} {words} {figures[right]}."
    for query, sentence in CHECKS:
        for row in _rows(query):
            yield f"{row['owner']}: {sentence.format(**row)}"


def _rows(query: str) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
