"""Checks that the comparison detects a wrong player, and minimizes the scenario that shows the fault.

wrong_test.py PLAYER            the test
wrong_test.py PLAYER HOW -      plays like PLAYER, but with the fault HOW, one of WRONG
"""

import json
import subprocess
import sys

import generate
import parity
import shrink


def ops(scenario):
    return {statement[0] for _, body in shrink.bodies_in(scenario["main"], ("main",)) for statement in body}


def late_with_shield(scenario, trace):
    """A scenario with a shield ends a millisecond too late."""
    if "shield" in ops(scenario):
        trace["end_ms"] += 1
    return trace


def deaf_at_barrier(scenario, trace):
    """A cancellation that meets a barrier is lost."""
    for events in trace["tasks"].values():
        events[:] = [each for each in events if not each[1].startswith("barrier:A!cancelled")]
    return trace


def dies_of_gather(scenario, trace):
    if "gather" in ops(scenario):
        sys.exit(3)
    return trace


def refuses_reschedule(scenario, trace):
    return {"name": scenario["name"], "error": "no idea"} if "reschedule" in ops(scenario) else trace


# Each fault, with the number of statements of the smallest scenario that shows it.
WRONG = {late_with_shield: 1, deaf_at_barrier: 2, dies_of_gather: 1, refuses_reschedule: 2}


def play(player, how):
    wrong = next(each for each in WRONG if each.__name__ == how)
    with subprocess.Popen([player, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8") as process:
        for line in sys.stdin:
            process.stdin.write(line)
            process.stdin.flush()
            trace = json.loads(process.stdout.readline())
            print(json.dumps(trace if "error" in trace else wrong(json.loads(line), trace)), flush=True)


def main(player):
    failed = 0
    for wrong, least in WRONG.items():
        command = [sys.executable, __file__, player, wrong.__name__]
        counts, different = parity.compare(command, generate.scenarios("wrong", 0, 100))
        if not different:
            print(f"{wrong.__name__}: not found among {counts.total()} scenarios")
            failed += 1
            continue
        small, _, _ = parity.smallest(command, *different[0])
        good = shrink.size(small) <= least
        failed += not good
        print(f"{wrong.__name__}: {counts['differ']} of {counts.total()} differ; the first one reduced from "
              f"{shrink.size(different[0][0])} statements to {shrink.size(small)}{'' if good else ', which is too many'}: "
              f"{json.dumps(small)}")  # fmt: skip
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(play(*sys.argv[1:3]) if sys.argv[-1] == "-" else main(*sys.argv[1:]))
