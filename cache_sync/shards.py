"""
Shards: which part of the accounts a document belongs to.

Accounts are hashed to shards. Every shard has its own sequence, head, cursor and snapshot. The sequences of two shards
never overlap: shard ``k`` counts upwards from ``k * 2**40``, so a seq alone names its shard and one table holds them
all.
"""

import hashlib

FIRST_SHARD = "0"
SEQS_A_SHARD = 1 << 40
SHARDS_MAX = 4096


def shard_names(count: int) -> list[str]:
    """List the shards of a core that has so many."""
    return [str(number) for number in range(count)]


def shard_of(account_id: str, count: int) -> str:
    """
    Tell the shard of an account; with one shard that is always ``"0"``.

    The number of shards is fixed when a core is made: another number would move accounts between sequences.
    """
    if count == 1:
        return FIRST_SHARD
    digest = hashlib.blake2b(account_id.encode(), digest_size=8).digest()
    return str(int.from_bytes(digest, "big") % count)


def first_seq(shard: str) -> int:
    """Return the seq below the first one of a shard: its head while nothing is published, its lowest cursor."""
    return int(shard) * SEQS_A_SHARD


def last_seq(shard: str) -> int:
    """Return the highest seq that a shard can give out."""
    return first_seq(shard) + SEQS_A_SHARD - 1


def fleet_account(shard: str) -> str:
    """
    Return the account id under which a shard keeps the fleet's own documents.

    Every shard has its copy, and one table holds all shards of the core: so they need names of their own. No account
    has one of these ids.
    """
    return "" if shard == FIRST_SHARD else f"#{shard}"
