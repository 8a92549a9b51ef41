"""The two threads of a panel: one that draws, one that trains. Neither ever waits for the other."""

import atexit
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_open: weakref.WeakSet = weakref.WeakSet()


def _close_all() -> None:
    """End every thread before the interpreter ends: Python unwinds a daemon inside XLA's C++, which aborts."""
    workers = list(_open)
    for worker in workers:
        worker.stop()  # all, before any is waited for
    for worker in workers:
        worker.close()


# As `concurrent.futures` does: before all of `atexit`, where JAX takes its backend down, whichever came first.
getattr(threading, "_register_atexit", atexit.register)(_close_all)


def _stand_back() -> None:
    """Let others go first: this thread, and those in which XLA computes, where nearly all of a training is.

    Only root could undo it, so it is for good; what panels draw with XLA is computed in those threads, too.
    """
    if sys.platform != "linux":  # where a thread has a priority of its own
        return
    with suppress(OSError):
        for task in Path("/proc/self/task").iterdir():
            own = int(task.name) == threading.get_native_id()
            with suppress(OSError):  # a thread may end meanwhile
                if own or (task / "comm").read_bytes().startswith(b"tf_XLA"):
                    nice = os.getpriority(os.PRIO_PROCESS, int(task.name))
                    os.setpriority(os.PRIO_PROCESS, int(task.name), max(10, nice))


class Overtaken(Exception):
    """Nobody needs any more what was being drawn."""


class Latest:
    """Runs the newest request only: requests that come while one is drawn are merged into a single one.

    Args:
        draw: called with True while requests keep coming (a coarse picture will do) and with False once they rest;
            returns whether what it drew is final.
        on_error: gets the exception of a failed ``draw``, or None after one that went well.
        rest: seconds without a request after which the final picture is drawn; up to 0.45 where requests come slowly.
        threaded: False draws at once in the caller's thread, once and finally.

    Attributes:
        idle: a `threading.Event`, set when the final picture of the newest request is drawn.
    """

    def __init__(
        self,
        draw: Callable[[bool], bool],
        on_error: Callable[[Exception | None], Any],
        *,
        rest: float = 0.12,
        threaded: bool = True,
    ):
        self._draw, self._on_error, self._rest = draw, on_error, rest
        self._asked, self.idle, self._closed = threading.Event(), threading.Event(), False
        self._paused = self._missed = False
        self._at, self._gap = 0.0, 0.0
        self._thread = threading.Thread(target=self._run, daemon=True, name="clearview-draw") if threaded else None
        self.idle.set()
        if self._thread:
            # By default a busy thread keeps the interpreter for 5 ms, and does so several times a frame.
            sys.setswitchinterval(min(sys.getswitchinterval(), 5e-4))
            self._thread.start()
            _open.add(self)

    def __call__(self, *_) -> None:
        """Ask for a new picture."""
        self._missed = self._paused
        if self._closed or self._paused:
            return
        if self._thread is None:
            self._try(False)
            return
        self._at, self._gap = (now := time.monotonic()), now - self._at
        self.idle.clear()
        self._asked.set()

    def pause(self, paused: bool = True) -> None:
        """Draw nothing for a while; what was asked for meanwhile is drawn in the end."""
        self._paused = paused
        if not paused and self._missed:
            self()

    @property
    def waiting(self) -> bool:
        """Whether a newer request waits, so that a long drawing in the thread had better stop; nobody else need."""
        return threading.current_thread() is self._thread and (self._asked.is_set() or self._closed)

    def _try(self, dragging: bool) -> bool:
        try:
            final = self._draw(dragging)
        except Exception as error:  # a thread's traceback is seen by nobody
            if not self._closed:
                self._on_error(error)
            return True
        if not self._closed:
            self._on_error(None)
        return final

    def _run(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            if self._closed:
                return
            final = self._try(True)
            # Over a slow link a slider that moves on is heard of less often: that is no rest.
            slowly = 1.5 * self._gap if self._gap < 0.3 else 0.0
            if not final and not self._asked.wait(max(self._rest, slowly)):
                self._try(False)
            if not self._asked.is_set():
                self.idle.set()
                if self._asked.is_set():  # asked between the two lines above
                    self.idle.clear()

    def stop(self) -> None:
        """Ask the thread to end; later requests are ignored."""
        self._closed = True
        self._asked.set()

    def close(self) -> None:
        """End the thread."""
        self.stop()
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join(60)  # it may be compiling, which nothing stops
        self.idle.set()


class Every:
    """Calls a function about every so many seconds, in a thread of its own, until it is closed.

    Args:
        function: what is called; what it raises ends the thread.
        seconds: between two calls.
    """

    def __init__(self, function: Callable[[], Any], seconds: float):
        self._function, self._seconds, self._closed = function, seconds, False
        self._asked = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="clearview-watch")
        self._thread.start()
        _open.add(self)

    def now(self) -> None:
        """Call it at once, in the thread."""
        self._asked.set()

    def _run(self) -> None:
        while not self._closed:
            self._asked.wait(self._seconds)
            self._asked.clear()
            if not self._closed:
                self._function()

    def stop(self) -> None:
        """Ask the thread to end."""
        self._closed = True
        self._asked.set()

    def close(self) -> None:
        """End the thread."""
        self.stop()
        if self._thread is not threading.current_thread():
            self._thread.join(60)


