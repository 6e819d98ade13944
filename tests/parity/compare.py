"""Plays scenarios and compares their traces with stored traces of asyncio.

compare.py PLAYER SCENARIOS EXPECTED    both as JSON Lines, in the same order
"""

import json
import subprocess
import sys

COMPARED = ("tasks", "end_ms", "deadlock")


def differ(ours, theirs):
    return "error" in ours or any(ours.get(key) != theirs.get(key) for key in COMPARED)


def lines(text):
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def main(player, scenarios, expected):
    with open(expected, encoding="utf-8") as file:
        theirs = lines(file.read())
    done = subprocess.run([player, scenarios], stdout=subprocess.PIPE, check=True, encoding="utf-8")
    ours = lines(done.stdout)
    different = len(ours) != len(theirs)
    if different:
        print(f"{len(ours)} traces instead of {len(theirs)}")
    compared = 0
    for our, their in zip(ours, theirs):
        if their.get("ambiguous"):
            continue
        compared += 1
        if differ(our, their):
            different = True
            print(f"{their['name']}\n  here:    {json.dumps(our)}\n  asyncio: {json.dumps(their)}")
    print(f"{compared} scenarios compared")
    return 1 if different or compared == 0 else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
