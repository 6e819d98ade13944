# SPDX-License-Identifier: BSL-1.0
"""The measurements of sync.cpp in asyncio. Prints nanoseconds per item, the median of 5."""

import asyncio
import statistics
import time


async def median(items, run):
    results = []
    for _ in range(5):
        begin = time.perf_counter_ns()
        await run(items)
        results.append((time.perf_counter_ns() - begin) / items)
    return statistics.median(results)


def messages(capacity):
    async def run(items):
        queue = asyncio.Queue(capacity)

        async def consume():
            for _ in range(items):
                await queue.get()

        consumer = asyncio.create_task(consume())
        for i in range(items):
            await queue.put(i)
        await consumer

    return run


def handover(tasks):
    async def run(items):
        lock = asyncio.Lock()

        async def turns():
            for _ in range(items // tasks):
                async with lock:
                    await asyncio.sleep(0)
                await asyncio.sleep(0)

        await asyncio.gather(*(turns() for _ in range(tasks)))

    return run


async def free(items):
    lock = asyncio.Lock()
    for _ in range(items):
        async with lock:
            pass


async def main():
    print(f"mutex, uncontended: lock and unlock: {await median(100_000, free):.0f}")
    for tasks in (2, 10):
        text = f"mutex handed off {'between' if tasks == 2 else 'among'} {tasks} tasks, two yields each"
        print(f"{text}: {await median(20_000, handover(tasks)):.0f}")
    for capacity in (1, 128):
        print(f"queue of {capacity}, per message: {await median(20_000, messages(capacity)):.0f}")


asyncio.run(main())
