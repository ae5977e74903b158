"""Rules of this repository that no other tool checks, as tests; each failure lists where."""

import ast
import os
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Decides without doing: no framework, no driver (the second import contract of pyproject.toml).
PURE = (
    "cache_sync.documents",
    "chaos.invariants",
    "core_cis.domain",
    "failover.intents",
    "failover.modes",
    "failover.standin",
)
PACKAGES = ("cache_sync", "chaos", "core_cis", "edge_portal", "failover")
# Of this checkout, not of the repository; where a worktree has its repository stands in a file `.git`.
LOCAL_FILES = {".venv.lock", ".git"}
LOCKS = ("requirements.lock", "requirements-dev.lock")
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 450

# Time and chance are arguments everywhere else, so that a simulator can run the real code.
READS_CLOCK_OR_CHANCE = (
    "cache_sync/clock.py",
    "chaos/",
)
CLOCKS_AND_CHANCE = {
    *(f"time.{name}" for name in ("time", "time_ns", "monotonic", "monotonic_ns", "sleep")),
    *(f"time.{name}" for name in ("perf_counter", "perf_counter_ns", "clock_gettime", "localtime")),
    *(f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")),
    *("datetime.date.today", "uuid.uuid1", "uuid.uuid4"),
}
SEEDED = {"random.Random", "random.SystemRandom"}
# Threads, sockets and secret bytes likewise: who does more than decide is named here, with what it is the port to.
PORTS = {
    "cache_sync/offload.py": "work that would block a loop",
    "cache_sync/redis_connect.py": "Redis",
    "cache_sync/redis_stream_feed.py": "Redis",
    "core_cis/credentials.py": "passwords of made-up customers",
    "core_cis/demo_data/filling.py": "demo data",
    "core_cis/importing/customers.py": "passwords of imported customers",
    "core_cis/keys.py": "a new core's keys",
    "core_cis/ops/case_pages.py": "keys of operators' forms",
    "core_cis/ops/limit_pages.py": "keys of operators' forms",
    "core_cis/ops/pages.py": "keys of operators' forms",
    "core_cis/ops/ticket_pages.py": "keys of operators' forms",
    "core_cis/peer_journals.py": "HTTP to edges",
    "core_cis/postgresql_watch.py": "PostgreSQL",
    "core_cis/readers.py": "questions to the database",
    "core_cis/redis_feed.py": "Redis",
    "core_cis/cli_snapshot.py": "a command",
    "core_cis/serving.py": "the core's process",
    "core_cis/snapshot_schedule.py": "a process that makes a snapshot file",
    "core_cis/store.py": "ids of bills",
    "core_cis/writer.py": "changes of the books",
    "edge_portal/agent.py": "the agent's process",
    "edge_portal/agent_link.py": "the agent, from workers",
    "edge_portal/child.py": "a process",
    "edge_portal/feeder.py": "the feeder's process",
    "edge_portal/node_client.py": "HTTP to nodes",
    "edge_portal/pdf.py": "typesetting",
    "edge_portal/signin.py": "passwords",
    "edge_portal/supervisor.py": "processes",
    "edge_portal/worker.py": "a worker's process",
    "failover/group_commit.py": "commits of the journal",
    "failover/http_server.py": "HTTP",
    "failover/snapshot_routes.py": "files that are sent",
    "failover/stripe_processor.py": "HTTP to the payment processor",
    "failover/tls_door.py": "TLS",
}
THREADS_AND_SOCKETS = {
    *("threading.Thread", "threading.Timer", "asyncio.to_thread", "asyncio.create_subprocess_exec"),
    *(f"concurrent.futures.{name}" for name in ("ThreadPoolExecutor", "ProcessPoolExecutor")),
    *(f"asyncio.{name}" for name in ("open_connection", "open_unix_connection")),
    *(f"asyncio.{name}" for name in ("start_server", "start_unix_server")),
    *("socket.socket", "socket.create_connection", "socket.socketpair", "socket.create_server"),
    *("httpx.AsyncClient", "httpx.Client", "httpx.AsyncHTTPTransport", "httpx.HTTPTransport"),
    *("os.urandom", "os.fork", "subprocess.Popen", "subprocess.run"),
}

# Written so that the patterns do not match themselves.
UNFINISHED = re.compile(r"\b(?:TO[D]O|FIX[M]E|X[X]X|NotImplemented[E]rror)\b")
MACHINE_PATH = re.compile(r"(?<![\w.:}~])/(?:work|root|Users/\w+|home/\w+)/")
REGISTRY = re.compile(r"pypi\.org|python[h]osted|npmjs\.(?:org|com)|(?:deb|security)\.debian\.org")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|(?:src|href)=\"([^\"]+)\"")
COMMAND = re.compile(r"^\$? ?\./ridethrough (\w+)", re.MULTILINE)


