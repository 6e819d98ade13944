# SPDX-License-Identifier: BSL-1.0
"""A program of samples/network as a process, for tests that drive it as its users do."""

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

PATIENCE = 20  # seconds, for waits that should be short: only a program that hangs reaches it
SKIPPED = 77  # Meson's status for a skipped test

path = None  # of the program under test


class Program:
    """The server, listening on a free port. At the end of the block it is stopped, if it still runs. It must end with
    status 0, and without unexpected output on stderr."""

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
    """Reads until the other side closes, or resets the connection."""
    received = b""
    try:
        while more := connection.recv(65536):
            received += more
    except ConnectionResetError:
        pass
    return received


def reset(connection):
    """Closes a connection so that the other side gets a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def until(condition):
    """Waits until the condition holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {PATIENCE} s")
        time.sleep(0.02)


def at_once(*functions):
    """Calls all functions, each in a thread, and returns their results."""
    results = [None] * len(functions)

    def call(i):
        try:
            results[i] = functions[i]()
        except BaseException as error:  # raised below, in the thread of the test
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
    """Runs a client program, and returns its output."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def main(*tools):
    """SCRIPT PROGRAM: runs the tests of a script. They are skipped if a tool that they need is missing."""
    global path
    path = str(pathlib.Path(sys.argv.pop(1)).resolve())
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        print("skipped, for want of", *missing)
        sys.exit(SKIPPED)
    unittest.main(module="__main__", verbosity=2)
