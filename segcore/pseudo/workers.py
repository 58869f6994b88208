"""Processes that share out work whose results are wanted in order. They write nothing and end with their owner."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Self, TypeVar

import cv2

from segcore.errors import StepError

AHEAD = 2  # items a worker is given ahead of the one whose result is waited for: bounds what is held in memory

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """`with Workers(num) as workers: for result in workers.in_order(work, items): …`; one is this process itself."""

    def __init__(self, num: int) -> None:
        self.num = num
        # spawned, not forked: the owner has threads (Prefect's, Arrow's), whose locks a fork would copy as they are
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(num, context, initializer=begin) if num > 1 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def in_order(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield work(item) for each item, in their order. work, items and results must pickle.

        What work raises is raised here. StepError when a worker dies.
        """
        if self.pool is None:
            yield from map(work, items)
            return
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(self.pool.submit(work, item))
                if len(waiting) > AHEAD * self.num:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise StepError(
                f"a worker process died, {self.num} were at work; look whether memory ran out (dmesg), then retry"
            ) from error


def begin() -> None:
    """Prepare a worker: one thread, no say in Ctrl-C, which is the owner's, and no life after the owner's."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_owner, daemon=True).start()


def end_with_owner() -> None:
    """Wait until the owner is gone, however it went, and end this process."""
    owner = multiprocessing.parent_process()
    assert owner is not None, "only a worker has an owner"
    owner.join()
    os._exit(1)
