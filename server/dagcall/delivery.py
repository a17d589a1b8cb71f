"""Whether an answer reached its caller.

An outcome that never arrived is handed to whoever asks again; one that did is not. Over HTTP an answer has arrived when
its last byte was given to the network and the caller had not gone away before; on stdio when it was written.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from dagcall.ledger import Entry

SCOPE_KEY = "dagcall.delivery"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Delivery:
    """Carries the outcomes of one HTTP request."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._is_gone = False

    def carry(self, entry: Entry) -> None:
        """Take an outcome along."""
        self._entries.append(entry)

    def caller_left(self) -> None:
        """Take note that the caller closed the connection."""
        self._is_gone = True

    def sent(self) -> None:
        """Take note that the last byte is on its way."""
        if not self._is_gone:
            for entry in self._entries:
                entry.deliver()


def with_delivery(app: App) -> App:
    """Give each HTTP request a `Delivery`, in its scope, and tell it what becomes of the answer."""

    async def watched(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        delivery = scope[SCOPE_KEY] = Delivery()

        async def watched_receive() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect":
                delivery.caller_left()
            return message

        async def watched_send(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                delivery.sent()

        await app(scope, watched_receive, watched_send)

    return watched
