# SPDX-License-Identifier: BSL-1.0
"""http_client.py PROGRAM: drives samples/network/http_client against a server with failures."""

import collections
import http.server
import socket
import subprocess
import threading
import time
import unittest

import program

TIME_FOR_ALL = 10
ATTEMPTS = 3


class Answers(http.server.BaseHTTPRequestHandler):
    """/STATUS/N: this status for the first N requests, then 200. /hang: no answer. /break: half an answer."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        asked = self.server.asked
        asked[self.path] += 1
        _, what, *times = (self.path if self.path != "/" else "/200/0").split("/")
        if what == "hang":
            self.rfile.read(1)  # until the client has disconnected
        elif what == "break":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        else:
            self.send_response(int(what) if asked[self.path] <= int(times[0]) else 200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")
        self.close_connection = True

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 100


class HttpClient(unittest.TestCase):
    def setUp(self):
        self.server = Server(("127.0.0.1", 0), Answers)
        self.server.asked = collections.Counter()
        threading.Thread(target=self.server.serve_forever).start()

    def tearDown(self):
        self.server.shutdown()
        self.server.server_close()

    def fetch(self, *targets):
        """Returns the exit status, the outcome of each page, and the output on stderr."""
        urls = [target if ":" in target else f"http://127.0.0.1:{self.server.server_port}{target}" for target in targets]
        done = subprocess.run([program.path, *urls], capture_output=True, text=True, timeout=2 * program.PATIENCE)
        lines = done.stdout.splitlines()
        self.assertEqual([line.startswith(url + ": ") for url, line in zip(urls, lines, strict=True)], [True] * len(urls))
        return done.returncode, [line.removeprefix(url + ": ") for url, line in zip(urls, lines)], done.stderr

    def test_well(self):
        """many pages are fetched at once, each once"""
        targets = [f"/200/0/{number}" for number in range(50)]
        self.assertEqual(self.fetch(*targets), (0, ["200 OK, 5 bytes"] * 50, ""))
        self.assertEqual(self.server.asked, dict.fromkeys(targets, 1))

    def test_again(self):
        """a temporary failure is retried after a growing pause, a permanent one is not"""
        begin = time.monotonic()
        status, pages, said = self.fetch("/503/2", "/503/9", "/404/9", "/break")
        self.assertGreaterEqual(time.monotonic() - begin, 0.3)
        failed = "failed: Service Unavailable"
        self.assertEqual((status, pages[:3]), (1, ["200 OK, 5 bytes", failed, "404 Not Found, 5 bytes"]))
        self.assertEqual(pages[3], "failed: partial message")
        self.assertEqual(self.server.asked, {"/503/2": 3, "/503/9": ATTEMPTS, "/404/9": 1, "/break": ATTEMPTS})
        self.assertEqual(said.count("again in 100 ms\n"), 3)
        self.assertEqual(said.count("again in 200 ms\n"), 3)

    def test_nobody(self):
        """a refused connection and an invalid URL do not affect other pages"""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # does not listen
            nobody = f"http://127.0.0.1:{taken.getsockname()[1]}/"
            no_urls = "gopher:x", "http://", "http://:80/", "http://x:", "http:/x:80/", "http://#/x:80"
            status, pages, _ = self.fetch(nobody, "/200/0", "/200/0#here", *no_urls)
        self.assertEqual(status, 1)
        self.assertEqual(pages[0], "failed: Connection refused")
        self.assertEqual(pages[1:3], ["200 OK, 5 bytes"] * 2)
        for page in pages[3:]:
            self.assertIn("failed: no URL", page)
        self.assertEqual(self.server.asked, {"/200/0": 2})

    def test_no_path(self):
        """a URL without a path requests /, and a long path is sent unchanged"""
        long = "/200/" + "0" * 3000
        self.assertEqual(self.fetch(f"http://127.0.0.1:{self.server.server_port}", long)[0], 0)
        self.assertEqual(self.server.asked, {"/": 1, long: 1})

    def test_deadline(self):
        """the common deadline ends hanging requests, and pages that have arrived are shown"""
        begin = time.monotonic()
        status, pages, _ = self.fetch("/hang", "/200/0", "/hang/2")
        self.assertEqual((status, pages[1]), (1, "200 OK, 5 bytes"))
        for page in pages[0], pages[2]:
            self.assertIn("failed: timed out", page)
        self.assertGreaterEqual(time.monotonic() - begin, 9)

    def test_usage(self):
        """without a URL it prints its usage"""
        done = subprocess.run([program.path], capture_output=True, text=True, timeout=program.PATIENCE)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("usage:", done.stderr)


if __name__ == "__main__":
    program.main()
