"""Plays the scenarios of SCENARIO.md on asyncio, the reference.

It uses the asyncio of the running interpreter (3.11 or newer), under a virtual
clock. Prints one trace object per scenario (JSON Lines).

    oracle.py FILE...        a file holds one scenario, an array, or JSON Lines
    oracle.py -              JSON Lines of scenarios on standard input
    oracle.py --check 5 ...  also play each scenario 5 times with the work of
                             every instant in random order; a scenario whose
                             trace changes is marked ambiguous ("order")
    oracle.py --shuffle 7 .. print the trace of one such random order (seed 7)
"""
import argparse
import asyncio
import collections
import contextlib
import dataclasses
import inspect
import json
import sys
from asyncio import CancelledError

from virtual_asyncio import (
    Deadlock, RandomOrder, TaskGroup, Timeout, VirtualLoop, as_completed, gather,
    wait_for)


# ------------------------------------------------------------ errors and values

class AppError(Exception):
    """The exception of ["raise", "E1"] and similar statements."""


APP_ERRORS = {name: type(name, (AppError,), {}) for name in ("E1", "E2", "E3")}
OTHER_ERRORS = {"timeout": TimeoutError, "cancelled": CancelledError}


def show_value(value):
    return "none" if value is None else str(value)


def show(exc):
    """An exception as the trace spells it."""
    if isinstance(exc, CancelledError):
        return f"cancelled({exc.args[0]})" if exc.args else "cancelled"
    if isinstance(exc, BaseExceptionGroup):
        return "group(" + ",".join(sorted(map(show, leaves(exc)))) + ")"
    if isinstance(exc, TimeoutError):
        return "timeout"
    if isinstance(exc, AppError):
        return type(exc).__name__
    if type(exc) is RuntimeError:       # asyncio refuses the call
        return "misuse"
    return f"bug({exc!r})"              # a fault in the scenario, or here


def leaves(exc):
    """The plain errors inside an exception group, with nested groups flattened."""
    for inner in exc.exceptions:
        if isinstance(inner, BaseExceptionGroup):
            yield from leaves(inner)
        else:
            yield inner


def clause_of(exc):
    """The handler of a "try" which is for this exception."""
    for kind, name in ((CancelledError, "cancelled"), (TimeoutError, "timeout"),
                       (BaseExceptionGroup, "group")):
        if isinstance(exc, kind):
            return name
    return "error"


# ------------------------------------------------------------------- the player

@dataclasses.dataclass(slots=True)
class Env:
    """What a statement can refer to."""
    task: object = None         # the task which runs it
    group: object = None        # the enclosing group
    limit: object = None        # the enclosing timeout
    caught: object = None       # what the enclosing handler caught

    def inside(self, **changes):
        return dataclasses.replace(self, **changes)


