"""The two that play scenarios: this library, through its player, and asyncio, through the oracle."""

import json
import logging
import selectors
import subprocess
import sys
import warnings

import oracle

# What asyncio has to say of tasks that are left alone, after a circle.
logging.getLogger("asyncio").disabled = True
warnings.simplefilter("ignore", RuntimeWarning)
sys.unraisablehook = lambda _: None


class Library:
    """The player as a process that lives on from scenario to scenario. One that dies or hangs is started again."""

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
        """The line that the player prints for this line, or one that says what has become of the player."""
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
                return json.dumps({"error": f"the player has printed nothing for {self.patience} s"})
        answer = self.process.stdout.readline()
        return answer.decode() if answer.endswith(b"\n") else self.lost()

    def lost(self):
        status = self.process.wait()
        self.end()
        return json.dumps({"error": f"the player has died: exit status {status}"})


def play_on_asyncio(scenario, orders=0):
    """The trace, looked at in so many other orders of work, too; None if asyncio itself fails.

    It does in circles of gather, which it follows without end.
    """
    try:
        return oracle.run(scenario, orders)
    except (Exception, SystemExit):
        return None
