# SPDX-License-Identifier: BSL-1.0
"""prefork.py PROGRAM: drives samples/network/prefork."""

import os
import pathlib
import signal
import socket
import unittest

import program
from program import Program, at_once, read_to_end, until


def workers(server):
    pid = server.process.pid
    return set(map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def answer(client, line):
    """Returns the worker that answers, and its answer."""
    client.sendall(line + b"\n")
    received = b""
    while not received.endswith(b"\n"):
        if not (more := client.recv(1000)):
            return None, received
        received += more
    number, _, text = received.rstrip(b"\n").partition(b": ")
    return int(number), text


class Prefork(unittest.TestCase):
    def test_workers(self):
        """the workers serve many clients at once"""
        with Program() as server:

            def talk(number):
                with server.connect() as client:
                    return {answer(client, b"client %d, line %d" % (number, line)) for line in range(20)}

            for number, said in enumerate(at_once(*[lambda number=number: talk(number) for number in range(50)])):
                self.assertEqual({text for _, text in said}, {b"client %d, line %d" % (number, i) for i in range(20)})
                self.assertEqual(len({worker for worker, _ in said} - workers(server)), 0)

    def test_replaced(self):
        """a killed worker loses its clients, and is replaced"""
        with Program() as server, server.connect() as client:
            worker, _ = answer(client, b"hello")
            until(lambda: len(workers(server)) == 4)  # the first may answer before the last is forked
            os.kill(worker, signal.SIGKILL)
            self.assertEqual(read_to_end(client), b"")
            until(lambda: len(workers(server)) == 4 and worker not in workers(server))
            with server.connect() as other:
                self.assertEqual(answer(other, b"still here")[1], b"still here")

    def test_end(self):
        """after SIGTERM connected clients may finish, and no process is left"""
        with Program() as server, server.connect() as client:
            self.assertEqual(answer(client, b"before")[1], b"before")
            until(lambda: len(workers(server)) == 4)
            processes = workers(server)
            server.stop()
            until(lambda: len(workers(server)) == 1)
            self.assertEqual(answer(client, b"after")[1], b"after")
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(read_to_end(client), b"")
            self.assertLess(server.seconds_until_end(), 5)
            for process in processes:
                self.assertFalse(os.path.exists(f"/proc/{process}"))


if __name__ == "__main__":
    program.main()