def walk(folder: Path) -> Iterator[Path]:
    """Yield the files under a folder, without what tools leave behind."""
    for base, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__")))
        yield from (Path(base, name) for name in sorted(files))


@cache
def texts() -> dict[str, str]:
    """Return every text of the repository by its path from the root."""
    paths = [path for path in ROOT.iterdir() if path.is_file() and path.name not in LOCAL_FILES]
    for folder in (*PACKAGES, "tests", "typings", "docs", ".ci", "examples"):
        paths += walk(ROOT / folder)
    found = {}
    for path in paths:
        try:
            found[str(path.relative_to(ROOT))] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture
    return found


@cache
def modules() -> dict[str, ast.Module]:
    """Return the syntax tree of every Python file: packages, tests and the launcher."""
    return {
        path: ast.parse(text, path)
        for path, text in texts().items()
        if path == "ridethrough" or path.endswith(".py")
    }


def product_modules() -> dict[str, ast.Module]:
    """Return the syntax trees of the five packages only."""
    return {path: tree for path, tree in modules().items() if path.split("/")[0] in PACKAGES}


def imports(tree: ast.Module) -> Iterator[tuple[str, str, int]]:
    """Yield (name here, full name, line) of everything a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                # `import a.b` binds `a`.
                full = alias.name if alias.asname else alias.name.split(".")[0]
                yield alias.asname or full, full, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}", node.lineno


def dotted(node: ast.expr) -> str | None:
    """Return `a.b.c` for an attribute chain, None for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return before and f"{before}.{node.attr}"
    return None