class Training:
    """Runs one long job at a time in a thread of its own.

    Args:
        on_progress: gets the newest progress, at most ten times a second.
        on_done: gets ``(result, error)``, one of them None, however the job ended.
        threaded: False runs the job at once in the caller's thread.
    """

    def __init__(
        self,
        on_progress: Callable[[Any], Any],
        on_done: Callable[[Any, Exception | None], Any],
        *,
        threaded: bool = True,
    ):
        self._on_progress, self._on_done, self._threaded = on_progress, on_done, threaded
        self._cancelled, self._threads, self._closed = threading.Event(), [], False
        self._lock, self._now = threading.Lock(), None  # the job that is listened to

    @property
    def running(self) -> bool:
        """Whether a job runs that was not dropped."""
        return self._now is not None

    @property
    def stopping(self) -> bool:
        """Whether the job has been asked to stop."""
        return self._cancelled.is_set()

    def start(self, job: Callable[[Callable[[Any], bool]], Any]) -> None:
        """Run ``job(report)``; ``report(progress)`` returns False once the job has been cancelled.

        Raises:
            RuntimeError: if a job runs already.
        """
        with self._lock:
            if self._now is not None:
                raise RuntimeError("Expected no training under way, got one; cancel it or wait for its end.")
            self._now = cancelled = self._cancelled = threading.Event()
        last = -1.0

        def report(progress) -> bool:
            nonlocal last
            if time.monotonic() - last >= 0.1 and not self._closed and self._now is cancelled:
                last = time.monotonic()
                self._on_progress(progress)
            return not cancelled.is_set()

        def run():
            result = error = None
            try:
                if self._threaded:
                    _stand_back()
                result = job(report)
            except Exception as problem:  # shown by on_done
                error = problem
            finally:
                with self._lock:
                    heard = self._now is cancelled
                    if heard:
                        self._now = None
            if heard and not self._closed:
                self._on_done(result, error)

        if self._threaded:
            thread = threading.Thread(target=run, daemon=True, name="clearview-train")
            self._threads = [*(t for t in self._threads if t.is_alive()), thread]
            thread.start()
            _open.add(self)
        else:
            run()

    def cancel(self) -> None:
        """Ask the job to stop; it does so at its next report."""
        self._cancelled.set()

    def drop(self) -> bool:
        """Cancel, and hear no more of the job: another may start at once, though this one may go on for a while, as
        nothing stops a compilation. Whether there was one.
        """
        with self._lock:
            dropped, self._now = self._now is not None, None
            self._cancelled.set()  # later it could be that of the next one
        return dropped

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of the job, of those dropped, and of all that follows; whether it came in time."""
        end = None if timeout is None else time.monotonic() + timeout  # one for all
        for thread in self._threads:
            thread.join(None if end is None else max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Cancel; nothing is told any more."""
        self._closed = True
        self.cancel()

    def close(self) -> None:
        """Cancel, and wait for the thread to end."""
        self.stop()
        if threading.current_thread() not in self._threads:
            self.wait(60)
