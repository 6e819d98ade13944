# SPDX-License-Identifier: BSL-1.0
"""tls_echo.py PROGRAM: drives samples/network/tls_echo by openssl and by Python's TLS."""

import socket
import ssl
import subprocess
import tempfile
import time
import unittest

import program
from program import PATIENCE, Program, at_once, read_to_end, reset, until

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
        """openssl s_client, connected and sure that the server is the right one."""
        client = subprocess.Popen(
            ["openssl", "s_client", "-connect", self.server.address, "-CAfile", self.certificate.name, "-quiet"]
            + ["-verify_return_error", "-verify_ip", "127.0.0.1", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.addCleanup(client.wait)
        self.addCleanup(client.kill)
        self.addCleanup(client.stdout.close)
        return client