class Player:
    """Plays one scenario once; with a seed, in a random order of work."""

    def __init__(self, scenario, seed=None):
        self.scenario = scenario
        self.loop = VirtualLoop(self.flag, None if seed is None else
                                RandomOrder(f"{scenario['name']} {seed}"))
        self.tasks = {}             # trace name -> task, in order of creation
        self.events = {}            # trace name -> its list of [ms, event]
        self.latest = {}            # name -> the latest task of that name
        self.times = {}             # name -> number of tasks of that name
        self.things = {}            # (kind, name) -> lock, queue, ...
        self.inside = collections.defaultdict(set)  # (op, name) -> tasks in that wait
        self.finished = []          # tasks, in the order in which they ended
        self.why = set()            # reasons why the trace is ambiguous
        self.carried_out = collections.Counter()    # statements, by their kind
        self.closed = False         # after a deadlock: unwind, trace no more

    # ---- running

    def play(self):
        trace = {"name": self.scenario["name"], "end_ms": 0, "tasks": self.events}
        driver = self.loop.create_task(self.drive())
        try:
            self.loop.run_until_complete(driver)
        except Deadlock:
            trace["deadlock"] = True
            self.give_up(driver)
        finally:
            self.loop.close()
        trace["end_ms"] = max(log[-1][0] for log in self.events.values())
        if self.why:
            trace["ambiguous"], trace["why"] = True, sorted(self.why)
        return trace

    async def drive(self):
        """Like asyncio.run: play main, then cancel what is left and wait."""
        await asyncio.wait([self.launch("main", self.scenario["main"])])
        while left := [t for t in self.tasks.values() if not t.done()]:
            for task in sorted(left, key=hash):
                task.cancel()
            await asyncio.wait(left)
        while len(self.finished) < len(self.tasks):
            await asyncio.sleep(0)

    def give_up(self, driver):
        """After a deadlock: mark the hanging tasks, then unwind without a trace."""
        stuck = [t for t in self.tasks.values() if not t.done()]
        for task in stuck:
            self.log(task, "deadlock")
        self.closed = True
        while stuck := [t for t in (*stuck, driver) if not t.done()]:
            for task in stuck:
                task.cancel()
            for (kind, _), lock in self.things.items():
                if kind == "lock" and lock.locked():    # a waiter would hang
                    lock.release()
            self.loop.run_until_complete(asyncio.sleep(1))

    def launch(self, name, stmts, group=None):
        """Create a task for a body. As always in asyncio, it does not run yet."""
        env = Env(group=group)
        coro = self.run_task(env, stmts)
        try:
            env.task = task = (group or self.loop).create_task(coro)
        except RuntimeError:
            coro.close()
            raise
        nth = self.times[name] = self.times.get(name, 0) + 1
        task.key = name if nth == 1 else f"{name}#{nth}"
        self.tasks[task.key] = self.latest[name] = task
        self.events[task.key] = []
        task.add_done_callback(self.on_done)
        return task

    async def run_task(self, env, stmts):
        task = env.task
        task.started = True
        self.log(task, "start")
        try:
            value = await self.function(env, stmts)
            if task._must_cancel and getattr(task, "restored", False):
                self.flag("returned")  # asyncio drops the value
            return value
        except CancelledError as exc:
            task.message = exc.args[0] if exc.args else None
            raise
        finally:
            task.ended_at = self.loop.now

    def on_done(self, task):
        self.finished.append(task)
        how, rest = (outcome := self.outcome(task))[0], outcome[1:]
        if how == "!" and "bug(" in rest and not self.closed:
            raise SystemExit(f"{self.scenario['name']}: {task.key}: {rest}")
        self.log(task, f"done:{rest}" if how == "=" else
                 rest if task.cancelled() else f"failed:{rest}")

    async def body(self, env, stmts):
        """Run statements. None, or a 1-tuple with the value of a "return"."""
        for op, *args in stmts:
            if self.closed:
                raise CancelledError
            self.carried_out[op] += 1
            if op == "return":
                return (args[0] if args else None,)
            method, waits = OPS[op]
            out = method(self, env, *args)
            if waits and (out := await out) is not None:
                return out

    async def function(self, env, stmts):
        out = await self.body(env, stmts)
        return out[0] if out else None

    # ---- tracing

    def log(self, task, event):
        if not self.closed:
            self.events[task.key].append([self.loop.now, event])

    def flag(self, reason):
        if not self.closed:
            self.why.add(reason)

    def outcome(self, task):
        """How a finished task ended: "=value" or "!error"."""
        if task.cancelled():
            end = task.message
            return "!cancelled" if end is None else f"!cancelled({end})"
        if task.exception() is not None:
            return "!" + show(task.exception())
        return "=" + show_value(task.result())

    async def waiting(self, env, tag, awaitable, tasks=(), spreads=False,
                      body=False, throws=True):
        """Await; trace a failure as "tag!error".

        tasks: the awaited tasks; if throws, their errors are raised here.
        spreads: in asyncio a cancel that is pending now does more than end the
        wait. body: statements are awaited, and handle a cancellation.
        """
        task = env.task
        pending = task._must_cancel
        if pending and spreads:
            self.flag("pending")
        task.awaits, task.hit = tasks, None
        early = [t for t in tasks if t.done()]
        try:
            return await awaitable
        except BaseException as exc:
            if isinstance(exc, CancelledError) and not body:
                self.set_message(exc, task, early if throws else None)
            self.log(task, f"{tag}!{show(exc)}")
            raise
        finally:
            task.awaits = ()
            if pending and task._must_cancel:       # it did not suspend
                self.flag("pending")

    def set_message(self, exc, task, early):
        """Restore the original message of a cancellation.

        asyncio drops it on some paths. It is the message of the awaited task
        that raised it, if any, otherwise of the cancel() that ended the wait.
        """
        message = task.message
        if early is not None and not task.hit:
            late = [t for t in self.finished if t in task.awaits]
            for source in (*early, *late, *task.awaits):
                if source.cancelled():
                    message = source.message
                    break
        exc.args = () if message is None else (message,)

    def find(self, env, tag, name):
        task = self.latest.get(name)
        if task is None:
            self.log(env.task, f"{tag}:unknown")
        return task

    def find_all(self, env, tag, names):
        found = {n: self.latest[n] for n in names if n in self.latest}
        if not found:
            self.log(env.task, f"{tag}:unknown")
        return found

    # ---- statements: plain

    def op_log(self, env, text):
        self.log(env.task, f"log:{text}")

    async def op_sleep(self, env, ms):
        await self.waiting(env, "sleep", asyncio.sleep(ms))

    async def op_yield(self, env):
        await self.waiting(env, "yield", asyncio.sleep(0))

    def op_raise(self, env, kind):
        raise (APP_ERRORS | OTHER_ERRORS)[kind]

    def op_reraise(self, env):
        raise env.caught

    async def op_try(self, env, stmts, clauses):
        try:
            try:
                return await self.body(env, stmts)
            except BaseException as exc:
                handler = clauses.get(clause_of(exc), clauses.get("any"))
                if handler is None or self.closed or show(exc).startswith("bug"):
                    raise
                self.log(env.task, f"caught:{show(exc)}")
                return await self.body(env.inside(caught=exc), handler)
        finally:
            if "finally" in clauses and not self.closed:
                await self.body(env, clauses["finally"])

    async def op_loop(self, env, times, stmts):
        for _ in range(times):
            if (out := await self.body(env, stmts)) is not None:
                return out

    # ---- statements: tasks

    def op_spawn(self, env, name, stmts):
        self.launch(name, stmts)

    def op_cancel(self, env, name, msg=None):
        if task := self.find(env, f"cancel:{name}", name):
            late = ":late" if task.done() else ""
            self.log(env.task, f"cancel:{name}{late}")
            task.cancel(msg)

    def op_cancel_self(self, env, msg=None):
        self.log(env.task, "cancel_self")
        env.task.cancel(msg)

    def op_uncancel(self, env):
        self.log(env.task, f"uncancel={env.task.uncancel()}")

    def op_cancelling(self, env):
        self.log(env.task, f"cancelling={env.task.cancelling()}")

    def op_to_result(self, env, name):
        tag = f"to_result:{name}"
        if task := self.find(env, tag, name):
            self.log(env.task, tag + (self.outcome(task) if task.done()
                                      else ":pending"))

    async def op_await(self, env, name):
        await self.join(env, f"await:{name}", name, lambda task: task)

    async def op_shield(self, env, name):
        await self.join(env, f"shield:{name}", name, asyncio.shield, False)

    async def op_wait_for_task(self, env, ms, name):
        await self.join(env, f"wait_for_task:{name}", name,
                        lambda task: wait_for(task, ms))

    async def join(self, env, tag, name, how, spreads=True):
        if task := self.find(env, tag, name):
            value = await self.waiting(env, tag, how(task), [task], spreads)
            self.log(env.task, f"{tag}={show_value(value)}")

    async def op_gather(self, env, names, return_exceptions=False):
        if tasks := list(self.find_all(env, "gather", names).values()):
            await self.waiting(env, "gather", gather(
                *tasks, return_exceptions=return_exceptions), tasks,
                spreads=True, throws=not return_exceptions)
            ends = (self.outcome(task).removeprefix("=") for task in tasks)
            self.log(env.task, f"gather=[{','.join(ends)}]")

    async def op_wait(self, env, names, mode, ms=None):
        if found := self.find_all(env, "wait", names):
            tasks = list(found.values())
            done, _ = await self.waiting(env, "wait", asyncio.wait(
                tasks, timeout=ms, return_when=WAIT_MODES[mode]),
                tasks, throws=False)
            parts = [",".join(n for n, t in found.items() if (t in done) is over)
                     for over in (True, False)]
            self.log(env.task, f"wait:done=[{parts[0]}]:pending=[{parts[1]}]")

    async def op_as_completed(self, env, names):
        if found := self.find_all(env, "as_completed", names):
            name_of = {task: name for name, task in found.items()}
            each = as_completed(list(name_of))
            ended = ["before" for task in name_of if task.done()]
            for _ in found:
                task = await self.waiting(env, "as_completed", each.__anext__())
                self.log(env.task, f"next:{name_of[task]}{self.outcome(task)}")
                ended.append(task.ended_at)
            if len(set(ended)) < len(ended):    # the first one is arbitrary
                self.flag("order")

    # ---- statements: timeouts and groups

    async def op_timeout(self, env, ms, stmts):
        when = None if ms is None else self.loop.now + ms
        return await self.limited(env, "timeout", Timeout(when), stmts)

    async def op_timeout_at(self, env, when, stmts):
        return await self.limited(env, "timeout_at", Timeout(when), stmts)

    async def limited(self, env, tag, limit, stmts):
        pending = env.task._must_cancel
        try:
            async with limit:
                out = await self.body(env.inside(limit=limit), stmts)
        except BaseException as exc:
            late = ":expired" if limit.expired() else ""
            self.log(env.task, f"{tag}!{show(exc)}{late}")
            if pending and late:        # either cancel may have ended it
                self.flag("pending")
            raise
        self.log(env.task, tag + (":ok:expired" if limit.expired() else ":ok"))
        return out

    def op_reschedule(self, env, ms):
        try:
            env.limit.reschedule(None if ms is None else self.loop.now + ms)
        except RuntimeError:
            self.log(env.task, "reschedule!misuse")
            raise

    async def op_wait_for(self, env, ms, stmts):
        value = await self.waiting(env, "wait_for", wait_for(
            self.function(env, stmts), ms), spreads=True, body=True)
        self.log(env.task, f"wait_for={show_value(value)}")

    async def op_group(self, env, stmts):
        pending = False
        before = env.task.cancelling()
        try:
            async with TaskGroup() as group:
                try:
                    out = await self.body(env.inside(group=group), stmts)
                finally:
                    pending = env.task._must_cancel and not group._tasks
        except BaseException as exc:
            self.log(env.task, f"group!{show(exc)}")
            if (isinstance(exc, BaseExceptionGroup)
                    and 0 < env.task.cancelling() <= before):
                self.flag("swallowed")  # asyncio cancels again, without reason
            elif isinstance(exc, BaseExceptionGroup):
                env.task.restored = env.task._must_cancel
            raise
        finally:
            if pending:         # asyncio does not suspend in an empty group
                self.flag("pending")
        self.log(env.task, "group:ok")
        return out

    def op_start(self, env, name, stmts):
        try:
            self.launch(name, stmts, env.group)
        except RuntimeError:
            self.log(env.task, f"start:{name}!misuse")
            raise

    # ---- statements: synchronisation

    def thing(self, kind, name):
        """The lock, event, queue, ... of that name, made on first use."""
        if (kind, name) not in self.things:
            size = self.scenario.get(f"{kind}s", {}).get(name, SIZES.get(kind))
            self.things[kind, name] = (
                asyncio.Lock() if kind == "lock" else
                asyncio.Event() if kind == "event" else
                asyncio.Condition(self.thing("lock", name)) if kind == "cond" else
                asyncio.Queue(size) if kind == "queue" else
                asyncio.Semaphore(size) if kind == "sem" else
                asyncio.Barrier(size))
        return self.things[kind, name]

    async def op_lock(self, env, name, stmts):
        return await self.holding(env, "lock", name, stmts)

    async def op_sem(self, env, name, stmts):
        return await self.holding(env, "sem", name, stmts)

    async def holding(self, env, kind, name, stmts):
        thing = self.thing(kind, name)
        await self.step(env, f"{kind}:{name}", thing.acquire())
        try:
            return await self.body(env, stmts)
        finally:
            thing.release()
            self.log(env.task, f"un{kind}:{name}")

    async def op_event_wait(self, env, name):
        await self.step(env, f"event_wait:{name}",
                        self.thing("event", name).wait())

    def op_event_set(self, env, name):
        self.log(env.task, f"event_set:{name}")
        self.thing("event", name).set()

    def op_event_clear(self, env, name):
        self.log(env.task, f"event_clear:{name}")
        self.thing("event", name).clear()

    async def op_cond_wait(self, env, name):
        cond = self.thing("cond", name)
        try:
            await self.step(env, f"cond_wait:{name}", cond.wait(), spreads=True)
        except BaseException:
            if cond._waiters:       # 3.13 may wake one of them spuriously
                self.flag("condition")
            raise

    def op_cond_notify(self, env, name, count):
        self.log(env.task, f"cond_notify:{name}")
        self.thing("cond", name).notify(count)

    # asyncio reserves neither an item nor a free slot: a task that was woken for it
    # and has not run yet is overtaken by a task that arrives now. And a barrier
    # counts cancelled tasks until they run. ("turn")

    async def op_put(self, env, name, value):
        queue = self.thing("queue", name)
        with self.among(env, "put", name) as others:
            if others and not queue.full():
                self.flag("turn")
            await self.step(env, f"put:{name}", queue.put(value))

    async def op_get(self, env, name):
        tag, queue = f"get:{name}", self.thing("queue", name)
        with self.among(env, "get", name) as others:
            if others and not queue.empty():
                self.flag("turn")
            value = await self.waiting(env, tag, queue.get())
        self.log(env.task, f"{tag}={show_value(value)}")

    async def op_barrier(self, env, name):
        with self.among(env, "barrier", name) as others:
            if any(task.hit for task in others):
                self.flag("turn")
            await self.step(env, f"barrier:{name}",
                            self.thing("barrier", name).wait())

    @contextlib.contextmanager
    def among(self, env, op, name):
        """Yield the other tasks in the same wait, and add this one to them."""
        everybody = self.inside[op, name]
        others = set(everybody)
        everybody.add(env.task)
        try:
            yield others
        finally:
            everybody.discard(env.task)

    async def step(self, env, tag, awaitable, spreads=False):
        await self.waiting(env, tag, awaitable, spreads=spreads)
        self.log(env.task, tag)


