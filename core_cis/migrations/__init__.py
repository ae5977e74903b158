"""How a core that an older release made is brought up to date; run by `core_cis.upgrading`, or by alembic."""
