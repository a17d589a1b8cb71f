"""JSON that every client reads alike where messages are told apart by lines: in event streams and on stdio.

JSON may hold the characters U+0085, U+2028 and U+2029 as they are, and some clients take them for the end of a line:
the message is torn in two, neither half is JSON, and the call hangs. They are written as escapes here. All that is sent
there is JSON, in which these characters stand within strings only.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINE_ENDS = {"\u0085": r"\u0085", "\u2028": r"\u2028", "\u2029": r"\u2029"}
"""What only some take for one, and its escape."""
_IN_TEXT = str.maketrans(LINE_ENDS)
_ESCAPES = {mark.encode(): escape.encode() for mark, escape in LINE_ENDS.items()}
_BEGINNINGS = tuple({mark[:length] for mark in _ESCAPES for length in range(1, len(mark))})


def escaped(json_text: str) -> str:
    """Return JSON with escapes for what only some clients take for the end of a line."""
    return json_text.translate(_IN_TEXT)


def with_escaped_line_ends(app: ASGIApp) -> ASGIApp:
    """Escape, in the event streams of an app, what only some clients take for the end of a line."""

    async def escaping(scope: Scope, receive: Receive, send: Send) -> None:
        is_stream = False
        held = b""
        """The beginning of a character that one message ends with, and the next may go on with."""

        async def escaping_send(message: Message) -> None:
            nonlocal is_stream, held
            if message["type"] == "http.response.start":
                is_stream = (b"content-type", b"text/event-stream") in {
                    (name.lower(), value.partition(b";")[0].strip()) for name, value in message["headers"]
                }
            elif message["type"] == "http.response.body" and is_stream:
                body, held = _escaped_bytes(
                    held + message.get("body", b""), is_last=not message.get("more_body", False)
                )
                message = {**message, "body": body}
            await send(message)

        await app(scope, receive, escaping_send)

    return escaping


def _escaped_bytes(body: bytes, *, is_last: bool) -> tuple[bytes, bytes]:
    for mark, escape in _ESCAPES.items():
        body = body.replace(mark, escape)
    if is_last:
        return body, b""
    held = max((len(begun) for begun in _BEGINNINGS if body.endswith(begun)), default=0)
    return body[: len(body) - held], body[len(body) - held :]
