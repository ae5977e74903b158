"""The system of record: customers, meters, tariffs, bills, the ledger; all else follows what it publishes."""
