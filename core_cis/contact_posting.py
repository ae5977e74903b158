"""
How customers want to be reached.

The conflict rule: of each field the change that was accepted later counts, in whatever order changes come, through
whichever of the customer's accounts. The address that a customer signs in with is another, and no message changes it.
"""

from core_cis.acceptance_order import acceptance_order
from core_cis.message_verdicts import SUPERSEDED, Verdict, posted, rejected
from core_cis.publishing import publish_account
from core_cis.store import Transaction
from failover.contact_rules import problem_of_contact
from failover.intents import Intent
from failover.message_bodies import ContactChange, MessageBody

_CUSTOMER = "SELECT customer_id FROM accounts WHERE account_id = ?"
_ACCOUNTS = "SELECT account_id FROM accounts WHERE customer_id = ? ORDER BY account_id"
_LATER = "SELECT 1 FROM contacts WHERE customer_id = ? AND field = ? AND told_as > ?"
_CHANGE = """
    INSERT INTO contacts (customer_id, field, value, told_as) VALUES (?, ?, ?, ?)
    ON CONFLICT (customer_id, field) DO UPDATE SET value = excluded.value, told_as = excluded.told_as
    WHERE contacts.told_as < excluded.told_as
"""


def judge_contact(tx: Transaction, intent: Intent, body: MessageBody) -> Verdict:
    """Judge a change: none of it may be left where later ones of every field are known."""
    assert isinstance(body, ContactChange), "the type names the body"
    problem = problem_of_contact(body)
    if problem is not None:
        return rejected(problem)
    customer_id = _hold_customer(tx, intent.account_id)
    later = [
        tx.connection.execute(
            _LATER, (customer_id, field, acceptance_order(intent, now=tx.stamp))
        ).fetchone()
        for field in _fields(body)
    ]
    return posted(SUPERSEDED if all(later) else "")


def enter_contact(tx: Transaction, intent: Intent, body: MessageBody, _: str) -> None:
    """Change what no later change is known of, and publish all accounts of the customer."""
    assert isinstance(body, ContactChange), "the type names the body"
    customer_id = _hold_customer(tx, intent.account_id)
    for field, value in _fields(body).items():
        tx.connection.execute(
            _CHANGE, (customer_id, field, value, acceptance_order(intent, now=tx.stamp))
        )
    accounts = [row[0] for row in tx.connection.execute(_ACCOUNTS, (customer_id,)).fetchall()]
    for account_id in accounts:
        publish_account(tx, account_id)


def _hold_customer(tx: Transaction, account_id: str) -> str:
    (customer_id,) = tx.connection.execute(_CUSTOMER, (account_id,)).fetchone()
    tx.hold_customer(customer_id)
    return str(customer_id)


def _fields(body: ContactChange) -> dict[str, str]:
    told = {"email": body.email, "phone": body.phone}
    return {field: value for field, value in told.items() if value is not None}
