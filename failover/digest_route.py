"""How a digest question travels over HTTP: the same at the core and at an edge that others follow."""

import asyncio
from collections.abc import Mapping

import msgspec

from cache_sync.digest_desk import DigestDesk
from cache_sync.digests import DigestAnswer, DigestQuestion, check_question
from cache_sync.errors import EpochChanged, NotComparable, SyncError, UnknownShard
from cache_sync.places import Places
from failover.held_answers import LargeAnswer
from failover.web import MSGPACK, FieldError, Problem, remaining_seconds

ANSWER_SECONDS = 10.0
QUESTION_BYTES_MAX = 65_536
ANSWER_BYTES_MAX = 32 * 1024 * 1024


def decode_question(body: bytes) -> DigestQuestion:
    """
    Read a question as it came.

    Raises:
        Problem: 400 `bad_question`, naming the field and the rule.
    """
    try:
        question = msgspec.msgpack.decode(body, type=DigestQuestion)
        check_question(question)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        field, _, rule = str(error).partition(": ")
        raise Problem(
            "bad_question",
            status=400,
            title="This is not a question about digests",
            errors=[FieldError(field if rule else "body", rule or field)],
        ) from error
    return question


async def answer_digests(
    desk: DigestDesk, shard: str, body: bytes, headers: Mapping[str, str]
) -> bytes:
    """
    Answer a question with msgpack.

    Raises:
        Problem: 400 `bad_question`, 404 `unknown_shard`, 409 `epoch_changed` (with `epoch`), 409 `not_comparable` (with
            `reason`), 503 `digests_unavailable`.
    """
    question = decode_question(body)
    seconds = remaining_seconds(headers, default=ANSWER_SECONDS, maximum=ANSWER_SECONDS)
    try:
        async with asyncio.timeout(seconds):
            answer = await desk.answer(shard, question)
    except UnknownShard as error:
        raise Problem("unknown_shard", status=404, title="There is no such shard") from error
    except EpochChanged as error:
        raise Problem(
            "epoch_changed", status=409, title="This node is in another epoch", epoch=error.epoch
        ) from error
    except NotComparable as error:
        raise Problem(
            "not_comparable",
            status=409,
            title="The two nodes stand too far apart",
            detail=str(error),
            reason=error.reason,
        ) from error
    except (SyncError, TimeoutError) as error:
        raise Problem(
            "digests_unavailable",
            status=503,
            title="Digests cannot be answered now",
            detail=str(error),
            retry="same",
        ) from error
    return msgspec.msgpack.encode(answer)


def digests_answer(
    places: Places,
    node_id: str,
    desk: DigestDesk,
    shard: str,
    body: bytes,
    headers: Mapping[str, str],
) -> LargeAnswer:
    """Answer a node's question once there is a place; problems as of `answer_digests`, and 503 `too_many_answers`."""
    return LargeAnswer(
        places,
        node_id,
        lambda: answer_digests(desk, shard, body, headers),
        media_type=MSGPACK,
        seconds=ANSWER_SECONDS,
    )


def decode_answer(body: bytes) -> DigestAnswer:
    """
    Read an answer as it came.

    Raises:
        DecodeError: It is none.
    """
    return msgspec.msgpack.decode(body, type=DigestAnswer)
