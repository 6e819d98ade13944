# SPDX-License-Identifier: BSL-1.0
"""http_server.py PROGRAM [CLASS]: drives samples/network/http_server through plain sockets, as a misbehaving client."""

import re
import signal
import socket
import threading
import time
import unittest

import program
from program import Program, at_once, read_to_end, reset, until

TIME_BETWEEN_REQUESTS = 10
TIME_FOR_REQUEST = 5
GRACE = 8

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"


def post(body, length=None):
    length = len(body) if length is None else length
    return b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (length, body)


def one_answer(connection):
    """Returns the status, the header and the body of the next answer."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            raise AssertionError(f"the connection ended after {head}")
        head += byte
    length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
    return int(head.split()[1]), head, connection.recv(length, socket.MSG_WAITALL) if length else b""


def ask(server, request):
    """Sends this on a new connection, which the server closes. Returns the status of the last answer, or 0."""
    with server.connect() as client:
        try:
            client.sendall(request)
        except (ConnectionResetError, BrokenPipeError):
            pass  # the server has closed the connection early
        answers = re.findall(rb"HTTP/1\.[01] (\d+)", read_to_end(client))
        return int(answers[-1]) if answers else 0


def under_way(server):
    """Returns the numbers of connections and of requests under way, without this one."""
    with server.connect() as client:
        client.sendall(GET)
        page = one_answer(client)[2].decode()
    return [int(re.search(rf"<td>{what}<td>(\d+)", page)[1]) - 1 for what in ("connections", "requests")]


class Requests(unittest.TestCase):
    def test_keep_alive(self):
        """a connection serves sequential and pipelined requests"""
        with Program() as server, server.connect() as client:
            for number in range(3):
                client.sendall(post(b"%d" % number))
                self.assertEqual(one_answer(client)[2], b"%d" % number)
            client.sendall(post(b"a") + post(b"b") + GET + post(b"c"))
            self.assertEqual([one_answer(client)[2][:1] for _ in range(4)], [b"a", b"b", b"<", b"c"])

    def test_versions(self):
        """the connection is closed for HTTP/1.0, and on request"""
        with Program() as server:
            self.assertEqual(ask(server, b"GET / HTTP/1.0\r\n\r\n"), 200)
            self.assertEqual(ask(server, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 200)

    def test_pieces(self):
        """a request may arrive byte by byte, and in chunks"""
        request = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
        with Program() as server, server.connect() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for i in range(len(request)):
                client.sendall(request[i : i + 1])
            self.assertEqual(one_answer(client)[2], b"hello world")

    def test_half_open(self):
        """a client that closes its sending side after a request gets the answer; within a request, the end"""
        with Program() as server:
            for request, status in (GET, b"200"), (SLOW, b"200"), (GET[:-2], None), (post(b"abc", 5), None), (b"", None):
                with server.connect() as client:
                    client.sendall(request)
                    client.shutdown(socket.SHUT_WR)
                    answer = read_to_end(client)
                    self.assertEqual(answer.split()[1] if answer else None, status, request)


class BadClients(unittest.TestCase):
    def test_garbage(self):
        """garbage gets a 4xx and the end of the connection, and other clients are served meanwhile"""
        garbage = {
            b"nonsense\r\n\r\n": 400,
            b"\r\n\r\n\r\n": 400,
            bytes(range(256)): 400,
            bytes(10_000): 400,
            b"GET / HTTP/9.9\r\n\r\n": 400,
            b"GET / HTTP/1.1\r\n\r\n": 400,  # no host
            b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n": 400,
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n": 400,
            b"POST /echo HTTP/1.1\r\nContent-Length: many\r\n\r\n": 400,
            b"POST /echo HTTP/1.1\r\nContent-Length: -1\r\n\r\n": 400,
            b"POST /echo HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n": 400,
            b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n": 400,
            b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": 400,
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500): 400,  # TLS
            b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n": 431,
            b"GET / HTTP/1.1\r\nx: " + b"x" * 100_000 + b"\r\n\r\n": 431,
            b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 100_000 + b"\r\n\r\n": 431,
            post(b"", 10**7): 413,
            post(b"", 10**19): 413,
            post(bytes(3 * 2**20)): 413,
            b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"10000\r\n" + bytes(65536) + b"\r\n") * 20: 413,
            b"GET /nothing HTTP/1.0\r\n\r\n": 404,
            b"DELETE / HTTP/1.0\r\n\r\n": 405,
            b"GET /echo HTTP/1.0\r\n\r\n": 405,
        }
        served = []
        with Program() as server, server.connect() as other:
            stop = threading.Event()

            def be_served():
                while not stop.is_set():
                    other.sendall(GET)
                    served.append(one_answer(other)[0])

            good = threading.Thread(target=be_served)
            good.start()
            try:
                for sent, status in garbage.items():
                    self.assertEqual(ask(server, sent), status, sent[:80])
                at_once(*[lambda sent=sent: ask(server, sent) for sent in garbage])
            finally:
                stop.set()
                good.join()
            self.assertEqual(set(served), {200})

    def test_too_slow(self):
        """a byte a second gets 408; an idle client is disconnected later; other clients are served meanwhile"""
        with Program() as server:

            def byte_by_byte():
                begin = time.monotonic()
                with server.connect() as client:
                    client.settimeout(1)
                    for i in range(10**6):
                        client.sendall(b"%c" % GET[min(i, 10)])
                        try:
                            return client.recv(100).split()[1], time.monotonic() - begin
                        except TimeoutError:
                            pass

            def nothing():
                begin = time.monotonic()
                with server.connect() as client:
                    return read_to_end(client), time.monotonic() - begin

            def quick():
                return [(time.sleep(0.5), ask(server, b"GET / HTTP/1.0\r\n\r\n"))[1] for _ in range(8)]

            (status, slow), (answer, idle), served = at_once(byte_by_byte, nothing, quick)
            self.assertEqual((status, answer, set(served)), (b"408", b"", {200}))
            self.assertGreaterEqual(slow, TIME_FOR_REQUEST)
            self.assertGreaterEqual(idle, TIME_BETWEEN_REQUESTS)

    def test_does_not_read(self):
        """a client that does not read its answer is disconnected, and others are served meanwhile"""
        request = post(bytes(2**20))
        with Program() as server, server.connect() as stuck:
            stuck.settimeout(1)
            with self.assertRaises(TimeoutError):
                for _ in range(100):
                    stuck.sendall(request)
            self.assertEqual(under_way(server)[0], 1)
            until(lambda: under_way(server)[0] == 0)

    def test_reset(self):
        """a reset before, within or after a request leaves nothing behind"""
        with Program() as server, server.connect() as other:
            other.sendall(GET)
            one_answer(other)
            before = server.descriptors()
            for request in b"", GET[:7], GET, SLOW, post(b"abc", 5), post(bytes(2**20)), GET * 100:
                for _ in range(5):
                    client = server.connect()
                    client.sendall(request)
                    reset(client)
            until(lambda: under_way(server) == [1, 0])
            until(lambda: server.descriptors() == before)


class End(unittest.TestCase):
    def check(self, number):
        with Program() as server, server.connect() as idle, server.connect() as half:
            idle.sendall(GET)
            one_answer(idle)
            half.sendall(GET[:7])
            begin = time.monotonic()

            def slow():
                with server.connect() as client:
                    client.sendall(SLOW + SLOW)  # the second request is too late
                    return read_to_end(client)

            def stop():
                until(lambda: under_way(server)[1] == 6)  # five, and the incomplete one
                server.stop(number)
                self.assertEqual(read_to_end(idle), b"")
                half.sendall(GET[7:])
                return read_to_end(half)

            *slow_ones, last = at_once(*[slow] * 5, stop)
            for answer in *slow_ones, last:
                self.assertEqual(answer.count(b"HTTP/1.1 200"), 1)
                self.assertIn(b"\r\nConnection: close\r\n", answer)
            self.assertEqual(len({bytes(answer) for answer in slow_ones}), 1)
            server.seconds_until_end()
            self.assertLess(time.monotonic() - begin, GRACE)
            with self.assertRaises(ConnectionRefusedError):
                server.connect()

    def test_sigterm(self):
        """after SIGTERM requests under way are answered, idle connections end, and no new one is accepted"""
        self.check(signal.SIGTERM)

    def test_sigint(self):
        """SIGINT shuts it down in the same way"""
        self.check(signal.SIGINT)


if __name__ == "__main__":
    program.main()
