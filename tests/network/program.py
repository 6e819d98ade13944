# SPDX-License-Identifier: BSL-1.0
"""A sample of samples/network as a process of its own, for tests that drive it as its users do."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

PATIENCE = 20  # seconds, for what should take none: only a program that hangs comes near it
SKIPPED = 77  # as Meson has it

path = None  # of the program under test


class Program:
    """The server, listening on a free port. At the end of the block it is asked to stop, if it was not before, and must
    have ended well: with status 0, and no word on stderr but what is expected."""

    def __init__(self, *arguments, expected_errors=r""):
        self.stopped = False
        self.expected_errors = expected_errors
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [path, "0", *arguments], stdout=subprocess.PIPE, stderr=self.errors, text=True
        )
        self.port = int(re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", self.process.stdout.readline())[1])
        self.address = f"127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        if not self.stopped:
            self.stop()
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = f"none: it did not end within {PATIENCE} s"
        self.process.stdout.close()
        self.errors.seek(0)
        said = self.errors.read()
        self.errors.close()
        if error is None and (status != 0 or not re.fullmatch(self.expected_errors, said)):
            raise AssertionError(f"exit status {status}; stderr: {said or 'nothing'}")

    def stop(self, number=signal.SIGTERM):
        self.stopped = True
        self.process.send_signal(number)

    def seconds_until_end(self):
        begin = time.monotonic()
        self.process.wait(PATIENCE)
        return time.monotonic() - begin

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def read_to_end(connection):
    """All that comes until the other side closes, or resets the connection."""
    received = b""
    try:
        while more := connection.recv(65536):
            received += more
    except ConnectionResetError:
        pass
    return received


def reset(connection):
    """Closes it so that the other side gets a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def until(condition):
    """Waits until it holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {PATIENCE} s")
        time.sleep(0.02)


def at_once(*functions):
    """Calls all of them, each in a thread; what they return."""
    results = [None] * len(functions)

    def call(i):
        try:
            results[i] = functions[i]()
        except BaseException as error:  # raised below, where the test sees it
            results[i] = error

    threads = [threading.Thread(target=call, args=[i]) for i in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def run(*command, text=None):
    """What a client prints."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def main(*tools):
    """SCRIPT PROGRAM: the tests of a script. Without the tools that they need they are skipped."""
    global path
    path = str(pathlib.Path(sys.argv.pop(1)).resolve())
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        print("skipped, for want of", *missing)
        sys.exit(SKIPPED)
    unittest.main(module="__main__", verbosity=2)
