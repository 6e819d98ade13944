"""Plays random scenarios, or those of files, on this library and on asyncio, and compares the traces.

parity.py PLAYER [ARGUMENT…] [--seed S] [--count N] [--first I] [--files FILE…]

A scenario is ambiguous if asyncio's own trace depends on the order of work within an instant, or on a documented
difference of this library (SCENARIO.md, section 7). Ambiguous scenarios are counted, not compared. A scenario that
differs is minimized and printed with both traces.
"""

import argparse
import collections
import concurrent.futures
import itertools
import json
import os
import pathlib
import sys
import tempfile
import time

import generate
import oracle
import shrink
import sides
from compare import differ

ORDERS = 50  # the number of orders in which asyncio plays a scenario before it is reported as different
CHUNK = 250
SHOWN = 5  # this many differing scenarios are minimized and printed, the others only named


def verdict(library, scenario):
    """Returns "agree", "ambiguous", "incomparable" (asyncio itself fails) or "differ", and both traces."""
    theirs = sides.play_on_asyncio(scenario)
    ours = library.play(scenario)
    if theirs is None:
        return "incomparable", ours, theirs
    if theirs.get("ambiguous") and "error" not in ours:
        return "ambiguous", ours, theirs
    if not differ(ours, theirs):
        return "agree", ours, theirs
    theirs = sides.play_on_asyncio(scenario, ORDERS)
    ambiguous = theirs.get("ambiguous") and "error" not in ours
    return "ambiguous" if ambiguous else "differ", ours, theirs


def compare(command, scenarios):
    """Returns the number of scenarios for each verdict, and the scenarios that differ."""
    counts, different = collections.Counter(), []
    with sides.Library(command) as library:
        for scenario in scenarios:
            how, ours, _ = verdict(library, scenario)
            counts[how] += 1
            if how == "differ":
                different.append((scenario, ours.get("error")))
    return counts, different


def compare_random(command, seed, first, count):
    return compare(command, generate.scenarios(seed, first, count))


def smallest(command, scenario, error):
    """Returns the smallest variant of the scenario that differs in the same way, with both traces."""
    with sides.Library(command) as library:

        def still(smaller):
            how, ours, _ = verdict(library, smaller)
            return how == "differ" and ours.get("error") == error

        small = shrink.shrink(scenario, still)
        return small, *verdict(library, small)[1:]


def in_chunks(given):
    for first in range(given.first, given.first + given.count, CHUNK):
        yield given.seed, first, min(CHUNK, given.first + given.count - first)


def read(paths):
    return list(itertools.chain.from_iterable(map(oracle.read, paths)))


def report(given, different):
    for scenario, error in different[:SHOWN]:
        small, ours, theirs = smallest(given.player, scenario, error)
        print(f"\n{scenario['name']} differs; reduced from {shrink.size(scenario)} statements to {shrink.size(small)}:")
        print(f"  scenario: {json.dumps(small)}")
        print(f"  here:     {json.dumps(ours)}")
        print(f"  asyncio:  {json.dumps(theirs)}")
        if not given.files:
            number = scenario["name"].removeprefix(f"{given.seed}-")
            print(f"  to repeat the original: tests/parity/run --seed {given.seed} --first {number} --count 1")
        print("  to repeat this one: write the scenario to a file and pass it to tests/parity/run", flush=True)
    for scenario, _ in different[SHOWN:]:
        print(f"{scenario['name']} differs")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("player", nargs="+")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--files", nargs="*")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()

    counts, different = collections.Counter(), []
    with concurrent.futures.ProcessPoolExecutor(given.processes) as pool:
        if given.files:
            work = [pool.submit(compare, given.player, read(given.files))]
        else:
            work = [pool.submit(compare_random, given.player, *chunk) for chunk in in_chunks(given)]
        for each in work:
            some, differing = each.result()
            counts += some
            different += differing
    report(given, different)
    rest = f", {counts['incomparable']} asyncio cannot play" if counts["incomparable"] else ""
    print(f"{counts.total()} scenarios: {counts['agree']} agree, {counts['ambiguous']} ambiguous, "
          f"{counts['differ']} differ{rest}")  # fmt: skip
    return 0 if counts["agree"] and not counts["differ"] else 1


if __name__ == "__main__":
    sys.exit(main())
