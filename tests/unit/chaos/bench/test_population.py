"""The made-up population: as large as asked, the same every time, and of the core's own types."""

from cache_sync.documents import BODY_TYPES, Document
from cache_sync.replica_reader import decode_body
from chaos.bench.population import DOCUMENTS_AN_ACCOUNT, Population, in_batches


def test_the_same_seed_makes_the_same_documents() -> None:
    """Each account by itself, whatever was made before it."""
    assert Population(seed=3).documents(7) == Population(seed=3).documents(7)
    assert Population(seed=3).documents(7) != Population(seed=4).documents(7)


def test_every_body_decodes_as_its_kind() -> None:
    """What a portal reads of them is whole."""
    for change in Population().documents(12):
        body = decode_body(BODY_TYPES[change.name.kind], Document(*change.name, 1, change.body))
        assert getattr(body, "account_id", change.name.account_id) == change.name.account_id


def test_batches_hold_every_account_once() -> None:
    """Also where the last batch is short."""
    batches = list(in_batches(Population(), 5, 2))
    names = [change.name for batch in batches for change in batch]
    assert [len(batch) // DOCUMENTS_AN_ACCOUNT for batch in batches] == [2, 2, 1]
    assert len(set(names)) == len(names) == 5 * DOCUMENTS_AN_ACCOUNT
    assert len({name.account_id for name in names}) == 5
