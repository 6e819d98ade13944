"""Generates random scenarios: small concurrent programs in which the order of work within one instant rarely matters.

generate.py --seed S --count N    prints N scenarios, one per line; the same for the same seed

Scenarios follow sections 2 and 7 of SCENARIO.md. All sleeps and limits have different odd lengths, and most statements
that affect other tasks follow a sleep. Half of the statements that may throw are in a try, since few tasks would reach
their end otherwise. Each name has a rank, and main has the highest. A task waits only for tasks of lower rank, and the
tasks of a group have lower ranks than its owner. Therefore no cycles occur.
"""

import argparse
import dataclasses
import json
import random

ERRORS = ["E1", "E2", "E3", "timeout", "cancelled"]
MESSAGES = [None, None, "one", "two", "three", 4]
MODES = ["all", "first_completed", "first_exception"]
CLAUSES = ["cancelled", "error", "timeout", "group", "any", "finally"]

# The weight with which each statement is chosen where it is allowed.
WEIGHTS = {
    "sleep": 12, "log": 3, "yield": 1, "raise": 1.5, "reraise": 5, "return": 0.7, "cancelling": 2, "uncancel": 1.5,
    "cancel_self": 1.5, "spawn": 5, "start": 9, "cancel": 8, "to_result": 1.5, "await": 3, "shield": 2.5,
    "wait_for_task": 2.5, "gather": 2.5, "wait": 2.5, "as_completed": 1.5, "try": 8, "loop": 2, "timeout": 6,
    "timeout_at": 2, "reschedule": 2.5, "wait_for": 3, "group": 6, "lock": 4, "sem": 2, "event_wait": 1.5,
    "event_set": 2, "event_clear": 0.7, "cond_wait": 6, "cond_notify": 6, "put": 3, "get": 3, "barrier": 2,
}  # fmt: skip
# Each scenario has one or two themes, whose statements are chosen more often; otherwise they would rarely interact.
THEMES = [
    {"lock", "cond_wait", "cond_notify"}, {"lock", "sem", "event_wait", "event_set"}, {"put", "get"},
    {"event_wait", "event_set", "barrier"}, {"await", "shield", "wait_for_task"}, {"gather", "wait", "as_completed"},
    {"group", "start"}, {"timeout", "timeout_at", "wait_for", "reschedule"}, {"cancel", "cancel_self", "uncancel"},
]  # fmt: skip
HOLDS_STATEMENTS = {"spawn", "start", "try", "loop", "timeout", "timeout_at", "wait_for", "group", "lock", "sem"}
TOUCHES_OTHERS = {
    "cancel", "to_result", "await", "shield", "wait_for_task", "gather", "wait", "as_completed", "lock", "sem",
    "event_wait", "event_set", "event_clear", "cond_notify", "put", "get", "barrier",
}  # fmt: skip
WAITS_FOR_TASKS = {"await", "shield", "wait_for_task", "gather", "wait", "as_completed"}
OFTEN_THROWS = {"raise", "await", "shield", "wait_for_task", "gather", "timeout", "timeout_at", "wait_for", "group"}


@dataclasses.dataclass(frozen=True)
class Place:
    """The context of a statement, which determines the statements that are allowed."""

    rank: float  # of the task
    owner: float | None = None  # the rank of the owner of the group to which start adds
    depth: int = 0
    loops: int = 0
    limited: bool = False  # in a timeout
    handles: bool = False  # in a handler
    returns: bool = True
    held: str = ""  # locks

    def inside(self, **changes):
        return dataclasses.replace(self, depth=self.depth + 1, **changes)


