"""
The core's intake of queued payments in batches of 100, against a bare loop of the same inserts.

Ours begins with the bytes of a batch: decoding, each intent's signature, at most once, the account's standing, the
ledger, the payment, its documents, one durable transaction a batch. As in the server, a thread checks the signatures of
the next batch while one is decided: an edge has two under way. The reference writes what a posting must leave
behind into the same tables by plain statements: two entries, their transaction, the payment, its inbox row and its
document; a batch a durable transaction, nothing checked, nothing read.
"""

import os
import subprocess
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Final

import msgspec

from cache_sync.clock import SystemClock
from cache_sync.documents import PAYMENT
from cache_sync.sql import Connection
from cache_sync.sql import write as write_any
from chaos.bench.figures import Figure, Goal, Result
from chaos.bench.setting import Setting
from chaos.errors import FleetError
from chaos.process import python_module
from core_cis.intake import EdgeKey, Intake, check_signatures
from core_cis.settings import ServerSettings
from core_cis.store import CoreStore
from failover.intents import Intent, IntentBatch, fingerprint, intent_id
from failover.signing import Signer, generate_signing_key, public_key

BATCH: Final = 100
ACCOUNTS: Final = 20
_EDGE: Final = "edge-1"
_FILL_SECONDS: Final = 600
_UNDER_WAY: Final = 2
_LEDGER: Final = (
    "INSERT INTO ledger_entries (transaction_id, ledger_account, account_id, amount_cents)"
    " VALUES (?, ?, ?, ?)"
)
_TRANSACTION: Final = (
    "INSERT INTO ledger_transactions (transaction_id, source, idempotency_key, kind, description, value_date,"
    " posted_at, payment_id) VALUES (?, 'intent', ?, 'payment', 'Payment, thank you', ?, ?, ?)"
)
_PAYMENT: Final = (
    "INSERT INTO payments (payment_id, fingerprint, account_id, state, amount_cents, currency, method_id,"
    " method_label, source, accepted_at, decided_at, value_date, transaction_id)"
    " VALUES (?, ?, ?, 'posted', ?, 'USD', ?, 'bank', 'intent', ?, ?, ?, ?)"
)
_INBOX: Final = (
    "INSERT INTO inbox (intent_id, fingerprint, won, state, account_id, edge_id, incarnation, ordinal,"
    " delivered_by, received_at, intent, outcome) VALUES (?, ?, 1, 'posted', ?, ?, ?, ?, ?, ?, ?, ?)"
)
_DOCUMENT: Final = """
INSERT INTO documents (account_id, kind, key, version, row_hash, body, seq) VALUES (?, ?, ?, 1, 0, ?, ?)
"""


def bench_drain(setting: Setting) -> Result:
    """Measure both on copies of one core with demo accounts."""
    batches = setting.sizes.batches
    ours = _intake_rate(_core(setting, "ours"), batches)
    bare = _bare_rate(_core(setting, "bare"), batches)
    return Result(
        bench="drain",
        figures=[
            Figure(
                name=f"payments posted out of a queue, {BATCH} a batch",
                unit="a second",
                ours=ours,
                reference=bare,
                compared_with="bare posting transactions",
                goal=Goal("at least", 0.7),
            )
        ],
        notes=[f"{batches} batches, {ACCOUNTS} accounts"],
    )


def _core(setting: Setting, name: str) -> Path:
    folder = setting.folder / name
    done = subprocess.run(
        python_module(
            "core_cis",
            *("demo-data", "--data", str(folder), "--accounts", str(ACCOUNTS)),
        ),
        capture_output=True,
        text=True,
        timeout=_FILL_SECONDS,
        check=False,
    )
    if done.returncode:
        raise FleetError(f"no demo data: {done.stderr.strip()}")
    return folder


