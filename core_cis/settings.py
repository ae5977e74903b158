"""What a core is told when it is first used and when it is started."""

import os
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

DATA_VARIABLE = "RIDETHROUGH_CORE_DATA"
DATABASE_VARIABLE = "RIDETHROUGH_DATABASE"
DATABASE_PASSWORD_FILE_VARIABLE = "RIDETHROUGH_DATABASE_PASSWORD_FILE"  # noqa: S105 - a variable's name
REDIS_FEED_VARIABLE = "RIDETHROUGH_REDIS_FEED"
PROCESSOR_FILE_VARIABLE = "RIDETHROUGH_PROCESSOR_FILE"
DEFAULT_DATA = Path("ridethrough-core")
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8100
DEFAULT_OPERATOR_PORT = 8101


class Utility(msgspec.Struct, frozen=True, kw_only=True):
    """
    The utility whose books these are.

    ``timezone`` is an IANA name: local days, value dates and bill periods are its days. Edges hold the statements of
    the newest ``edge_retention_months`` of an account; older ones are read from the core. ``phone`` is the number
    that customers are told to call; without one no page speaks of calling.
    """

    name: str = "Example Power & Light"
    timezone: str = "America/New_York"
    currency: str = "USD"
    phone: str = ""
    edge_retention_months: int = 24

    def __post_init__(self) -> None:
        """
        Check what would otherwise fail far from here.

        Raises:
            ValueError: The time zone is unknown, or a setting is out of range.
        """
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"unknown time zone: {self.timezone}") from error
        if len(self.currency) != 3 or not self.currency.isupper():  # noqa: PLR2004 - ISO 4217 has three letters
            raise ValueError(f"not an ISO 4217 currency: {self.currency}")
        if self.edge_retention_months < 1:
            raise ValueError("edge_retention_months must be at least 1")


class ProcessorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    The payment processor that the core charges, asks and refunds through.

    Args:
        url: Its API's address, without a path.
        secret: The account's key.
        webhook_secret: What it signs events with; empty where it tells none.
        deadline_seconds: How long one call may take.
        horizon_seconds: How long it remembers keys: from then on nothing is sent again, only asked.
        resend_seconds: A promise of which it knows nothing this long after the attempt is sent again, same key.
        capture_seconds: What an edge was to charge and it knows nothing of this long after was never charged.
        refund_seconds: How often refunds that are due are tried.
    """

    url: str
    secret: str
    webhook_secret: str = ""
    deadline_seconds: float = 10.0
    horizon_seconds: float = 24 * 3600.0
    resend_seconds: float = 60.0
    capture_seconds: float = 900.0
    refund_seconds: float = 2.0


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """
    The limits of a running core.

    Args:
        feed_rows_max: The most documents in one frame.
        intent_batch_max: The most intents in one call.
        body_bytes_max: The largest request body.
        past_seconds_max: How far an intent's acceptance may lie behind the core's clock before its value date is
            taken as that bound (and the payment flagged).
        future_seconds_max: How far it may lie ahead.
        attempts_max: Failed attempts after which an intent is put under review.
        redis_feed: The Redis into whose streams the feed is published too; empty for none.
        edge_away_days: How long deletes are kept for an edge that says nothing; later it has to begin anew.
        tombstone_hours: How long deletes are kept at least.
        processor: Who charges what customers promise; None where that is collected elsewhere.
    """

    feed_rows_max: int = 5000
    intent_batch_max: int = 500
    body_bytes_max: int = 2_000_000
    past_seconds_max: int = 30 * 86400
    future_seconds_max: int = 120
    attempts_max: int = 3
    redis_feed: str = ""
    edge_away_days: float = 30.0
    tombstone_hours: float = 1.0
    processor: ProcessorSettings | None = None


def default_data_dir() -> Path:
    """Tell where the core's data lies when the command line does not say: the environment's word, else a default."""
    return Path(os.environ.get(DATA_VARIABLE) or DEFAULT_DATA)


def named_database() -> str | None:
    """Tell the database that the environment names, as a URL; None when it names none."""
    return os.environ.get(DATABASE_VARIABLE) or None


def named_password_file() -> Path | None:
    """Tell the file that the environment names for the database's password; None when it names none."""
    name = os.environ.get(DATABASE_PASSWORD_FILE_VARIABLE)
    return Path(name) if name else None


def named_redis_feed() -> str:
    """Tell the Redis that the environment names for the feed, as a URL that may hold a password; empty for none."""
    return os.environ.get(REDIS_FEED_VARIABLE) or ""


def named_processor() -> ProcessorSettings | None:
    """
    Read the payment processor's settings from the file that the environment names; None when it names none.

    Raises:
        ValueError: The file cannot be used; says why, never a value.
    """
    name = os.environ.get(PROCESSOR_FILE_VARIABLE)
    if not name:
        return None
    try:
        return msgspec.json.decode(Path(name).read_bytes(), type=ProcessorSettings)
    except OSError as error:
        raise ValueError(f"cannot read {name}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ValueError(f"{name} does not describe a payment processor: {error}") from error
