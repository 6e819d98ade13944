# SPDX-License-Identifier: BSL-1.0
"""http_curl.py PROGRAM: drives samples/network/http_server through curl."""

import time
import unittest

import program
from program import PATIENCE, Program, run


def curl(*arguments, text=None):
    return run("curl", "--silent", "--show-error", "--max-time", str(PATIENCE), *arguments, text=text)


class Curl(unittest.TestCase):
    def test_get(self):
        """curl gets the page, or only its header"""
        with Program() as server:
            page = curl(server.address)
            self.assertIn("<td>requests<td>1<td>1\n", page)
            head = curl("--head", server.address)
            self.assertIn("HTTP/1.1 200 OK", head)
            self.assertIn(f"Content-Length: {len(page)}", head)
            self.assertEqual(curl("--http1.0", "-o", "/dev/null", "-w", "%{http_code}", server.address), "200")

    def test_keep_alive(self):
        """curl reuses its connection after each kind of answer that leaves it open"""
        with Program() as server:
            urls = [f"{server.address}/{name}" for name in ("", "echo", "nothing", "")]
            said = curl(*urls, *["-o", "/dev/null"] * 4, "-w", "%{http_code} %{num_connects}\n")
            self.assertEqual(said, "200 1\n405 0\n404 0\n200 0\n")
            said = curl("--head", *urls[:2], *["-o", "/dev/null"] * 2, "-w", "%{http_code} %{num_connects}\n")
            self.assertEqual(said, "200 1\n405 0\n")

    def test_post(self):
        """a posted body of any allowed size is returned with its type; a larger one gets 413"""
        limit = 1024 * 1024
        with Program() as server:
            for size in 0, 1, 1000, 100_000, limit:
                text = "".join(chr(32 + i % 90) for i in range(size))
                echo = curl("--data-binary", "@-", f"{server.address}/echo", text=text)
                self.assertEqual(echo, text)
            echo = curl("-H", "Content-Type: text/x", "-d", "y", "-w", "%{content_type}", f"{server.address}/echo")
            self.assertEqual(echo, "ytext/x")
            for size in limit + 1, 5 * limit:
                said = curl("--data-binary", "@-", "-w", "%{http_code}", f"{server.address}/echo", text="x" * size)
                self.assertEqual(said, "Payload Too Large\n413")

    def test_expect(self):
        """a client that expects 100-continue gets it at once"""
        with Program() as server:
            url = f"{server.address}/echo"
            said = curl("-i", "-H", "Expect: 100-continue", "--expect100-timeout", str(PATIENCE), "-d", "x", url)
            self.assertTrue(said.startswith("HTTP/1.1 100 Continue\n"), said)
            self.assertTrue(said.endswith("\n\nx"), said)

    def test_at_once(self):
        """twenty concurrent slow requests do not wait for each other"""
        with Program() as server:
            begin = time.monotonic()
            said = curl("--parallel", "--parallel-immediate", f"{server.address}/slow#[1-20]")
            self.assertEqual(said, "That took two seconds.\n" * 20)
            self.assertLess(time.monotonic() - begin, 20)  # sequentially: 40


if __name__ == "__main__":
    program.main("curl")
