"""The two sides that play scenarios: this library, through its player, and asyncio, through the oracle."""

import json
import logging
import selectors
import subprocess
import sys
import warnings

import oracle

# Silences asyncio's reports on tasks that were abandoned after a cycle.
logging.getLogger("asyncio").disabled = True
warnings.simplefilter("ignore", RuntimeWarning)
sys.unraisablehook = lambda _: None


class Library:
    """The player as a process that plays many scenarios. It is restarted when it dies or hangs."""

    def __init__(self, command, patience=60):
        self.command = command
        self.patience = patience  # seconds for one scenario
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def play(self, scenario):
        return json.loads(self.answer(json.dumps(scenario)))

    def answer(self, line):
        """Returns the player's answer to this line, or a line with the error if the player dies or hangs."""
        if self.process is None:
            self.process = subprocess.Popen([*self.command, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return self.lost()
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(self.patience):
                self.end()
                return json.dumps({"error": f"no answer from the player within {self.patience} s"})
        answer = self.process.stdout.readline()
        return answer.decode() if answer.endswith(b"\n") else self.lost()

    def lost(self):
        status = self.process.wait()
        self.end()
        return json.dumps({"error": f"the player has ended with exit status {status}"})


def play_on_asyncio(scenario, orders=0):
    """Returns the trace, checked in this many other orders of work; None if asyncio itself fails.

    asyncio fails in cycles of gather, which it follows without end.
    """
    try:
        return oracle.run(scenario, orders)
    except (Exception, SystemExit):
        return None
