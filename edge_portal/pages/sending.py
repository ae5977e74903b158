"""What the forms of all messages have in common: they are sent once, and every way out names what is known."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

from litestar import Response

from edge_portal.csrf import form_is_ours
from edge_portal.errors import InvalidMessage, KeyReused, NotTaken, OverLimit, PaymentUnknown
from edge_portal.pages.problem import Problem
from edge_portal.pages.visit import Visit, answer
from failover.message_bodies import MessageBody
from failover.own_pages import see_other

TYPED_MAX: Final = 2000
TOO_OLD: Final = "This form was too old. Nothing was sent. Please check it and send it again."
CLOSED: Final = "You cannot send us anything online right now. Nothing was sent."
NOT_TAKEN: Final = (
    "We could not take it just now. Nothing was sent. "
    "Press the button again: it will not be sent twice."
)
UNKNOWN: Final = (
    "We could not confirm it yet. Press the button again to ask: it will not be sent twice."
)
OVER: Final = (
    "We did not take it: you have sent us a lot today. "
    "You can send more when our main system is back."
)
REUSED: Final = "You already sent something else with this form, and a form sends once."


class MessageForm:
    """
    One form of one visit: what was typed, and the key that makes it one message however often it is sent.

    Args:
        visit: The visit.
        template: The form's template; it is given ``typed``, ``form_key``, ``problem`` and ``closed``.
        title: The page's title.
        typed: What the customer typed, by field; what is shown first where nothing was.
        context: What else the template needs.
    """

    def __init__(
        self,
        visit: Visit,
        template: str,
        title: str,
        typed: dict[str, str],
        context: dict[str, Any],
    ) -> None:
        self._visit = visit
        self._template = template
        self._title = title
        self._typed = defaultdict(str, {name: told[:TYPED_MAX] for name, told in typed.items()})
        self._context = context
        self._key = ""

    def page(self, problem: Problem | None = None, status: int = 200) -> Response[bytes]:
        """Show the form, with what was wrong the last time; the key of a form that may have been sent stays."""
        visit = self._visit
        closed = not visit.can_send
        account_id = visit.view.account.account_id
        return answer(
            visit,
            self._template,
            title=f"Error: {self._title}" if problem else self._title,
            current="",
            status=status,
            closed=closed,
            problem=problem,
            typed=self._typed,
            form_key="" if closed else self._key or visit.portal.new_form_key(account_id),
            **self._context,
        )

    async def send(
        self,
        form: dict[str, str],
        read: Callable[[dict[str, str]], MessageBody | Problem],
        explain: Callable[[InvalidMessage], Problem],
    ) -> Response[bytes]:
        """
        Send what was typed; leads to the receipt.

        Args:
            form: The form as it was posted.
            read: Makes the message of it, or says what is wrong.
            explain: Says in words what the checks refuse.
        """
        visit = self._visit
        if not form_is_ours(visit.request, visit.session, form.get("csrf", "")):
            return self.page(Problem(field="", told=TOO_OLD), 403)
        key = visit.portal.check_form_key(visit.view.account.account_id, form.get("key", ""))
        if key is None:
            return self.page(Problem(field="", told=TOO_OLD), 422)
        content = read(form)
        if isinstance(content, Problem):
            return self.page(content, 422)
        return await self._take(key, content, explain, form["key"])

    async def _take(
        self,
        key: str,
        content: MessageBody,
        explain: Callable[[InvalidMessage], Problem],
        form_key: str,
    ) -> Response[bytes]:
        visit = self._visit
        told, status = UNKNOWN, 504
        try:
            receipt = await visit.portal.send(
                visit.view.account.account_id, idempotency_key=key, content=content
            )
            return see_other(f"/messages/{receipt.intent_id}")
        except InvalidMessage as error:
            return self.page(explain(error), 422)
        except OverLimit:
            told, status = OVER, 422
        except KeyReused:
            told, status = REUSED, 409
        except NotTaken:
            # Pressed again, the same form may be taken after all: its key stays.
            self._key = form_key
            told, status = NOT_TAKEN if visit.can_send else CLOSED, 503
        except PaymentUnknown:
            self._key = form_key
        return self.page(Problem(field="", told=told), status)
