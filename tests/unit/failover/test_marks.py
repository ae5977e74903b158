"""Sets that name nobody: never a wrong no, seldom a wrong yes, and never more than so many bytes."""

from failover.marks import BYTES_MAX, BYTES_MIN, Marker, is_marked, is_packed, pack_marks

MARKER = Marker(b"key")


def payments(count: int, first: int = 0) -> list[int]:
    """Mark made-up payments."""
    return [MARKER.payment("A-1", f"payment {number}") for number in range(first, first + count)]


def test_what_was_put_in_is_in_it_and_little_else() -> None:
    """No payment is forgotten; of others less than one in a hundred is taken for one."""
    for count in (1, 20, 1000):
        packed = pack_marks(payments(count))
        assert is_packed(packed)
        assert all(is_marked(packed, mark) for mark in payments(count))
        wrong = sum(is_marked(packed, mark) for mark in payments(2000, first=count))
        assert wrong < 20, count


def test_nothing_is_in_an_empty_one() -> None:
    """The smallest set answers no to everything."""
    packed = pack_marks([])
    assert len(packed) == BYTES_MIN
    assert not any(is_marked(packed, mark) for mark in payments(1000))


def test_it_never_grows_beyond_its_bound() -> None:
    """Many thousands only make wrong yeses likelier."""
    marks = payments(40_000)
    packed = pack_marks(marks)
    assert len(packed) == BYTES_MAX
    assert all(is_marked(packed, mark) for mark in marks[::100])


def test_bytes_that_are_no_set_are_told_apart() -> None:
    """Whatever else arrives is not asked."""
    assert not any(is_packed(bytes(size)) for size in (0, 1, 63, 65, 100, BYTES_MAX * 2))


def test_marks_depend_on_the_key_and_on_every_part() -> None:
    """Without the fleet's key nobody can look for an account; no two things share a mark."""
    told = {
        MARKER.account("A-1", 1),
        MARKER.account("A-1", 2),
        MARKER.account("A-11", 1),
        MARKER.payment("A-1", "1"),
        MARKER.payment("A-11", ""),
        Marker(b"another").account("A-1", 1),
    }
    assert len(told) == 6
