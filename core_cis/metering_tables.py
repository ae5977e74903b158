"""The tables of service points, meters and what was read; conventions as in `tables`."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text

from core_cis.columns import Described, bytes_, integer, numbered, text_


def metering_tables() -> tuple[Described, ...]:
    """Describe them."""
    # supplied_from and supplied_to bound the account's supply; NULL where it is not known or goes on.
    service_points = (
        text_("service_point_id", primary_key=True),
        text_("account_id", ForeignKey("accounts.account_id")),
        text_("address"),
        text_("supplied_from", nullable=True),
        text_("supplied_to", nullable=True),
        Index("service_points_of_account", "account_id"),
    )
    meters = (
        text_("meter_id", primary_key=True),
        text_("service_point_id", ForeignKey("service_points.service_point_id")),
        text_("installed_on", nullable=True),
        text_("removed_on", nullable=True),
        integer("initial_register_wh", server_default=text("0")),
        Index("meters_of_service_point", "service_point_id"),
    )
    # One local day of readings. start is the day's first instant in epoch seconds; values_wh and qualities are
    # msgpack arrays with one element for each interval of the day (23, 24 or 25 hours), null where nothing is known;
    # qualities are ESPI's codes.
    interval_blocks = (
        text_("service_point_id", ForeignKey("service_points.service_point_id")),
        text_("day"),
        integer("start"),
        integer("interval_seconds"),
        bytes_("values_wh"),
        bytes_("qualities"),
        text_("meter_id", ForeignKey("meters.meter_id"), nullable=True),
        CheckConstraint("interval_seconds > 0"),
        UniqueConstraint("service_point_id", "day"),
    )
    # read_at is the beginning of the local day; told_at is when a customer's read was accepted, else empty.
    register_reads = (
        text_("meter_id", ForeignKey("meters.meter_id")),
        text_("read_at"),
        integer("register_wh"),
        integer("quality"),
        text_("told_at", server_default=""),
        UniqueConstraint("meter_id", "read_at"),
    )
    # What an import kept out (quarantined) or remarked on. line is 0 where none is to blame.
    import_findings = (
        numbered("finding_id"),
        text_("imported_at"),
        text_("source"),
        integer("line"),
        text_("code"),
        text_("detail"),
        text_("service_point_id", nullable=True),
        integer("start", nullable=True),
        integer("duration_seconds", nullable=True),
        UniqueConstraint("source", "service_point_id", "line", "code", "start"),
    )
    return (
        ("service_points", service_points),
        ("meters", meters),
        ("interval_blocks", interval_blocks),
        ("register_reads", register_reads),
        ("import_findings", import_findings),
    )