def _intents(store: CoreStore, count: int, signing_key: str) -> list[Intent]:
    """Make signed payments of the accounts that are there."""
    methods = store.connection.execute(
        "SELECT account_id, method_id FROM payment_methods WHERE status = 'verified'"
    ).fetchall()
    signer, rng = Signer(signing_key), Random(1)
    made = []
    for ordinal in range(1, count + 1):
        account_id, method_id = rng.choice(methods)
        key = f"bench-{ordinal}"
        amount = rng.randrange(100, 5_000)
        wish = {
            "account_id": account_id,
            "amount_cents": amount,
            "currency": "USD",
            "method_id": method_id,
        }
        intent = Intent(
            intent_id=intent_id(account_id, key),
            fingerprint=fingerprint(type_="payment", **wish),
            idempotency_key=key,
            accepted_at=datetime.now(UTC),
            edge_id=_EDGE,
            incarnation="bench",
            ordinal=ordinal,
            **wish,
        )
        made.append(signer.sign(intent))
    return made


def _batches(intents: Sequence[Intent]) -> list[list[Intent]]:
    return [list(intents[begin : begin + BATCH]) for begin in range(0, len(intents), BATCH)]


def _intake_rate(folder: Path, batches: int) -> float:
    signing_key = generate_signing_key(os.urandom)
    keys = {_EDGE: EdgeKey(public_key(signing_key), None)}
    with CoreStore.open(folder, SystemClock()) as store:
        intake = Intake(store, ServerSettings())
        intents = _intents(store, batches * BATCH, signing_key)
        wire = [msgspec.msgpack.encode(IntentBatch(batch)) for batch in _batches(intents)]
        posted = 0
        begun = time.perf_counter()
        for proven in _checked_ahead(wire, keys):
            posted += intake.take(proven, delivered_by=_EDGE).posted
        seconds = time.perf_counter() - begun
    if posted != len(intents):
        raise FleetError(f"{posted} of {len(intents)} payments were posted")
    return posted / seconds


def _checked_ahead(wire: Iterable[bytes], keys: Mapping[str, EdgeKey]) -> Iterator[list[Intent]]:
    def check(content: bytes) -> list[Intent]:
        batch = msgspec.msgpack.decode(content, type=IntentBatch)
        return check_signatures(batch.intents, keys)[0]

    with ThreadPoolExecutor(max_workers=1) as thread:
        under_way: deque[Future[list[Intent]]] = deque()
        for content in wire:
            under_way.append(thread.submit(check, content))
            if len(under_way) == _UNDER_WAY:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def _bare_rate(folder: Path, batches: int) -> float:
    with CoreStore.open(folder, SystemClock()) as store:
        intents = _intents(store, batches * BATCH, generate_signing_key(os.urandom))
        connection = store.connection
        (first,) = connection.execute(
            "SELECT coalesce(max(transaction_id), 0) + 1 FROM ledger_transactions"
        ).fetchone()
        (seq,) = connection.execute("SELECT max(seq) + 1 FROM documents").fetchone()
        encoded = [msgspec.msgpack.encode(intent) for intent in intents]
        begun = time.perf_counter()
        for begin in range(0, len(intents), BATCH):
            with write_any(connection):
                for number in range(begin, min(begin + BATCH, len(intents))):
                    _post(
                        connection, intents[number], encoded[number], first + number, seq + number
                    )
        return len(intents) / (time.perf_counter() - begun)


def _post(
    connection: Connection, intent: Intent, content: bytes, transaction_id: int, seq: int
) -> None:
    at, day = "2026-11-28T12:00:00.000000Z", "2026-11-28"
    account_id, amount = intent.account_id, intent.amount_cents
    connection.execute(_LEDGER, (transaction_id, "cash", None, amount))
    connection.execute(_LEDGER, (transaction_id, "receivable", account_id, -amount))
    connection.execute(_TRANSACTION, (transaction_id, intent.intent_id, day, at, intent.intent_id))
    names = (intent.intent_id, intent.fingerprint, account_id)
    connection.execute(_PAYMENT, (*names, amount, intent.method_id, at, at, day, transaction_id))
    origin = (_EDGE, intent.incarnation, intent.ordinal, _EDGE, at)
    connection.execute(_INBOX, (*names, *origin, content, content))
    connection.execute(_DOCUMENT, (account_id, PAYMENT, intent.intent_id, content, seq))
