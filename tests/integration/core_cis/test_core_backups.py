"""Backups that the core names: edges are told what the oldest kept one holds, and an older one is noticed."""

from pathlib import Path
from typing import Any

import httpx
import msgspec
from click.testing import CliRunner, Result

from core_cis.__main__ import main
from core_cis.audit import read_log
from core_cis.awaited_edges import awaited_edges
from core_cis.backups import read_backups, read_cover, read_unheld
from failover.covers import Cover
from failover.covers import read_cover as read_signed
from failover.intents import DecidedBatch
from failover.probe import ProbeAnswer


def run(core: Any, *command: str) -> Result:
    """Run a command of the core."""
    name, *rest = command
    return CliRunner().invoke(main, [name, *rest, "--data", str(core.data_dir)])


def done(core: Any, *command: str) -> str:
    """Run a command that must succeed; returns what it says."""
    ran = run(core, *command)
    assert ran.exit_code == 0, ran.output
    return ran.output


def named(core: Any, label: str, *more: str) -> str:
    """Begin and name a backup, as for one made by other means; returns its mark."""
    mark = done(core, "backups", "begin").strip()
    done(core, "backups", "name", *more, mark, label)
    return mark


async def probe(core: Any, client: httpx.AsyncClient, covers: str = "") -> ProbeAnswer:
    """Probe as an edge that follows what it says."""
    answer = await client.get("/probe", params={"covers": covers}, headers=core.node())
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=ProbeAnswer)


async def complete(core: Any, client: httpx.AsyncClient, pruned_by: str, edge: str) -> None:
    """Say that an edge has brought back all, and by which backup it has dropped something."""
    batch = DecidedBatch(complete_for=2, pruned_by=pruned_by)
    answer = await client.post(
        "/outcomes", content=msgspec.msgpack.encode(batch), headers=core.node(edge)
    )
    assert answer.status_code == 200, answer.text


async def test_edges_are_told_what_the_oldest_kept_backup_holds(core: Any) -> None:
    """Signed, once; another when one is released; nothing while none is kept. Every word is in the log."""
    async with core.serving() as client:
        assert (await probe(core, client)).covered == ""
        first = named(core, "tape 1")
        await core.deliver(client, core.intent())
        second = named(core, "tape 2")
        told = await probe(core, client)
        assert told.covered == first
        assert told.cover is not None
        with core.open() as store:
            cover, key = read_cover(store.connection), store.keys.public_key
        assert read_signed(told.cover, key) == cover
        assert cover is not None
        assert (cover.mark, cover.epoch, cover.timezone) == (first, 1, "America/Chicago")
        assert (await probe(core, client, f"{first}.")).cover is None
        third = named(core, "tape 3")
        told = await probe(core, client, f"{first}.{first}")
        assert told.covered == second
        assert told.cover is not None
        newer = read_signed(told.cover, key)
        assert isinstance(newer, Cover)
        assert all(newer.heads[shard] >= head for shard, head in cover.heads.items())
        for mark in (second, third):
            done(core, "backups", "release", mark, "--reason", "lost")
        told = await probe(core, client, f"{second}.{first}")
        assert (told.covered, told.cover) == ("", None)
    with core.open() as store:
        states = {each.label: each.state for each in read_backups(store.connection)}
        actions = [line.action for line in read_log(store.connection, limit=9)]
    assert set(states.values()) == {"released"}
    assert actions == ["backup.release"] * 2 + ["backup.name"] * 3
    assert "tape 2" in done(core, "backups", "list")


def test_a_backup_is_named_once_and_only_in_its_epoch(core: Any) -> None:
    """What these books do not know is no backup of theirs."""
    assert "know no backup B-0" in run(core, "backups", "name", "B-0", "tape").output
    mark = named(core, "tape")
    assert "named before" in run(core, "backups", "name", mark, "again").output
    begun = done(core, "backups", "begin").strip()
    assert "is not kept" in run(core, "backups", "release", begun).output
    done(core, "epoch", "raise")
    assert "begun in epoch 1" in run(core, "backups", "name", begun, "tape 2").output


def test_a_copy_is_verified_named_and_bounds_what_is_kept(core: Any, tmp_path: Path) -> None:
    """The books in a file; a copy made aside covers nothing. A server's own tool is named for the others."""
    file = tmp_path / "copy.db"
    if core.server is not None:
        assert "core backups begin" in run(core, "backup", str(file)).output
        return
    done(core, "backup", "--aside", str(tmp_path / "aside.db"))
    with core.open() as store:
        assert read_cover(store.connection) is None
    done(core, "backup", "--keep", "1", str(file))
    again = done(core, "backup", "--keep", "1", str(tmp_path / "again.db"))
    assert "do not restore from it: B-" in again
    assert str(file) in again
    kept = [
        each
        for each in msgspec.json.decode(done(core, "backups", "list", "--json"))
        if each["state"] == "kept"
    ]
    assert [each["label"] for each in kept] == [str(tmp_path / "again.db")]
    assert (tmp_path / "again.db").stat().st_mode & 0o777 == 0o600


async def test_books_older_than_what_edges_dropped_decide_nothing(core: Any) -> None:
    """The edge says by which backup it dropped something; restored from that one or a later one, all goes on."""
    too_old = core.back_up()
    mark = named(core, "tape 1")
    # What lies at "tape 1": it was copied after the mark.
    (core.data_dir.with_name("backup")).rename(core.data_dir.with_name("too-old"))
    good = core.back_up()
    core.data_dir.with_name("backup").rename(core.data_dir.with_name("good"))
    core.data_dir.with_name("too-old").rename(core.data_dir.with_name("backup"))
    too_old()
    done(core, "epoch", "raise")
    async with core.serving() as client:
        await complete(core, client, "", "west")
        await complete(core, client, mark, "east")
        assert (await probe(core, client, f"{mark}.{mark}")).edges_awaited
        status = await client.get("/status", headers=core.operator())
        assert [each["mark"] for each in status.json()["unheld"]] == [mark]
    with core.open() as store:
        assert awaited_edges(store.connection) == ["east"]
        assert [each.node_id for each in read_unheld(store.connection)] == ["east"]
    assert f"restore {mark} or a later one" in done(core, "epoch", "show")
    core.data_dir.with_name("good").rename(core.data_dir.with_name("backup"))
    good()
    done(core, "epoch", "raise")
    async with core.serving() as client:
        await complete(core, client, "", "west")
        await complete(core, client, mark, "east")
        assert not (await probe(core, client)).edges_awaited
        assert len((await core.deliver(client, core.intent("new"))).outcomes) == 1
    assert "restored from too old" not in done(core, "epoch", "show")


async def test_an_operator_may_go_on_with_older_books(core: Any) -> None:
    """With none later left; it is in the log, and the edge's mark stays told of."""
    restore = core.back_up()
    mark = named(core, "tape 1")
    restore()
    done(core, "epoch", "raise")
    async with core.serving() as client:
        await complete(core, client, mark, "east")
    done(core, "epoch", "proceed")
    async with core.serving() as client:
        assert len((await core.deliver(client, core.intent())).outcomes) == 1
    assert f"restore {mark}" in done(core, "epoch", "show")
    with core.open() as store:
        assert read_log(store.connection, limit=1)[0].action == "epoch.proceed"
