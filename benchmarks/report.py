#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Runs the built benchmarks. Prints their costs as a Markdown table, compared with a floor and with Boost.Fiber, then
the rows that are above the project's targets.

benchmarks/report.py FOLDER   (benchmarks/run without arguments calls it)

All figures are medians. The figures of one row come from one run, in which the benchmarks take turns. A benchmark that is
valid only for the first run in a process (memory) gets a process for each repetition.
"""

import json
import platform
import re
import statistics
import subprocess
import sys

REPETITIONS = 9  # in one process, in random order
PROCESSES = 3

ONCE = [  # a process each
    ("parked", "our_parked/100000"), ("parked", "our_parked/1000000"), ("parked", "boost_parked/10000"),
    ("skynet", "our_skynet/1000000"), ("skynet", "boost_skynet/10000"),
    ("timers", "our_timers/100000"), ("timers", "boost_timers/10000"),
]  # fmt: skip


def run(program, *options):
    done = subprocess.run([program, *options, "--benchmark_format=json"], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)["benchmarks"]


def measure(folder):
    """Returns the medians of nanoseconds per item and of counters, by name."""
    values = {}

    def note(results, prefix=""):
        for result in results:
            if result.get("run_type") != "iteration":
                continue
            name = prefix + re.sub(r"/(iterations:\d+|real_time)", "", result["run_name"])
            values.setdefault(name, []).append(1e9 / result["items_per_second"])
            for counter in ("bytes_per_task", "peak_MiB"):
                if counter in result:
                    values.setdefault(f"{name} {counter}", []).append(result[counter])

    in_turns = [f"--benchmark_repetitions={REPETITIONS}", "--benchmark_enable_random_interleaving=true"]
    note(run(f"{folder}/engine", *in_turns, "--benchmark_min_time=0.05"))
    ours = "--benchmark_filter=our_(yield/2|spawn/1|cancel_parked)$"
    note(run(f"{folder}/engine", "--thread", *in_turns, "--benchmark_min_time=0.05", ours), "threads ")
    note(run(f"{folder}/scopes", *in_turns, "--benchmark_min_time=0.05"))
    note(run(f"{folder}/sync", *in_turns, "--benchmark_min_time=0.05"))
    note(run(f"{folder}/threads", *in_turns, "--benchmark_min_time=0.2"))
    for _ in range(PROCESSES):
        for program, name in ONCE:
            note(run(f"{folder}/{program}", f"--benchmark_filter={name}/"))
    return {name: statistics.median(list_) for name, list_ in values.items()}


def rows(m):
    """(what, unit, ours, floor or None, Boost.Fiber or None, targets), where a target is (text, upper bound for ours)."""
    one = m["our_cancel_parked"]
    cancel_floor = m["bare_throw"] + m["our_spawn/1"]
    thread = "in a program with threads: "
    return [
        ("switch, 2 tasks", "ns", m["our_yield/2"], m["bare_switch/2"], m["boost_yield/2"],
         [("1.5 × floor", 1.5 * m["bare_switch/2"]), ("Boost.Fiber / 3", m["boost_yield/2"] / 3)]),
        ("switch, 1,000 tasks", "ns", m["our_yield/1000"], m["bare_switch/1000"], m["boost_yield/1000"],
         [("2 × floor", 2 * m["bare_switch/1000"]), ("Boost.Fiber / 3", m["boost_yield/1000"] / 3)]),
        ("switch, 10,000 tasks", "ns", m["our_yield/10000"], m["bare_switch/10000"], m["boost_yield/10000"], []),
        ("spawn + get, one by one", "ns", m["our_spawn/1"], None, m["boost_spawn/1"],
         [("Boost.Fiber / 5", m["boost_spawn/1"] / 5)]),
        ("spawn + get, by the thousand", "ns", m["our_spawn/1000"], None, m["boost_spawn/1000"],
         [("Boost.Fiber / 5", m["boost_spawn/1000"] / 5)]),
        ("cancel a parked task, and join it; floor: throw/catch + spawn/get", "ns", one, cancel_floor, None,
         [("1.5 × floor", 1.5 * cancel_floor)]),
        ("cancel a task that has not started, and join it", "ns", m["our_cancel_before_start"], None, None, []),
        ("for comparison: throw/catch", "ns", m["bare_throw"], None, None, []),
        ("for comparison: throw/catch through 5 frames", "ns", m["bare_throw/5"], None, None, []),
        ("… with destructors", "ns", m["bare_throw/5_destructors"], None, None, []),
        ("100,000 parked, cancelled and joined, per task", "ns", m["our_parked/100000"], None, None, [("2,000", 2000)]),
        ("a million parked, cancelled and joined, per task; floor: one task", "ns", m["our_parked/1000000"], one, None,
         [("2 × one", 2 * one)]),
        ("resident memory per task, a million parked (Boost.Fiber: 10,000)", "B",
         m["our_parked/1000000 bytes_per_task"], None, m["boost_parked/10000 bytes_per_task"], [("5 KiB", 5120)]),
        ("skynet, per leaf of a million (Boost.Fiber: of 10,000)", "ns", m["our_skynet/1000000"], None,
         m["boost_skynet/10000"], [("250", 250)]),
        ("skynet, peak memory", "MiB", m["our_skynet/1000000 peak_MiB"], None, None, [("600", 600)]),
        ("sleep and wake, per task of 100,000 (Boost.Fiber: of 10,000)", "ns", m["our_timers/100000"], None,
         m["boost_timers/10000"], [("1,500", 1500)]),
        ("round trip between threads", "ns", m["our_round_trip"], None, m["boost_round_trip"], [("5,000", 5000)]),
        ("timeout that does not fire, around a yield; floor: the yield", "ns", m["our_timeout"], m["our_yield_alone"], None,
         [("floor + 100", m["our_yield_alone"] + 100), ("45", 45)]),
        ("group of 1,000 empty children, per child; floor: spawn + get", "ns", m["our_group"], m["our_spawn/1000"], None,
         []),
        ("gather of 10", "ns", m["our_gather"], None, None, []),
        ("group of 100,000 parked children, cancelled at once, per child", "ns", m["our_group_cancelled/100000"], None, None,
         [("2,000", 2000)]),
        ("mutex, uncontended: lock and unlock", "ns", m["our_mutex"], None, m["boost_mutex"],
         [("20", 20), ("Boost.Fiber", m["boost_mutex"])]),
        ("event: set, wait, clear", "ns", m["our_event"], None, None, [("20", 20)]),
        ("semaphore, uncontended: acquire and release", "ns", m["our_semaphore"], None, None, [("20", 20)]),
        ("queue with room: put and get", "ns", m["our_queue"], None, m["boost_queue"],
         [("2 × 20", 40), ("Boost.Fiber", m["boost_queue"])]),
        ("mutex handed off between 2 tasks, two yields each", "ns", m["our_mutex_handover/2"], None,
         m["boost_mutex_handover/2"], [("Boost.Fiber", m["boost_mutex_handover/2"])]),
        ("mutex handed off among 10 tasks, two yields each", "ns", m["our_mutex_handover/10"], None,
         m["boost_mutex_handover/10"], [("Boost.Fiber", m["boost_mutex_handover/10"])]),
        ("queue of 1, per message", "ns", m["our_messages/1"], None, m["boost_messages/2"],
         [("20", 20), ("Boost.Fiber", m["boost_messages/2"])]),
        ("queue of 128, per message", "ns", m["our_messages/128"], None, m["boost_messages/128"],
         [("6", 6), ("Boost.Fiber", m["boost_messages/128"])]),
        ("queue of 1 between two threads, per message", "ns", m["our_messages_2_threads/1"], None,
         m["boost_messages_2_threads/2"], [("Boost.Fiber", m["boost_messages_2_threads/2"])]),
        ("queue of 128 between two threads, per message", "ns", m["our_messages_2_threads/128"], None,
         m["boost_messages_2_threads/128"], [("Boost.Fiber", m["boost_messages_2_threads/128"])]),
        (thread + "switch, 2 tasks", "ns", m["threads our_yield/2"], None, None, []),
        (thread + "spawn + get", "ns", m["threads our_spawn/1"], None, None, []),
        (thread + "cancel and join", "ns", m["threads our_cancel_parked"], None, None, []),
    ]  # fmt: skip


def number(value):
    return "" if value is None else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = re.search(r"model name\s*: (.*)", file.read())
    return f"{model.group(1) if model else platform.machine()}, Linux {platform.release()}"


def main():
    measured = measure(sys.argv[1])
    print(f"{machine()}; medians; ratio: Boost.Fiber / fibers\n")
    print("| what | unit | fibers | floor | Boost.Fiber | ratio |")
    print("|---|---|---:|---:|---:|---:|")
    above = []
    for what, unit, ours, floor, peer, targets in rows(measured):
        ratio = f"{peer / ours:.1f}" if peer is not None else ""
        print("| " + " | ".join([what, unit, number(ours), number(floor), number(peer), ratio]) + " |")
        above += [f"{what}: {ours / limit:.2f} × its target ({text})" for text, limit in targets if ours > limit]
    print("\nAbove target:" if above else "\nNo row is above its target.")
    print("\n".join(above))


main()
