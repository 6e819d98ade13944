# SPDX-License-Identifier: BSL-1.0
"""tls_echo.py PROGRAM: drives samples/network/tls_echo through openssl and Python's TLS."""

import socket
import ssl
import subprocess
import tempfile
import time
import unittest

import program
from program import PATIENCE, Program, read_to_end, reset, until

GRACE = 2
NO_TLS = r"(a client speaks no TLS: .*\n)*"


class TlsEcho(unittest.TestCase):
    def setUp(self):
        self.certificate = tempfile.NamedTemporaryFile()
        self.server = self.enterContext(Program(self.certificate.name, expected_errors=NO_TLS))
        until(lambda: self.certificate.seek(0, 2) > 0)
        self.context = ssl.create_default_context(cafile=self.certificate.name)

    def tearDown(self):
        self.certificate.close()

    def connect(self):
        return self.context.wrap_socket(
            self.server.connect(), server_hostname="127.0.0.1", suppress_ragged_eofs=False
        )

    def openssl(self, *arguments):
        """An openssl s_client that has connected and verified the server."""
        client = subprocess.Popen(
            ["openssl", "s_client", "-connect", self.server.address, "-CAfile", self.certificate.name, "-quiet"]
            + ["-verify_return_error", "-verify_ip", "127.0.0.1", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.addCleanup(client.wait)
        self.addCleanup(client.kill)
        self.addCleanup(client.stdout.close)
        return client

    def test_openssl(self):
        """openssl trusts the certificate for this address only, and gets its lines back"""
        for version in "-tls1_3", "-tls1_2":
            client = self.openssl(version)
            for line in "hello\n", "again\n":
                client.stdin.write(line)
                client.stdin.flush()
                while (heard := client.stdout.readline()) and heard != line:
                    self.assertNotIn("error", heard)
                self.assertEqual(heard, line)
            client.stdin.close()
        mistaken = self.openssl("-verify_ip", "127.0.0.2")
        self.assertIn("IP address mismatch", mistaken.communicate(timeout=PATIENCE)[0])

    def test_good_bye(self):
        """a client that sends close_notify gets one, after all its data"""
        sent = bytes(i * i % 251 for i in range(300_000))
        with self.connect() as client:
            # Alternately, since two threads must not use one TLS connection at once.
            for begin in range(0, len(sent), 50_000):
                part = sent[begin : begin + 50_000]
                client.sendall(part)
                received = b""
                while len(received) < len(part):
                    received += client.recv(65536)
                self.assertEqual(received, part)
            client.unwrap().close()  # sends close_notify and waits for the server's

    def test_end(self):
        """a client that is connected at the end of the grace period gets close_notify, and not a broken connection"""
        with self.connect() as client:
            client.sendall(b"hello")
            self.assertEqual(client.recv(5), b"hello")
            begin = time.monotonic()
            self.server.stop()
            self.assertEqual(client.recv(5), b"")  # a broken connection would raise
            self.assertGreaterEqual(time.monotonic() - begin, GRACE)

    def test_end_without_answer(self):
        """a client that does not answer close_notify does not delay the end"""
        with self.connect() as client:
            client.sendall(b"hello")
            self.assertEqual(client.recv(5), b"hello")
            begin = time.monotonic()
            self.server.stop()
            self.server.process.wait(PATIENCE)
            self.assertGreaterEqual(time.monotonic() - begin, GRACE + 1)

    def test_no_tls(self):
        """a client without TLS, or with a broken handshake, is disconnected, and others are served"""
        with self.connect() as other:
            other.sendall(b"hello")
            self.assertEqual(other.recv(5), b"hello")
            before = self.server.descriptors()
            for text in b"GET / HTTP/1.1\r\n\r\n", bytes(1000), b"\x16\x03\x01":
                with self.server.connect() as client:
                    client.sendall(text)
                    client.shutdown(socket.SHUT_WR)
                    self.assertNotIn(b"GET", read_to_end(client))
            for end in (lambda raw: reset(raw)), (lambda raw: raw.close()):
                client = self.connect()
                client.sendall(b"hello")
                end(socket.socket(fileno=client.detach()))
            until(lambda: self.server.descriptors() == before)
            other.sendall(b"hello")
            self.assertEqual(other.recv(5), b"hello")

    def test_slow_handshake(self):
        """a client that begins no handshake is disconnected after five seconds"""
        begin = time.monotonic()
        with self.server.connect() as client:
            self.assertEqual(read_to_end(client), b"")
            self.assertGreaterEqual(time.monotonic() - begin, 5)


if __name__ == "__main__":
    program.main("openssl")
