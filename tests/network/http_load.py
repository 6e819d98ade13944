# SPDX-License-Identifier: BSL-1.0
"""http_load.py PROGRAM: drives samples/network/http_server with wrk for three seconds."""

import re
import unittest

import program
from program import Program, run, until


class Load(unittest.TestCase):
    def test_load(self):
        """under load all requests are answered, and no descriptor is left afterwards"""
        with Program() as server, server.connect() as other:
            other.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            other.recv(1)
            before = server.descriptors()
            said = run("wrk", "-d", "3", "-c", "100", "-t", "1", f"http://{server.address}/")
            print(said)
            self.assertGreater(int(re.search(r"(\d+) requests in", said)[1]), 100)
            self.assertNotIn("Socket errors", said)
            self.assertNotIn("Non-2xx", said)
            until(lambda: server.descriptors() == before)


if __name__ == "__main__":
    program.main("wrk")
