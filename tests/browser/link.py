"""A slow network between the browser and JupyterLab: Chromium's own emulation does not delay WebSockets."""

import asyncio
import threading
import time
from types import SimpleNamespace
from urllib.parse import urlsplit


class Link:
    """Passes TCP on to a server, in each direction with a delay and a limit of bytes per second once `slow` is set.

    Args:
        url: of the server.
        delay: seconds that each byte is under way.
        rate: bytes per second, of all connections together.

    Attributes:
        url: of the same server behind the link.
        slow: False passes everything on at once.
        passed: bytes passed on toward the browser.
    """

    def __init__(self, url: str, *, delay: float = 0.05, rate: float = 10e6 / 8):
        self._to, self._delay, self._rate = urlsplit(url), delay, rate
        self.slow, self.passed = False, 0
        self._loop, ready = asyncio.new_event_loop(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait(10)

    def lab(self, lab) -> SimpleNamespace:
        """The `driver.Lab` behind the link, for a `driver.Notebook`."""
        return SimpleNamespace(url=self.url, notebooks=lab.notebooks)

    def close(self) -> None:
        """Cut all connections."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._meet, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._free = [0.0, 0.0]  # when each direction has sent what it was given
        ready.set()
        self._loop.run_forever()
        server.close()
        for task in (tasks := asyncio.all_tasks(self._loop)):
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _meet(self, reader, writer) -> None:
        try:
            behind = await asyncio.open_connection(self._to.hostname, self._to.port)
            await asyncio.gather(self._pass(reader, behind[1], 0), self._pass(behind[0], writer, 1))
        except (OSError, asyncio.CancelledError):
            writer.close()

    async def _pass(self, reader, writer, way: int) -> None:
        under_way: asyncio.Queue = asyncio.Queue(64)  # the sender waits, as for the window of TCP

        async def deliver():
            while item := await under_way.get():
                due, data = item
                if (wait := due - time.monotonic()) > 0:
                    await asyncio.sleep(wait)
                writer.write(data)
                await writer.drain()
                self.passed += way * len(data)

        task = asyncio.create_task(deliver())
        try:
            while data := await reader.read(4096):
                now = time.monotonic()
                if self.slow:
                    self._free[way] = max(self._free[way], now) + len(data) / self._rate
                    now = self._free[way] + self._delay
                    if (ahead := self._free[way] - time.monotonic()) > 0.05:
                        await asyncio.sleep(ahead - 0.05)
                await under_way.put((now, data))
            await under_way.put(None)
            await task
        except (OSError, asyncio.CancelledError):
            task.cancel()
        finally:
            writer.close()
