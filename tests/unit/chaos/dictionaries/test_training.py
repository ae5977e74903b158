"""Dictionaries are trained the same way every time, and are worth it."""

import msgspec
import pytest
import zstandard

from cache_sync.body_dictionaries import WRITTEN_WITH
from cache_sync.body_versions import decode_version
from cache_sync.documents import BODY_TYPES, PAYMENT
from chaos.dictionaries.samples import sample_bodies
from chaos.dictionaries.training import DICTIONARY_BYTES, train


@pytest.mark.parametrize("kind", sorted(WRITTEN_WITH))
def test_samples_are_bodies_of_their_kind(kind: str) -> None:
    """Each sample decodes as what it is a sample of, and the same ones come every time."""
    made = sample_bodies(kind, 20)
    assert made == sample_bodies(kind, 20)
    assert len(set(made)) == len(made)
    for body in made:
        decode_version(BODY_TYPES[kind], body, msgspec.json.decode(body)["version"])


def test_training_can_be_repeated() -> None:
    """Twice the same dictionary, of its size; with it bodies take much less than packed alone."""
    trained = train(PAYMENT, samples=500)
    assert trained == train(PAYMENT, samples=500)
    assert len(trained.content) == DICTIONARY_BYTES
    alone = zstandard.ZstdCompressor()
    packed_alone = sum(len(alone.compress(body)) for body in sample_bodies(PAYMENT, 500)[:50])
    assert trained.packed_bytes < 0.6 * packed_alone
