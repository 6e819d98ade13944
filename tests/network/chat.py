# SPDX-License-Identifier: BSL-1.0
"""chat.py PROGRAM: drives samples/network/chat through plain sockets."""

import socket
import unittest

import program
from program import PATIENCE, Program, at_once, read_to_end, reset, until


class Guest:
    """A client that reads line by line."""

    def __init__(self, server, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", server.port))
        self.file = self.socket.makefile("rb")
        self.name = self.hear().removesuffix(" has come")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def say(self, line):
        self.socket.sendall(line.encode() + b"\n")

    def hear(self):
        """Returns the next line; None at the end."""
        line = self.file.readline().decode()
        return line.removesuffix("\n") if line else None

    def hear_of(self, what):
        """Skips lines up to one that ends with this text, and returns it."""
        while (line := self.hear()) is not None:
            if line.endswith(what):
                return line
        raise AssertionError(f"the end came before '{what}'")


class Chat(unittest.TestCase):
    def test_talk(self):
        """a line goes to all other clients, in order, as do joins and leaves"""
        with Program() as server, Guest(server) as first:
            with Guest(server) as second, Guest(server) as third:
                self.assertEqual([first.name, second.name, third.name], ["guest 1", "guest 2", "guest 3"])
                self.assertEqual([first.hear(), first.hear()], ["guest 2 has come", "guest 3 has come"])
                for line in "a", "b", "", "ü" * 400:
                    first.say(line)
                third.hear_of(": a")
                self.assertEqual([third.hear() for _ in range(3)], [f"guest 1: {x}" for x in ("b", "", "ü" * 400)])
                second.say("c")
                self.assertEqual(first.hear(), "guest 2: c")
                third.say("/quit")
                self.assertEqual(first.hear(), "guest 3 has left")
                self.assertEqual(third.hear_of(": c"), "guest 2: c")
                self.assertIsNone(third.hear())
            self.assertEqual(first.hear(), "guest 2 has left")

    def test_slow(self):
        """a client that does not read stalls no other, is disconnected, and gets the reason if it reads again soon"""
        with Program() as server, Guest(server) as talker, Guest(server) as listener:
            with Guest(server, receive_buffer=4096) as slow:
                talker.hear_of(slow.name + " has come")
                listener.hear_of(slow.name + " has come")
                for number in range(10_000):
                    line = f"{number} " + "x" * 900
                    talker.say(line)
                    heard = listener.hear()
                    if heard == slow.name + " has left":
                        break
                    self.assertEqual(heard, f"{talker.name}: {line}")
                self.assertGreater(number, 100)
                self.assertLess(number, 10_000 - 1)
                self.assertEqual(listener.hear(), f"{talker.name}: {line}")
                slow.hear_of("You do not listen. Good bye.")
                self.assertIsNone(slow.hear())

    def test_flood(self):
        """a client that sends as fast as it can does not starve the others"""
        with Program() as server, Guest(server) as talker, Guest(server) as one, Guest(server) as other:
            lines = [f"{number} the same again" for number in range(20_000)]

            def listen(guest):
                guest.hear_of(": " + lines[0])
                return all(guest.hear() == f"{talker.name}: {line}" for line in lines[1:])

            talk = lambda: talker.socket.sendall("".join(line + "\n" for line in lines).encode())
            self.assertEqual(at_once(talk, lambda: listen(one), lambda: listen(other))[1:], [True, True])

    def test_long_line(self):
        """a client that sends a line that is too long is disconnected, and gets the reason"""
        with Program() as server, Guest(server) as long, Guest(server) as other:
            long.hear_of("has come")
            long.socket.sendall(b"x" * 100_000)
            self.assertEqual(long.hear_of("Good bye."), "This line is too long. Good bye.")
            self.assertIsNone(long.hear())
            long.socket.close()
            self.assertEqual(other.hear(), long.name + " has left")

    def test_reset(self):
        """clients that reset their connection, or send zeros, leave nothing behind"""
        with Program() as server, Guest(server) as other:
            before = server.descriptors()
            for text in b"", b"half a line", b"a line\n", bytes(999) + b"\n", bytes(100_000):
                client = server.connect()
                client.recv(1)
                client.sendall(text)
                reset(client)
            for _ in range(5):
                other.hear_of("has left")
            until(lambda: server.descriptors() == before)

    def test_end(self):
        """at shutdown all clients get the pending lines and a notice, and the server ends"""
        with Program() as server, Guest(server) as one, Guest(server) as other:
            one.hear_of("has come")
            one.say("last words")
            other.hear_of("last words")
            server.stop()
            self.assertEqual(other.hear(), "The server ends. Good bye.")
            self.assertIsNone(other.hear())
            self.assertEqual(one.hear(), "The server ends. Good bye.")
            self.assertEqual(read_to_end(one.socket), b"")


if __name__ == "__main__":
    program.main()
