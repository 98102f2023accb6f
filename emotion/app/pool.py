"""The workers of a server, and the bounded queue in front of them."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from emotion.app.limits import Limits, busy
from emotion.app.worker import Answer, LoadPredictor, Task, Worker
from emotion.errors import EmotionError

log = logging.getLogger(__name__)

_RETRY_S = 5  # until a worker that could not be started is started again


class Pool:
    """Workers, each of which predicts one recording at a time.

    A recording is not joined with others into a batch: the shipped model is not faster with batches on a CPU, and a
    recording that must be stopped would stop the others.

    Args:
        load: Function that loads the model.
        limits: Limits of the server.

    Attributes:
        waiting: Number of recordings that wait for a worker.
        running: Number of recordings that are being predicted.
    """

    def __init__(self, load: LoadPredictor, limits: Limits) -> None:
        self.limits, self.waiting, self.running = limits, 0, 0
        self._workers = [Worker(load, limits) for _ in range(limits.workers)]
        self._idle: asyncio.Queue[Worker] = asyncio.Queue()
        self._threads = ThreadPoolExecutor(2 * limits.workers)
        self._restarts: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start the workers, and wait until their models are loaded.

        Raises:
            EmotionError: the model cannot be loaded.
        """
        first, *others = self._workers
        first.start()  # others find a downloaded model
        try:
            list(self._threads.map(Worker.start, others))
        except EmotionError:
            self.stop()
            raise
        for worker in self._workers:
            self._idle.put_nowait(worker)

    @property
    def ready(self) -> int:
        """The number of workers whose model is loaded."""
        return sum(worker.is_ready for worker in self._workers)

    @property
    def is_full(self) -> bool:
        """True if another recording would be refused."""
        return self._idle.empty() and self.waiting >= self.limits.queue

    async def predict(self, task: Task) -> Answer:
        """Predict a recording when a worker is free.

        Raises:
            RefusedError: the queue is full, no worker became free in time, or the prediction was stopped.
        """
        if self.is_full:
            raise busy("too many recordings are waiting")
        worker = await self._free_worker()
        self.running += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, worker.predict, task)
        finally:
            self.running -= 1
            self._return(worker)

    async def _free_worker(self) -> Worker:
        self.waiting += 1
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                return await self._idle.get()
        except TimeoutError:
            raise busy("no worker became free in time") from None
        finally:
            self.waiting -= 1

    def _return(self, worker: Worker) -> None:
        if worker.is_ready:
            self._idle.put_nowait(worker)
            return
        restart = asyncio.get_running_loop().create_task(self._restart(worker))
        self._restarts.add(restart)
        restart.add_done_callback(self._restarts.discard)

    async def _restart(self, worker: Worker) -> None:
        while True:
            try:
                await asyncio.get_running_loop().run_in_executor(self._threads, worker.start)
                break
            except (EmotionError, OSError) as error:
                log.error("a worker cannot be started: %s", error)
                await asyncio.sleep(_RETRY_S)
        self._idle.put_nowait(worker)

    def stop(self) -> None:
        """Stop all workers, whatever they do."""
        for restart in self._restarts:
            restart.cancel()
        for worker in self._workers:
            worker.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)
