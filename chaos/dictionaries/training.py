"""Training a compression dictionary on sample bodies."""

from typing import Final, NamedTuple

import zstandard

from chaos.dictionaries.samples import sample_bodies

DICTIONARY_BYTES: Final = 16 * 1024
_SAMPLES: Final = 4000
# zstd's COVER: the length of what is looked for, and of what it is cut into. Given, so that nothing is searched for and
# the same samples make the same dictionary.
_SEGMENT: Final = 200
_DMER: Final = 8


class Trained(NamedTuple):
    """A dictionary, and how many bytes the bodies that it was not trained on took without and with it."""

    content: bytes
    text_bytes: int
    packed_bytes: int


def train(kind: str, *, samples: int = _SAMPLES) -> Trained:
    """Train a dictionary for a kind of documents, and try it on a tenth of the samples, which are kept apart."""
    made, apart = sample_bodies(kind, samples), samples // 10
    trained_on: list[bytes | bytearray | memoryview] = [*made[apart:]]
    dictionary = zstandard.train_dictionary(
        DICTIONARY_BYTES, trained_on, k=_SEGMENT, d=_DMER, dict_id=1
    )
    compressor = zstandard.ZstdCompressor(dict_data=dictionary)
    return Trained(
        dictionary.as_bytes(),
        sum(map(len, made[:apart])),
        sum(len(compressor.compress(body)) for body in made[:apart]),
    )
