"""Questions that many callers have in the same moment: Airflow is asked once, and the answer is for all of them."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Asks for those who ask now, and for those who ask within some time after.

    An error is for those who asked before it came; whoever asks afterwards asks anew. A caller who leaves breaks off
    nobody's question.

    Args:
        ask: asks Airflow.
        seconds: how long after a question its answer is good for further callers.
    """

    def __init__(self, ask: Callable[[K], Coroutine[Any, Any, V]], *, seconds: float = 0.0) -> None:
        self._ask = ask
        self._seconds = seconds
        self._asked: dict[K, tuple[float, asyncio.Task[V]]] = {}

    async def __call__(self, key: K) -> V:
        """Return the answer, from now or from shortly before.

        Raises:
            AirflowError: as `ask`.
        """
        now = asyncio.get_running_loop().time()
        since, answer = self._asked.get(key, (float("-inf"), None))
        if answer is None or _has_failed(answer) or (now - since > self._seconds and answer.done()):
            answer = asyncio.create_task(self._ask(key))
            # Whoever asked may have left; that there was no answer is then nobody's business.
            answer.add_done_callback(_has_failed)
            self._asked[key] = (now, answer)
        return answer.result() if answer.done() else await asyncio.shield(answer)


def _has_failed(answer: asyncio.Task[Any]) -> bool:
    return answer.done() and (answer.cancelled() or answer.exception() is not None)
