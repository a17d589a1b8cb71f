"""One request for many concurrent callers: Airflow is asked once, and all callers share the answer."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Shares one request between concurrent callers, and its answer with callers shortly after.

    An error is shared only by callers that were already waiting; later callers ask again. A caller that leaves cancels
    no request.

    Args:
        ask: asks Airflow.
        seconds: how long after a request its answer is reused.
    """

    def __init__(self, ask: Callable[[K], Coroutine[Any, Any, V]], *, seconds: float = 0.0) -> None:
        self._ask = ask
        self._seconds = seconds
        self._asked: dict[K, tuple[float, asyncio.Task[V]]] = {}

    async def __call__(self, key: K) -> V:
        """Return the answer, new or recent.

        Raises:
            AirflowError: as `ask`.
        """
        now = asyncio.get_running_loop().time()
        since, answer = self._asked.get(key, (float("-inf"), None))
        if answer is None or _has_failed(answer) or (now - since > self._seconds and answer.done()):
            answer = asyncio.create_task(self._ask(key))
            # If all callers have left, an error is dropped.
            answer.add_done_callback(_has_failed)
            self._asked[key] = (now, answer)
        return answer.result() if answer.done() else await asyncio.shield(answer)


def _has_failed(answer: asyncio.Task[Any]) -> bool:
    return answer.done() and (answer.cancelled() or answer.exception() is not None)
