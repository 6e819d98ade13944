# SPDX-License-Identifier: BSL-1.0
"""heartbeat.py PROGRAM: drives samples/network/heartbeat."""

import time
import unittest

import program
from program import Program, read_to_end


class Heartbeat(unittest.TestCase):
    def test_pieces(self):
        """a message in pieces, with pauses in which limits expire, is read as it was sent"""
        with Program() as server, server.connect() as client:
            for piece in b"00", b"05he", b"llo":
                client.sendall(piece)
                time.sleep(0.7)
            received = b""
            while b"hello" not in received:
                more = client.recv(100)
                self.assertTrue(more, received)
                received += more
            self.assertGreaterEqual(received.count(b"."), 2)
            client.sendall(b"0002no0003yes")
            received = b""
            while len(received.replace(b".", b"")) < 5:
                received += client.recv(100)
            self.assertEqual(received.replace(b".", b""), b"noyes")

    def test_nonsense(self):
        """an invalid size ends the connection"""
        with Program() as server, server.connect() as client:
            client.sendall(b"size")
            self.assertEqual(read_to_end(client), b"")


if __name__ == "__main__":
    program.main()