def named(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Yield (full name, where) of everything imported that a module names."""
    known = {here: full for here, full, _ in imports(tree)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute | ast.Name):
            continue
        name = dotted(node)
        if name is None:
            continue
        first, _, rest = name.partition(".")
        yield known.get(first, "") + (f".{rest}" if rest else ""), node


def clock_and_chance_uses(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield (full name, line) wherever a module names the clock or unseeded chance."""
    for full, node in named(tree):
        unseeded = full.count(".") == 1 and full.startswith("random.") and full not in SEEDED
        if full in CLOCKS_AND_CHANCE or unseeded:
            yield full, node.lineno


def thread_and_socket_uses(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield (full name, line) wherever a module starts a thread, opens a socket or draws secret bytes."""
    defaults = {
        id(default)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for default in (*node.args.defaults, *node.args.kw_defaults)
    }
    for full, node in named(tree):
        # A parameter that is `os.urandom` unless somebody says otherwise is a port itself.
        drawn = full.startswith("secrets.") and full != "secrets.compare_digest"
        if (full in THREADS_AND_SOCKETS or drawn) and id(node) not in defaults:
            yield full, node.lineno


def matches(pattern: re.Pattern[str]) -> list[str]:
    """Return path:line of every text that the pattern is found in."""
    return [
        f"{path}:{number}: {line.strip()[:120]}"
        for path, text in texts().items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def test_functions_are_short() -> None:
    """A function fits on a screen."""
    long = [
        f"{path}:{node.lineno}: {node.name} has {lines} lines"
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert not long, "\n".join(long)


def test_files_hold_one_concept() -> None:
    """A file that outgrows the limit holds a second concept."""
    long = [
        f"{path}: {lines} lines"
        for path in modules()
        if (lines := len(texts()[path].splitlines())) > FILE_LINES_MAX
    ]
    assert not long, "\n".join(long)


def test_init_files_hold_a_docstring_only() -> None:
    """What a package offers is imported from where it is defined."""
    found = {path: tree for path, tree in product_modules().items() if path.endswith("__init__.py")}
    assert set(PACKAGES) <= {path.split("/")[0] for path in found}
    wrong = [
        path for path, tree in found.items() if ast.get_docstring(tree) is None or tree.body[1:]
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_is_left_for_later() -> None:
    """What is not built is absent, not announced."""
    found = matches(UNFINISHED)
    assert not found, "\n".join(found)


def test_import_contracts_cover_what_is_there() -> None:
    """A module of decisions is under the contract as soon as it exists."""
    contracts = tomllib.loads(texts()["pyproject.toml"])["tool"]["importlinter"]["contracts"]
    pure = {
        module
        for contract in contracts
        if contract["name"].startswith("Decisions")
        for module in contract["source_modules"]
    }
    paths = {module: module.replace(".", "/") for module in PURE}
    there = {
        module
        for module, path in paths.items()
        if f"{path}.py" in modules() or f"{path}/__init__.py" in modules()
    }
    assert pure == there


def test_public_names_are_documented() -> None:
    """Every public module, class, function and method says what it is for."""
    silent = []
    for path, tree in product_modules().items():
        inside: list[ast.Module | ast.ClassDef] = [tree]
        while inside:
            owner = inside.pop()
            if ast.get_docstring(owner) is None:
                silent.append(f"{path}: {getattr(owner, 'name', 'the module')}")
            for node in owner.body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    inside.append(node)
                elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    public = not node.name.startswith("_")
                    if public and ast.get_docstring(node) is None:
                        silent.append(f"{path}:{node.lineno}: {node.name}")
    assert not silent, "\n".join(silent)


def test_one_build_of_sqlite_opens_our_files() -> None:
    """The standard library's SQLite has a bug in its log that ours has not: nobody mixes them."""
    found = [
        f"{path}:{line}"
        for path, tree in modules().items()
        for _, full, line in imports(tree)
        if full.split(".")[0] in {"sqlite3", "_sqlite3"}
    ]
    assert not found, "\n".join(found)


def test_time_and_chance_are_arguments() -> None:
    """Only the clock reads the clock; only a seeded generator draws."""
    found = [
        f"{path}:{line}: {name}"
        for path, tree in product_modules().items()
        if not path.startswith(READS_CLOCK_OR_CHANCE)
        for name, line in clock_and_chance_uses(tree)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time\ntime.time()", ["time.time"]),
        ("import time as t\nwait = t.sleep", ["time.sleep"]),
        ("from time import monotonic\nmonotonic()", ["time.monotonic"]),
        ("from datetime import datetime\ndatetime.now(zone)", ["datetime.datetime.now"]),
        ("import datetime as dt\ndt.date.today()", ["datetime.date.today"]),
        ("import random\nrandom.shuffle(cards)", ["random.shuffle"]),
        ("from random import Random\nRandom(7).random()", []),
        ("import random\nrandom.Random(7)", []),
        ("clock.now()\nself.time.sleep(1)", []),
    ],
)
def test_the_clock_rule_sees_every_spelling(source: str, found: list[str]) -> None:
    """However a module is imported, reading the clock through it is found."""
    assert [name for name, _ in clock_and_chance_uses(ast.parse(source))] == found


def test_threads_sockets_and_secret_bytes_stay_in_ports() -> None:
    """Threads, sockets and secret bytes are the ports' alone; every port is one still."""
    used = {
        path: uses
        for path, tree in product_modules().items()
        if not path.startswith("chaos/") and (uses := list(thread_and_socket_uses(tree)))
    }
    found = [
        f"{path}:{line}: {name}"
        for path, uses in used.items()
        if path not in PORTS
        for name, line in uses
    ]
    assert not found, "\n".join(found)
    assert set(PORTS) == set(used), f"no ports any more: {sorted(set(PORTS) - set(used))}"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from threading import Thread\nThread(target=work)", ["threading.Thread"]),
        ("import asyncio\nasyncio.to_thread(work)", ["asyncio.to_thread"]),
        ("import socket as s\ns.socket()", ["socket.socket"]),
        ("import secrets\nsecrets.token_hex(8)", ["secrets.token_hex"]),
        ("import os\nos.urandom(8)", ["os.urandom"]),
        ("import os\ndef draw(random_bytes=os.urandom): ...", []),
        ("import threading\nthreading.Lock()", []),
    ],
)
def test_the_port_rule_sees_every_spelling(source: str, found: list[str]) -> None:
    """A thread, a socket or secret bytes are found; what is given as a parameter is not."""
    assert [name for name, _ in thread_and_socket_uses(ast.parse(source))] == found


