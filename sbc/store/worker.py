"""A thread that works through a queue and reports back to the reactor once a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from sbc.sip.errors import RemoteError

J = TypeVar("J")

Outcome = tuple["Deferred[Any]", Any]
"""A Deferred and what it fires with: a result or a Failure."""
Work = Callable[[Sequence[J]], Sequence[Any]]
"""Takes jobs, gives a result or a Failure for each; runs in the thread and must not raise."""


def failed(error: BaseException) -> Failure:
    """The Failure of an error, for the Deferred that waits for it."""
    return Failure(error)  # type: ignore[no-untyped-call]


class Worker(Generic[J]):
    """Hands queued jobs, as many as wait but `batch` at most, to `work` in a thread of its own.

    `from_thread` is the reactor's `callFromThread`: one call a batch. More than `limit` jobs waiting: a new one fails
    at once with RemoteError 503, as does one given before `start` or after `stop`.
    """

    def __init__(
        self, name: str, work: Work[J], from_thread: Callable[..., object], *, batch: int, limit: int,
        gather: Callable[[], None] | None = None, done: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        self.waiting = 0
        """Jobs given and not reported; reactor thread only."""
        self.name = name
        self._work = work
        self._from_thread = from_thread
        self._batch = batch
        self._limit = limit
        self._gather = gather
        self._done = done
        self._queue: SimpleQueue[tuple[J, Deferred[Any]] | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._stopped: Deferred[None] | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = Thread(target=self._loop, name=self.name, daemon=True)
        self._thread.start()

    def give(self, job: J) -> Deferred[Any]:
        """Queue a job; fires in the reactor thread."""
        if self._thread is None or self._stopped is not None or self.waiting >= self._limit:
            return fail(
                RemoteError(503, b"Database Busy" if self._thread and not self._stopped else b"Database Stopped")
            )
        deferred: Deferred[Any] = Deferred()
        self.waiting += 1
        self._queue.put((job, deferred))
        return deferred

    def stop(self) -> Deferred[None]:
        """Finish what is queued, then end the thread."""
        if self._stopped is None:
            self._stopped = Deferred()
            if self._thread is None:
                self._stopped.callback(None)
            else:
                self._queue.put(None)
        return self._stopped

    def _loop(self) -> None:
        ending = False
        while not ending:
            taken = self._queue.get()
            if taken is not None and self._gather is not None:
                self._gather()
            jobs: list[tuple[J, Deferred[Any]]] = []
            while taken is not None:
                jobs.append(taken)
                if len(jobs) == self._batch:
                    break
                try:
                    taken = self._queue.get_nowait()
                except Empty:
                    break
            ending = taken is None
            if jobs:
                results = self._work([job for job, _ in jobs])
                self._from_thread(self._report, [(jobs[i][1], result) for i, result in enumerate(results)])
        if self._done is not None:
            self._done()
        self._from_thread(self._ended)

    def _report(self, outcomes: Sequence[Outcome]) -> None:
        self.waiting -= len(outcomes)
        for deferred, result in outcomes:
            if isinstance(result, Failure):
                deferred.errback(result)
            else:
                deferred.callback(result)

    def _ended(self) -> None:
        if self._thread is not None:
            self._thread.join()
        if self._stopped is not None:
            self._stopped.callback(None)
