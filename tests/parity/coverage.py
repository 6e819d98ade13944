"""Checks that the random scenarios execute every statement often enough.

coverage.py [--seed S] [--count N]    prints in how many scenarios each statement runs, and in how many it ends with an
                                      error; fails if a number is too small
"""

import argparse
import collections
import sys

import generate
import oracle
import sides  # noqa: F401  silences asyncio's warnings

WAIT = {"sleep", "yield", "await", "shield", "wait_for_task", "gather", "wait", "as_completed", "wait_for", "event_wait",
        "cond_wait", "put", "get", "barrier"}  # fmt: skip
CAN_FAIL = WAIT | {"timeout", "timeout_at", "reschedule", "group", "start", "lock", "sem"}


def seen_in(scenario):
    """Returns the statements that are executed, and with ! those that end with an error."""
    player = oracle.Player(scenario)
    trace = player.play()
    events = (event for events in trace["tasks"].values() for _, event in events)
    return player.carried_out.keys() | {event.split("!")[0].split(":")[0] + "!" for event in events if "!" in event}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", default="1")
    parser.add_argument("--count", type=int, default=5000)
    given = parser.parse_args()
    counts, rare = collections.Counter(), 0
    for scenario in generate.scenarios(given.seed, 0, given.count):
        counts.update(seen_in(scenario))
    print("  executed / with an error")
    for op in sorted(oracle.OPS.keys() | {"return"}):
        done, failed = counts[op], counts[op + "!"]
        seldom = done < given.count / 100 or (op in CAN_FAIL and failed < given.count / 1000)
        rare += seldom
        print(f"{done:8} {failed if op in CAN_FAIL else '':8} {op}{'  too rare' if seldom else ''}")
    print(f"{given.count} scenarios, {rare} statements too rare")
    return 1 if rare else 0


if __name__ == "__main__":
    sys.exit(main())
