# SPDX-License-Identifier: BSL-1.0
"""tcp_echo.py PROGRAM: drives samples/network/tcp_echo through plain sockets and nc."""

import shutil
import signal
import socket
import subprocess
import time
import unittest

import program
from program import PATIENCE, Program, at_once, read_to_end, reset, run, until

GRACE = 5


def echoed(client, text):
    """Returns whether the server echoes a message."""
    client.sendall(text)
    return client.recv(len(text), socket.MSG_WAITALL) == text


class TcpEcho(unittest.TestCase):
    def test_echo(self):
        """data is echoed, also while much is under way in both directions"""
        sent = bytes(i * i % 251 for i in range(1_000_000))
        with Program() as server, server.connect() as client:

            def send():
                client.sendall(sent)
                client.shutdown(socket.SHUT_WR)

            _, received = at_once(send, lambda: read_to_end(client))
            self.assertEqual(received, sent)

    @unittest.skipUnless(shutil.which("nc"), "there is no nc")
    def test_nc(self):
        """nc gets its lines back"""
        with Program() as server:
            self.assertEqual(run("nc", "-N", "127.0.0.1", str(server.port), text="hello\nagain\n"), "hello\nagain\n")

    def test_many(self):
        """fifty concurrent clients get their own data, and leave no descriptor behind"""
        with Program() as server, server.connect() as other:
            self.assertTrue(echoed(other, b"first"))
            before = server.descriptors()

            def talk(number):
                with server.connect() as client:
                    return all(echoed(client, b"client %d, line %d" % (number, line)) for line in range(20))

            self.assertTrue(all(at_once(*[lambda number=number: talk(number) for number in range(50)])))
            until(lambda: server.descriptors() == before)

    def test_reset(self):
        """a client that resets its connection does not affect the others"""
        with Program() as server, server.connect() as other:
            self.assertTrue(echoed(other, b"first"))
            before = server.descriptors()
            for _ in range(10):
                client = server.connect()
                self.assertTrue(echoed(client, b"hello"))
                reset(client)
            until(lambda: server.descriptors() == before)
            self.assertTrue(echoed(other, b"still here"))

    def test_reader_who_does_not_read(self):
        """a client that does not read its echo blocks only itself"""
        with Program() as server, server.connect() as stuck, server.connect() as other:
            stuck.settimeout(1)
            with self.assertRaises(TimeoutError):
                stuck.sendall(bytes(100_000_000))
            self.assertTrue(echoed(other, b"still here"))

    def test_grace(self):
        """after SIGTERM no new connection is accepted, and open ones may finish"""
        with Program() as server, server.connect() as client:
            self.assertTrue(echoed(client, b"before"))
            server.stop()
            until(lambda: self.is_refused(server))
            client.sendall(b"after")
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(read_to_end(client), b"after")
            self.assertLess(server.seconds_until_end(), GRACE)

    def test_end_of_grace(self):
        """a client that does not finish in the grace period is disconnected"""
        with Program() as server, server.connect() as client:
            self.assertTrue(echoed(client, b"before"))
            begin = time.monotonic()
            server.stop(signal.SIGINT)
            self.assertEqual(read_to_end(client), b"")
            self.assertGreaterEqual(time.monotonic() - begin, GRACE)

    def test_second_signal(self):
        """a second Ctrl-C ends it at once"""
        server = Program()
        with server.connect() as client:
            server.stop(signal.SIGINT)
            until(lambda: self.is_refused(server))
            server.stop(signal.SIGINT)
            self.assertEqual(server.process.wait(PATIENCE), -signal.SIGINT)
            self.assertEqual(read_to_end(client), b"")
        server.process.stdout.close()
        server.errors.close()

    def test_misuse(self):
        """it reports a missing port, and one that is in use"""
        for arguments in [], ["99999"], ["80x"], ["-1"]:
            done = subprocess.run([program.path, *arguments], capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual(done.returncode, 2)
            self.assertIn("usage:", done.stderr)
        with Program() as server:
            done = subprocess.run([program.path, str(server.port)], capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual(done.returncode, 1)
            self.assertIn("Address already in use", done.stderr)

    @staticmethod
    def is_refused(server):
        try:
            server.connect().close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:  # the server was just closing it
            pass
        return False


if __name__ == "__main__":
    program.main()