OPS = {name[3:]: (method, inspect.iscoroutinefunction(method))
       for name, method in vars(Player).items() if name.startswith("op_")}
SIZES = {"queue": 0, "sem": 1, "barrier": 2}
WAIT_MODES = {"all": asyncio.ALL_COMPLETED,
              "first_completed": asyncio.FIRST_COMPLETED,
              "first_exception": asyncio.FIRST_EXCEPTION}


# ----------------------------------------------------------------- command line

def run(scenario, check=0):
    """The trace of a scenario; with check > 0 also checked in as many orders."""
    trace = Player(scenario).play()
    for seed in range(check):
        other = Player(scenario, seed).play()
        why = other.get("why", [])
        if any(other.get(key) != trace.get(key)
               for key in ("end_ms", "deadlock", "tasks")):
            why = [*why, "order"]
        if why:
            trace["ambiguous"] = True
            trace["why"] = sorted({*trace.get("why", ()), *why})
    return trace


def read(path):
    """The scenarios of a file: JSON Lines, or a single JSON object or array."""
    if path == "-":
        yield from (json.loads(line) for line in sys.stdin if line.strip())
        return
    with open(path, encoding="utf-8") as file:
        text = file.read()
    try:
        whole = json.loads(text)
    except json.JSONDecodeError:
        yield from (json.loads(line) for line in text.splitlines() if line.strip())
    else:
        yield from whole if isinstance(whole, list) else [whole]


def main():
    parser = argparse.ArgumentParser(description="Play scenarios on asyncio.")
    parser.add_argument("files", nargs="+", metavar="FILE",
                        help="scenarios; - reads JSON Lines from standard input")
    parser.add_argument("--check", type=int, default=0, metavar="N",
                        help="also play N random orders, and mark what changes")
    parser.add_argument("--shuffle", type=int, metavar="SEED",
                        help="print the trace of one random order")
    args = parser.parse_args()
    for path in args.files:
        for scenario in read(path):
            trace = (run(scenario, args.check) if args.shuffle is None else
                     Player(scenario, args.shuffle).play())
            print(json.dumps(trace, separators=(",", ":")))


if __name__ == "__main__":
    main()
