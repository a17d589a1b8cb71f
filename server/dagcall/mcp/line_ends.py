"""Escapes in JSON for line-based transports: event streams and stdio.

JSON may contain the characters U+0085, U+2028 and U+2029, and some clients read them as line ends: the message is
split, neither half is valid JSON, and the call hangs. So they are escaped. Everything sent there is JSON, in which
these characters occur only within strings.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINE_ENDS = {"\u0085": r"\u0085", "\u2028": r"\u2028", "\u2029": r"\u2029"}
"""Characters that only some clients read as a line end, and their escapes."""
_IN_TEXT = str.maketrans(LINE_ENDS)
_ESCAPES = {mark.encode(): escape.encode() for mark, escape in LINE_ENDS.items()}
_BEGINNINGS = tuple({mark[:length] for mark in _ESCAPES for length in range(1, len(mark))})


def escaped(json_text: str) -> str:
    """Return JSON with these characters escaped."""
    return json_text.translate(_IN_TEXT)


def with_escaped_line_ends(app: ASGIApp) -> ASGIApp:
    """Escape these characters in the event streams of an app."""

    async def escaping(scope: Scope, receive: Receive, send: Send) -> None:
        is_stream = False
        held = b""
        """An incomplete character at the end of a message; the next message may complete it."""

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
