"""Minimizes a scenario while a predicate remains true.

Statements are removed, in large pieces first. Then blocks are replaced by their contents, lists of names are shortened,
optional parts are removed, and numbers are reduced. Each step makes the scenario smaller, so this terminates. A step
that violates a rule of the language is not taken: players reject most such scenarios, which makes the predicate false;
cycles of waiting tasks are rejected here.
"""

import graphlib

# The index of the body in a statement.
BODY = {"try": 1, "group": 1, "spawn": 2, "start": 2, "loop": 2, "timeout": 2, "timeout_at": 2, "wait_for": 2,
        "lock": 2, "sem": 2}  # fmt: skip
WAITS_FOR = {"await": 1, "shield": 1, "wait_for_task": 2, "gather": 1, "wait": 1, "as_completed": 1}  # index of the names
# The number of elements below which a statement is not shortened.
NEEDED = {"cancel": 2, "cancel_self": 1, "return": 1, "wait": 3, "gather": 2}


def shrink(scenario, still):
    """Returns the smallest scenario found for which still(scenario) is true."""
    while True:
        smaller = next((each for each in steps(scenario) if not in_circles(each) and still(each)), None)
        if smaller is None:
            return scenario
        scenario = smaller


def steps(scenario):
    """Yields smaller variants, the largest reductions first."""
    bodies = list(bodies_in(scenario["main"], ("main",)))
    largest = max(len(statements) for _, statements in bodies)
    size = 1 << largest.bit_length()
    while size := size // 2:
        for path, statements in bodies:
            if size <= len(statements):
                for first in range(0, len(statements), size):
                    yield replaced(scenario, path, statements[:first] + statements[first + size :])
    for path, statements in bodies:
        for i, statement in enumerate(statements):
            for instead in simpler(statement):
                yield replaced(scenario, path, statements[:i] + instead + statements[i + 1 :])
    for key in scenario.keys() - {"name", "main"}:
        yield {other: value for other, value in scenario.items() if other != key}


def bodies_in(statements, path):
    """Yields all bodies with their paths, the outer ones first."""
    yield path, statements
    for i, statement in enumerate(statements):
        if (at := BODY.get(statement[0])) is not None:
            yield from bodies_in(statement[at], (*path, i, at))
        if statement[0] == "try":
            for clause, body in clauses_of(statement).items():
                yield from bodies_in(body, (*path, i, 2, clause))


def clauses_of(statement):
    return statement[2] if len(statement) > 2 else {}


def simpler(statement):
    """Yields lists of statements that may replace this one."""
    op = statement[0]
    if op in BODY:
        yield statement[BODY[op]]
    if op == "try":
        for clause, body in clauses_of(statement).items():
            yield body
            yield [["try", statement[1], {other: b for other, b in clauses_of(statement).items() if other != clause}]]
    if len(statement) > NEEDED.get(op, len(statement)):
        yield [statement[:-1]]
    for i, value in enumerate(statement[1:], 1):
        for less in smaller_values(op, value):
            yield [[*statement[:i], less, *statement[i + 1 :]]]


def smaller_values(op, value):
    if isinstance(value, int) and not isinstance(value, bool):
        for less in (1, value // 2, value - 2, value - 1):
            if 0 < less < value:
                yield less
    elif isinstance(value, list) and op in ("gather", "wait", "as_completed") and len(value) > 1:
        for i in range(len(value)):
            yield value[:i] + value[i + 1 :]


def in_circles(scenario):
    """Returns whether tasks could wait for each other, judged by names. The owner of a group waits for its tasks."""
    waits = {}

    def look(task, owner, statements):
        for statement in statements:
            op = statement[0]
            if op in WAITS_FOR:
                whom = statement[WAITS_FOR[op]]
                waits.setdefault(task, set()).update([whom] if isinstance(whom, str) else whom)
            if op == "start":
                waits.setdefault(owner, set()).add(statement[1])
            if op in BODY:
                new = op in ("spawn", "start")
                look(statement[1] if new else task, task if op == "group" else None if op == "spawn" else owner,
                     statement[BODY[op]])  # fmt: skip
            if op == "try":
                for body in clauses_of(statement).values():
                    look(task, owner, body)

    look("main", None, scenario["main"])
    try:
        graphlib.TopologicalSorter(waits).prepare()
    except graphlib.CycleError:
        return True
    return False


def replaced(value, path, new):
    """Returns a copy with another value at this path."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def size(scenario):
    """Returns the number of statements."""
    return sum(len(statements) for _, statements in bodies_in(scenario["main"], ("main",)))
