"""Random scenarios for the player: small concurrent programs in which the order within one instant rarely matters.

generate.py --seed S --count N    prints N scenarios, a line each; the same for the same seed
"""

import argparse
import json
import random

ERRORS = ["E1", "E2", "E3"]
MESSAGES = [None, "one", "two", "three"]


class Generator:
    """One scenario. Every sleep and limit has a length of its own, and a sleep stands before what touches others."""

    def __init__(self, rng):
        self.rng = rng
        self.lengths = list(range(1, 400, 2))
        rng.shuffle(self.lengths)
        self.names = []  # of all tasks, in the order in which they are written
        self.budget = rng.randint(8, 45)  # statements

    def length(self, most=400):
        for i, length in enumerate(self.lengths):
            if length <= most:
                return self.lengths.pop(i)
        return self.rng.randrange(401, 9999, 2)

    def sleep(self):
        return ["sleep", self.length()]

    def name(self):
        if self.names and self.rng.random() < 0.05:
            return self.rng.choice(self.names)
        name = "t" + str(len(self.names) + 1)
        self.names.append(name)
        return name

    def body(self, depth, around):
        statements = []
        for _ in range(self.rng.randint(1, 4 if depth else 6)):
            if self.budget <= 0:
                break
            statements += self.statement(depth, around)
        return statements or [self.sleep()]

    def statement(self, depth, around):
        self.budget -= 1
        choices = [(self.plain, 8), (self.touch, 8 if self.names else 0), (self.scope, 6 if depth < 4 else 0),
                   (self.new_task, 7 if len(self.names) < 6 and depth < 4 else 1), (self.shared, 5), (self.leave, 1)]
        make = self.rng.choices([c for c, _ in choices], [w for _, w in choices])[0]
        return make(depth, around)

    def plain(self, depth, around):
        kind = self.rng.choice(["sleep", "sleep", "sleep", "log", "cancelling", "uncancel", "cancel_self", "yield"])
        if kind == "sleep":
            return [self.sleep()]
        if kind == "log":
            return [["log", "x" + str(self.rng.randint(1, 9))]]
        if kind == "cancel_self":
            return [["cancel_self"], self.sleep()]
        return [[kind]]

    def touch(self, depth, around):
        name = self.rng.choice(self.names)
        others = [n for n in self.names if n not in around["above"]]
        some = self.rng.sample(others, min(len(others), self.rng.randint(1, 3)))
        limit = self.length() if self.rng.random() < 0.7 else self.rng.choice([None, 0, -5])
        kinds = ["cancel", "cancel", "cancel", "to_result"]
        if others:
            kinds += ["await", "await", "shield", "wait_for_task", "gather", "wait", "as_completed"]
        kind = self.rng.choice(kinds)
        if kind == "cancel":
            message = self.rng.choice(MESSAGES)
            return [self.sleep(), ["cancel", name] + ([message] if message else [])]
        if kind == "to_result":
            return [self.sleep(), ["to_result", name]]
        if kind == "wait_for_task":
            return [self.sleep(), [kind, limit, some[0]]]
        if kind == "gather":
            return [self.sleep(), [kind, some, self.rng.random() < 0.5]]
        if kind == "wait":
            mode = self.rng.choice(["all", "first_completed", "first_exception"])
            return [self.sleep(), [kind, some, mode, limit if self.rng.random() < 0.5 else None]]
        if kind == "as_completed":
            return [self.sleep(), [kind, some]]
        return [self.sleep(), [kind, some[0]]]

    def scope(self, depth, around):
        kind = self.rng.choice(["try", "try", "try", "timeout", "timeout", "timeout_at", "wait_for", "group", "group", "loop"])
        if kind == "try":
            clauses = {}
            for clause in self.rng.sample(["cancelled", "error", "timeout", "group", "any", "finally"], self.rng.randint(1, 3)):
                inside = dict(around, returns=around["returns"] and clause != "finally")
                clauses[clause] = self.body(depth + 1, inside)
                if clause != "finally" and self.rng.random() < 0.5:
                    clauses[clause].append(["reraise"])
            return [["try", self.body(depth + 1, around), clauses]]
        if kind in ("timeout", "timeout_at"):
            limit = self.rng.choice([None, 0, -3]) if self.rng.random() < 0.15 else self.length(200)
            inside = self.body(depth + 1, around)
            if self.rng.random() < 0.2:
                inside.insert(self.rng.randint(0, len(inside)), ["reschedule", self.rng.choice([self.length(100), None])])
            return [[kind, limit, inside]]
        if kind == "wait_for":
            limit = self.rng.choice([None, 0]) if self.rng.random() < 0.15 else self.length(200)
            return [["wait_for", limit, self.body(depth + 1, around)]]
        if kind == "group":
            return [["group", self.body(depth + 1, dict(around, group=True))]]
        return [["loop", self.rng.randint(2, 3), self.body(depth + 1, around)]]

    def new_task(self, depth, around):
        name = self.name()
        inside = {"group": around["group"], "above": around["above"] + [name], "returns": True}
        if around["group"] and self.rng.random() < 0.8:
            return [["start", name, self.body(depth + 1, inside)]]
        return [["spawn", name, self.body(depth + 1, dict(inside, group=False))]]

    def shared(self, depth, around):
        kind = self.rng.choice(["lock", "lock", "sem", "event", "cond", "queue", "queue", "barrier"])
        which = self.rng.choice("AB")
        if kind in ("lock", "sem"):
            if kind == "lock" and which in around.get("held", ""):
                return [self.sleep()]
            inside = dict(around, held=around.get("held", "") + which if kind == "lock" else around.get("held", ""))
            return [self.sleep(), [kind, which, self.body(depth + 1, inside)]]
        if kind == "event":
            return [self.sleep(), [self.rng.choice(["event_wait", "event_set", "event_clear"]), which]]
        if kind == "cond":
            if which in around.get("held", ""):
                return [["cond_wait", which]] if self.rng.random() < 0.5 else [["cond_notify", which, self.rng.randint(1, 2)]]
            inside = [["cond_wait", which]] if self.rng.random() < 0.6 else [["cond_notify", which, self.rng.randint(1, 2)]]
            return [self.sleep(), ["lock", which, inside + ([self.sleep()] if self.rng.random() < 0.5 else [])]]
        if kind == "queue":
            return [self.sleep(), ["put", which, self.rng.randint(1, 99)] if self.rng.random() < 0.55 else ["get", which]]
        return [self.sleep(), ["barrier", which]]

    def leave(self, depth, around):
        if around["returns"] and self.rng.random() < 0.4:
            return [["return", self.rng.randint(1, 9)]]
        return [["raise", self.rng.choice(ERRORS + ["timeout", "cancelled"])]]

    def scenario(self, name):
        main = []
        top = {"group": False, "above": ["main"], "returns": True}
        for _ in range(self.rng.randint(1, 4)):
            main += self.new_task(0, top)
        main += self.body(0, top)
        return {"name": name, "main": main, "queues": {"A": self.rng.randint(0, 2), "B": 1},
                "sems": {"A": self.rng.randint(1, 2)}, "barriers": {"A": 2, "B": self.rng.randint(1, 3)}}


def scenarios(seed, count):
    for i in range(count):
        name = f"{seed}-{i}"
        yield Generator(random.Random(name)).scenario(name)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", default="1")
    parser.add_argument("--count", type=int, default=10)
    given = parser.parse_args()
    for scenario in scenarios(given.seed, given.count):
        print(json.dumps(scenario))


if __name__ == "__main__":
    main()
