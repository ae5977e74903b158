"""
Sign-in that outlives the core: the password is checked against the credential in the snapshot.

argon2id takes 26 ms of a core, so checks run in a small pool of low-priority threads with a bounded queue: reads go
first. An unknown address costs the same work as a known one. Wrong attempts are delayed ever longer per (address,
client), never locked: a stranger cannot shut a customer out. The record of attempts is this process's own.
"""

import asyncio
import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import argon2

from cache_sync.clock import Clock
from cache_sync.documents import CredentialBody, sign_in_key
from edge_portal.errors import SignInBusy, SignInThrottled, WrongCredentials

POOL_THREADS: Final = 2
QUEUE_MAX: Final = 64
EMAIL_LENGTH_MAX: Final = 254
PASSWORD_LENGTH_MAX: Final = 256
FREE_ATTEMPTS: Final = 4
FREE_ATTEMPTS_CLIENT: Final = 40
DELAY_MAX_SECONDS: Final = 60.0
REMEMBERED_MAX: Final = 10_000
FORGET_SECONDS: Final = 900.0
_NICE: Final = 10
_HASHER: Final = argon2.PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)


class Attempts:
    """
    Wrong attempts by key, and the delay they have earned; pure but for the clock.

    The first few are free; from then on each doubles the wait, up to a minute. A quarter of an hour without attempts
    is forgotten, and so is the longest-unused key when too many are remembered.
    """

    def __init__(self, clock: Clock, *, free: int) -> None:
        self._clock = clock
        self._free = free
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait_seconds(self, key: str) -> float:
        """Tell how long this key has to wait before its next attempt; 0 when it need not."""
        count, last = self._wrong.get(key, (0, 0.0))
        elapsed = self._clock.boot_seconds() - last
        if elapsed > FORGET_SECONDS:
            self._wrong.pop(key, None)
            return 0.0
        if count <= self._free:
            return 0.0
        delay = min(DELAY_MAX_SECONDS, 2.0 ** min(count - self._free - 1, 16))
        return max(0.0, delay - elapsed)

    def wrong(self, key: str) -> None:
        """Remember a wrong attempt."""
        count, _ = self._wrong.get(key, (0, 0.0))
        self._wrong[key] = (count + 1, self._clock.boot_seconds())
        self._wrong.move_to_end(key)
        while len(self._wrong) > REMEMBERED_MAX:
            self._wrong.popitem(last=False)

    def right(self, key: str) -> None:
        """Forget a key's wrong attempts."""
        self._wrong.pop(key, None)


class SignIn:
    """Checks e-mail and password; one per worker process."""

    def __init__(
        self,
        *,
        lookup_key: bytes,
        clock: Clock,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        self._lookup_key = lookup_key
        self._by_address = Attempts(clock, free=FREE_ATTEMPTS)
        self._by_client = Attempts(clock, free=FREE_ATTEMPTS_CLIENT)
        self._queue_max = queue_max
        self._queued = 0
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}
        self._pool = ThreadPoolExecutor(
            POOL_THREADS, thread_name_prefix="sign-in", initializer=_yield_to_readers
        )
        self._decoy: str | None = None

    async def check(
        self,
        email: str,
        password: str,
        client_id: str,
        *,
        credential_of: Callable[[str], CredentialBody | None],
    ) -> tuple[str, CredentialBody]:
        """
        Return the credential's key and body when the password is right.

        ``credential_of`` looks a credential up in the snapshot.

        Raises:
            WrongCredentials: Unknown address, revoked credential or wrong password.
            SignInThrottled: This address from this client, or this client, has to wait.
            SignInBusy: Too many checks are queued.
        """
        if len(email) > EMAIL_LENGTH_MAX or len(password) > PASSWORD_LENGTH_MAX:
            raise WrongCredentials
        credential_key = sign_in_key(self._lookup_key, email)
        address = f"{credential_key} {client_id}"
        if self._queued >= self._queue_max:
            raise SignInBusy(1)
        self._queued += 1
        try:
            async with self._turn(address):
                wait = max(
                    self._by_address.wait_seconds(address), self._by_client.wait_seconds(client_id)
                )
                if wait > 0:
                    raise SignInThrottled(int(wait) + 1)
                credential = credential_of(credential_key)
                if not await self._verify(credential, password) or credential is None:
                    self._by_address.wrong(address)
                    self._by_client.wrong(client_id)
                    raise WrongCredentials
        finally:
            self._queued -= 1
        self._by_address.right(address)
        return credential_key, credential

    def close(self) -> None:
        """Stop the pool; checks that are queued are dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    @contextlib.asynccontextmanager
    async def _turn(self, address: str) -> AsyncIterator[None]:
        """Let attempts of one (address, client) follow one another, so that parallel guesses earn their delay too."""
        lock, waiting = self._turns.get(address, (asyncio.Lock(), 0))
        self._turns[address] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._turns[address]
            if waiting == 1:
                del self._turns[address]
            else:
                self._turns[address] = (lock, waiting - 1)

    async def _verify(self, credential: CredentialBody | None, password: str) -> bool:
        usable = credential is not None and credential.status == "active"
        verifier = credential.verifier if credential is not None and usable else None
        loop = asyncio.get_running_loop()
        matches = await loop.run_in_executor(self._pool, self._verify_in_thread, verifier, password)
        return matches and usable

    def _verify_in_thread(self, verifier: str | None, password: str) -> bool:
        if verifier is None:
            # Unknown addresses take as long as known ones.
            if self._decoy is None:
                self._decoy = _HASHER.hash("nobody's password")
            verifier = self._decoy
        try:
            return _HASHER.verify(verifier, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False


def _yield_to_readers() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