class Generator:
    """Generates one scenario."""

    def __init__(self, rng):
        self.rng = rng
        # All lengths differ, and short ones are more frequent.
        self.lengths = sorted(range(1, 400, 2), key=lambda length: length * rng.random(), reverse=True)
        self.ranks = {f"t{i}": rng.random() for i in range(1, rng.randint(2, 7) + 1)}
        self.used = []  # names that were given to tasks
        self.budget = rng.randint(4, 16)  # statements that this task may still get
        theme = set().union(*rng.sample(THEMES, rng.randint(1, 2)))
        self.weights = {op: weight * (4 if op in theme else 1) for op, weight in WEIGHTS.items()}
        self.things = rng.choice(["A", "AB"])  # the names of primitives
        self.calm = rng.choice([1, 1, 1, 0.8])  # the probability of a sleep before a statement that affects other tasks

    def chance(self, probability):
        return self.rng.random() < probability

    def scenario(self, name):
        main = Place(rank=1.0)
        rng = self.rng
        statements = [self.make(rng.choice(["spawn", "spawn", "spawn", "group"]), main) for _ in range(rng.randint(1, 5))]
        statements += self.body(main, most=8) + [["sleep", rng.choice([1, 401, 801, 1201])]]
        if self.chance(0.6):  # main must not block for ever, which would end the scenario
            statements = [["try", [["timeout", 1601, statements]], {"any": []}], ["sleep", 1]]
        return {"name": name, "main": statements, "queues": {"A": rng.randint(0, 2), "B": 1},
                "sems": {"A": rng.randint(1, 2)}, "barriers": {"A": 2, "B": rng.randint(1, 3)}}  # fmt: skip

    def body(self, place, most=3):
        statements = []
        for _ in range(self.rng.randint(1, most)):
            if self.budget > 0:
                statements += self.statements(place)
        return statements or [self.sleep()]

    def statements(self, place):
        weights = [weight if self.may_stand(op, place) else 0 for op, weight in self.weights.items()]
        op = self.rng.choices(list(self.weights), weights)[0]
        pause = op in TOUCHES_OTHERS and self.chance(self.calm)
        if op in OFTEN_THROWS and place.depth < 5 and self.chance(0.5):
            clause = self.rng.choice(["any", "any", *CLAUSES])
            made = ["try", [self.make(op, place.inside())], {clause: self.clause(clause, place)}]
        else:
            made = self.make(op, place)
        return ([self.sleep()] if pause else []) + [made]

    def may_stand(self, op, place):
        if op in HOLDS_STATEMENTS and place.depth >= 5:
            return False
        match op:
            case "reraise":
                return place.handles
            case "return":
                return place.returns
            case "reschedule":
                return place.limited
            case "spawn":
                return len(self.used) < 7
            case "start":
                return place.owner is not None and bool(self.below(place.owner, self.ranks)) and len(self.used) < 7
            case "cond_wait" | "cond_notify":
                return bool(place.held)
            case "lock":
                return place.held != self.things
            case "loop":
                return place.loops < 2
            case "cancel" | "to_result":
                return bool(self.used)
        return op not in WAITS_FOR_TASKS or bool(self.below(place.rank, self.used))

    def make(self, op, place):
        """Returns one statement of this kind."""
        self.budget -= 1
        rng = self.rng
        match op:
            case "sleep":
                return self.sleep()
            case "log":
                return [op, f"x{rng.randint(1, 9)}"]
            case "raise":
                return [op, rng.choice(ERRORS)]
            case "return":
                return [op, self.value()]
            case "cancel_self":
                return [op, *self.message()]
            case "cancel":
                return [op, rng.choice(self.used), *self.message()]
            case "to_result":
                return [op, rng.choice(self.used)]
            case "await" | "shield":
                return [op, rng.choice(self.below(place.rank, self.used))]
            case "wait_for_task":
                return [op, self.limit(), rng.choice(self.below(place.rank, self.used))]
            case "gather":
                return [op, self.some(place), self.chance(0.5)]
            case "wait":
                return [op, self.some(place), rng.choice(MODES), *([self.limit()] if self.chance(0.5) else [])]
            case "as_completed":
                return [op, self.some(place)]
            case "spawn":
                name = self.name(self.ranks)
                return [op, name, self.task_body(Place(rank=self.ranks[name], depth=place.depth + 1))]
            case "start":
                name = self.name(self.below(place.owner, self.ranks))
                inside = Place(rank=self.ranks[name], owner=self.ranks[name], depth=place.depth + 1)
                return [op, name, self.task_body(dataclasses.replace(inside, owner=min(place.owner, inside.owner)))]
            case "try":
                return [op, self.body(place.inside()), self.clauses(place)]
            case "loop":
                return [op, rng.randint(2, 3), self.body(place.inside(loops=place.loops + 1))]
            case "timeout" | "timeout_at":
                return [op, self.limit(), self.body(place.inside(limited=True))]
            case "reschedule":
                return [op, rng.choice([None, 0, self.length(), self.length(), self.length()])]
            case "wait_for":
                return [op, self.limit(), self.body(place.inside())]
            case "group":
                return [op, self.body(place.inside(owner=place.rank))]
            case "lock":
                name = rng.choice([each for each in self.things if each not in place.held])
                return [op, name, self.holding(place.inside(held="".join(sorted(place.held + name))))]
            case "sem":
                return [op, rng.choice(self.things), self.holding(place.inside())]
            case "cond_wait":
                return [op, rng.choice(place.held)]
            case "cond_notify":
                return [op, rng.choice(place.held), rng.randint(1, 2)]
            case "put":
                return [op, rng.choice(self.things), self.value()]
            case "event_wait" | "event_set" | "event_clear" | "get" | "barrier":
                return [op, rng.choice(self.things)]
        return [op]

    def clauses(self, place):
        return {clause: self.clause(clause, place) for clause in self.rng.sample(CLAUSES, self.rng.randint(1, 3))}

    def clause(self, clause, place):
        if clause == "finally":
            return self.body(place.inside(returns=False), most=2)
        start = self.may_stand("start", place) and self.chance(0.2)  # refused if the group is aborting
        statements = [self.make("start", place)] if start else []
        return statements + self.body(place.inside(handles=True), most=2) + ([["reraise"]] if self.chance(0.3) else [])

    def task_body(self, place):
        of_creator, self.budget = self.budget, self.rng.randint(2, 12)
        statements = ([self.sleep()] if self.chance(0.7) else []) + self.body(place, most=5)
        self.budget = of_creator
        return statements

    def holding(self, place):
        """Returns a body that holds its lock or permit long enough for other tasks to queue."""
        notify = self.chance(0.5) and self.weights["cond_notify"] > WEIGHTS["cond_notify"]
        first = [self.make(self.rng.choice(["cond_wait", "cond_notify"]), place)] if place.held and notify else []
        return first + self.body(place) + ([["sleep", self.rng.randrange(41, 241, 2)]] if self.chance(0.5) else [])

    def below(self, rank, names):
        """Returns the names for which a task of that rank may wait."""
        return [name for name in names if self.ranks[name] < rank]

    def some(self, place):
        names = sorted(set(self.below(place.rank, self.used)))
        return self.rng.sample(names, min(len(names), self.rng.randint(1, 3)))

    def name(self, names):
        """Returns a name for a new task, sometimes a used one."""
        fresh = [name for name in names if name not in self.used]
        name = self.rng.choice(fresh if fresh and self.chance(0.95) else list(names))
        self.used.append(name)
        return name

    def length(self):
        return self.lengths.pop() if self.lengths else self.rng.randrange(401, 9999, 2)

    def sleep(self):
        return ["sleep", self.length()]

    def limit(self):
        return self.length() if self.chance(0.85) else self.rng.choice([None, 0, -3])

    def message(self):
        message = self.rng.choice(MESSAGES)
        return [] if message is None else [message]

    def value(self):
        return self.rng.choice([self.rng.randint(-9, 99), "v", None])


def scenarios(seed, first, count):
    """Yields the scenarios with these numbers. Each depends only on the seed and its number."""
    for number in range(first, first + count):
        name = f"{seed}-{number}"
        yield Generator(random.Random(name)).scenario(name)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", default="1")
    parser.add_argument("--count", type=int, default=10)
    given = parser.parse_args()
    for scenario in scenarios(given.seed, 0, given.count):
        print(json.dumps(scenario))


if __name__ == "__main__":
    main()
