# SPDX-License-Identifier: BSL-1.0
"""echo.py PORT [SECONDS]: an echo server with asyncio's streams. SECONDS limits each read."""

import asyncio
import contextlib
import sys

port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
limit = int(sys.argv[2]) if len(sys.argv) > 2 else 0


async def echo(reader, writer):
    with contextlib.closing(writer), contextlib.suppress(TimeoutError, ConnectionError):
        while True:
            if limit:
                async with asyncio.timeout(limit):
                    data = await reader.read(1024)
            else:
                data = await reader.read(1024)
            if not data:
                return
            writer.write(data)
            await writer.drain()


async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
