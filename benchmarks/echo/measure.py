# SPDX-License-Identifier: BSL-1.0
"""Compares the echo servers. One server runs at a time, with the client, on separate cores if there are two.

measure.py FOLDER [--seconds S] [--rounds N] [SERVER…]

FOLDER holds the programs that Meson has built. Prints a table for each number of connections: medians over the rounds,
in which the servers take turns. "CPU" is the server's processor time for each request. Only 127.0.0.1 is used.
"""

import argparse
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
LIMIT = 10  # seconds for each read, in the rounds with a limit
IDLE = 10_000


def pinned(core, command):
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 or not shutil.which("taskset"):
        return command
    return ["taskset", "-c", str(cores[core]), *command]


def servers(folder, wanted, scratch):
    commands = {name: [str(folder.resolve() / ("echo_" + name))] for name in ("epoll", "fibers", "asio_spawn", "asio_coroutines")}
    if shutil.which("go"):
        program = scratch / "echo_go"
        subprocess.run(["go", "build", "-o", program, HERE / "echo.go"], check=True, cwd=scratch,
                       env={**os.environ, "GOCACHE": str(scratch / "cache"), "GOFLAGS": "-mod=mod"})  # fmt: skip
        commands["go"] = [str(program)]
    commands["asyncio"] = [sys.executable, str(HERE / "echo.py")]
    return {name: command for name, command in commands.items() if not wanted or name in wanted}


class Server:
    """A running server with its port, processor time and memory."""

    def __init__(self, command, limit):
        self.process = subprocess.Popen(pinned(0, [*command, "0", str(limit)]), stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, "GOMAXPROCS": "1"})  # fmt: skip
        self.port = self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def processor_seconds(self):
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def resident_bytes(self):
        pages = int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def load(client, command, connections, seconds, limit):
    with Server(command, limit) as server:
        def run(length):
            done = subprocess.run(pinned(1, [client, server.port, str(connections), str(length)]), check=True,
                                  capture_output=True, text=True)  # fmt: skip
            return [float(word) for word in done.stdout.split()]

        run(seconds / 4)  # warms up
        before = server.processor_seconds()
        requests, length, *times = run(seconds)
        used = server.processor_seconds() - before
        return [requests / length, used / requests * 1e6, *times]


def idle(client, command):
    with Server(command, 0) as server:
        before = server.resident_bytes()
        opener = subprocess.Popen([client, server.port, str(IDLE), "idle"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)  # fmt: skip
        opener.stdout.readline()
        time.sleep(1)  # the server accepts the last ones
        used = server.resident_bytes() - before
        opener.communicate("")
        return used / IDLE


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("servers", nargs="*")
    options = parser.parse_intermixed_args()
    client = str(options.folder.resolve() / "echo_client")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # for the idle connections; inherited
    with tempfile.TemporaryDirectory() as scratch:
        commands = servers(options.folder, options.servers, pathlib.Path(scratch))
        for connections in (50, 1000):
            for limit in (0, LIMIT):
                rounds = {name: [] for name in commands}
                for _ in range(options.rounds):
                    for name, command in commands.items():
                        rounds[name].append(load(client, command, connections, options.seconds, limit))
                limited = f", {limit} s limit around every read" if limit else ""
                print(f"\n{connections} connections{limited}\n")
                print("| server | requests/s | to epoll | CPU, µs | median, µs | 99 %, µs | 99.9 %, µs |")
                print("|---|---:|---:|---:|---:|---:|---:|")
                medians = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in rounds.items()}
                floor = medians.get("epoll", next(iter(medians.values())))[0]
                for name, (rate, used, *times) in medians.items():
                    columns = [f"{rate:,.0f}", f"{rate / floor:.2f}", f"{used:.2f}", *(f"{each:,.0f}" for each in times)]
                    print(f"| {name} | " + " | ".join(columns) + " |", flush=True)
        print(f"\n{IDLE:,} idle connections\n\n| server | resident bytes for each |\n|---|---:|")
        for name, command in commands.items():
            print(f"| {name} | {idle(client, command):,.0f} |", flush=True)


main()
