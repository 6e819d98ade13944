"""Fuzzes the player with invalid scenarios: it must answer each line with one line, and must not crash.

fuzz.py PLAYER [--seed S] [--count N]

Scenarios are mutated: values of other types, unknown statements, huge numbers, moved and repeated statements, deep
nesting, truncated text. A mutant that is valid is played, and must give asyncio's trace unless that is ambiguous. The
answer to an invalid one has an "error".
"""

import argparse
import copy
import json
import random
import sys

import generate
import parity
import shrink
import sides

ODD_VALUES = [
    None, True, False, 0, -1, 1, 2.5, 1e300, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30, "", "A", "main",
    "no such", "\u0000", "\u20ac", "\U0001f600", "x" * 5000, [], {}, [[]], [[[]]], {"any": []}, ["sleep"], ["sleep", "long"],
    ["sleep", 2**62], ["sleep", -5], ["loop", 10**12, []], ["loop", 10**9, [["spawn", "w", []]]], ["loop", -1, [["yield"]]],
    ["reraise"], ["reschedule", 3], ["start", "w", []], ["cond_wait", "A"], ["cond_notify", "A", -1], ["fly"],
    ["await", "main"], ["gather", ["main", "main"]], ["cancel", "main"], ["return", {}], ["spawn", "main", [["await", "main"]]],
    ["loop", 10**9, [["sleep", 10**11]]], ["try", [["raise", "E1"]], {"else": []}], ["lock", "A", [["lock", "A", []]]],
]  # fmt: skip
LINES = ["{", "}", "null", "[]", "[1,2]", '"x"', "17", '{"name":"x"}', '{"name":1,"main":[]}', '{"main":[]}', "nonsense",
         '{"name":"x","main":[["sleep",1]]} trailing', "\ufeff{}", "[" * 100000, '{"name":' * 5000, "\\u0000", '"\\ud800"',
         "-", "1e999", "\x01"]  # fmt: skip


def places_in(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield from places_in(each, (*path, key))


def changed(rng, scenario):
    """Returns the scenario with one to three changes."""
    scenario = copy.deepcopy(scenario)
    for _ in range(rng.randint(1, 3)):
        paths = [path for path in places_in(scenario) if path]
        *way, last = rng.choice(paths)
        holder = scenario
        for step in way:
            holder = holder[step]
        match rng.randrange(6):
            case 0:
                del holder[last]
            case 1 if isinstance(holder, list):
                holder.insert(last, copy.deepcopy(rng.choice(ODD_VALUES)))
            case 2 if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[last]))
            case 3 if isinstance(holder, list):
                rng.shuffle(holder)
            case 4 if isinstance(holder[last], int):
                holder[last] = rng.choice([-5, 0, 1, 2, 10, 1000, 10**6, 10**9])
            case _:
                holder[last] = copy.deepcopy(rng.choice(ODD_VALUES))
        if not scenario:
            break
    return scenario


def nested(kind, depth):
    body = [["sleep", 1]]
    for _ in range(depth):
        body = [{"try": ["try", body, {"finally": []}], "handler": ["try", [["raise", "E1"]], {"any": body}],
                 "group": ["group", body], "spawn": ["spawn", "t", body], "timeout": ["timeout", 99, body]}[kind]]
    return {"name": f"{depth} {kind}", "main": body}


def lines(seed, count):
    rng = random.Random(seed)
    yield from LINES
    for kind in ("try", "handler", "group", "spawn", "timeout"):
        for depth in (10, 100, 900, 5000):
            sys.setrecursionlimit(100000)
            yield json.dumps(nested(kind, depth))
    for number, scenario in enumerate(generate.scenarios(seed, 0, count)):
        text = json.dumps(changed(rng, scenario))
        if number % 10 == 0:
            text = text[: rng.randrange(len(text))]
        elif number % 10 == 1:
            at = rng.randrange(len(text))
            text = text[:at] + rng.choice('{}[]",:\\0x') + text[at + 1 :]
        yield text


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("player")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--count", type=int, default=2000)
    given = parser.parse_args()
    played = compared = refused = bad = 0
    with sides.Library([given.player]) as library:
        for line in lines(given.seed, given.count):
            if not line.strip():
                continue
            answer = json.loads(library.answer(line))
            if library.process is None or not ("error" in answer or {"name", "tasks", "end_ms"} <= answer.keys()):
                bad += 1
                print(f"{line[:2000]}\n  is answered by {json.dumps(answer)[:500]}")
            elif "error" in answer:
                refused += 1
            else:
                played += 1
                scenario = json.loads(line)
                if shrink.size(scenario) < 200 and not shrink.in_circles(scenario):
                    how, ours, theirs = parity.verdict(library, scenario)
                    compared += how == "agree"
                    if how == "differ":
                        bad += 1
                        print(f"{line}\n  is played as {json.dumps(ours)}\n  and by asyncio {json.dumps(theirs)}")
        # The player must still work after all mutants.
        last = library.play({"name": "last", "main": [["sleep", 5]]})
        if last.get("end_ms") != 5:
            bad += 1
            print(f"the player does not work after the mutants: {last}")
    print(f"{played} played, {compared} of them compared with asyncio, {refused} rejected, {bad} faults")
    return 0 if compared and refused and not bad else 1


if __name__ == "__main__":
    sys.exit(main())