def test_no_path_of_some_machine() -> None:
    """The repository works wherever it is cloned."""
    found = matches(MACHINE_PATH)
    assert not found, "\n".join(found)


def test_no_registry_is_named() -> None:
    """Where packages come from is the business of whoever installs."""
    found = matches(REGISTRY)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_pin_by_version_and_hash_alone(lock: str) -> None:
    """A lock holds `name==version` with hashes, and no address or path."""
    text = texts()[lock]
    assert "://" not in text
    assert " @ " not in text
    pins = re.findall(r"^\S.*$", text, re.MULTILINE)
    unpinned = [pin for pin in pins if not re.match(r"[a-z0-9.\-]+==\S+ .*\\$", pin)]
    assert pins
    assert unpinned == []
    assert text.count("--hash=sha256:") >= len(pins)


def test_both_locks_agree() -> None:
    """The tests run what is shipped: every pin of the product is in the tests' lock unchanged."""
    run, dev = (set(re.findall(r"^\S+==\S+", texts()[lock], re.MULTILINE)) for lock in LOCKS)
    assert run <= dev


def test_console_scripts_exist() -> None:
    """Every command that an installation offers is a function that is there."""
    scripts = tomllib.loads(texts()["pyproject.toml"])["project"]["scripts"]
    missing = []
    for target in scripts.values():
        module, _, function = target.partition(":")
        tree = modules().get(module.replace(".", "/") + ".py", ast.Module([], []))
        if function not in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
            missing.append(target)
    assert not missing, "\n".join(missing)


def test_links_lead_somewhere() -> None:
    """Every relative link of README, CHANGELOG and docs names a file that is there."""
    broken = []
    for path, text in texts().items():
        if not path.endswith(".md"):
            continue
        for found in LINK.finditer(text):
            target = (found[1] or found[2]).split("#")[0]
            if not target or re.match(r"[a-z]+:", target):
                continue
            if not (ROOT / path).parent.joinpath(target).exists():
                broken.append(f"{path}: {target}")
    assert not broken, "\n".join(broken)


def test_documented_commands_exist(launcher: ModuleType) -> None:
    """Every `./ridethrough COMMAND` that stands on a line of its own in a document is one."""
    verbs = {*launcher.PASSED_ON, "test", "check", "help"}
    unknown = [
        f"{path}: {verb}"
        for path, text in texts().items()
        if path.endswith(".md")
        for verb in COMMAND.findall(text)
        if verb not in verbs
    ]
    assert not unknown, "\n".join(unknown)
