# SPDX-License-Identifier: BSL-1.0
"""Reads the include lines and fails when the rooms' order or the walls between them are not kept.

layering.py ROOT
layering.py --self-test
"""

import pathlib
import re
import sys

from support import checker

# A room may include rooms of earlier rows, and earlier rooms of its own row.
ROWS = [
    # 0 words
    ["detail/memory", "error", "clock", "outcome"],
    # 1 parts
    ["detail/spinlock", "detail/stack_pool", "detail/stack_overflow", "detail/context", "detail/waiter",
     "detail/cancel_state", "detail/timer_queue", "detail/parker", "detail/inbox"],
    # 2 engine
    ["detail/task_state", "detail/task_body", "detail/loop_watch", "detail/loop", "detail/request", "detail/scheduler",
     "detail/suspend", "detail/wait_list", "detail/signal_watch"],
    # 3 task
    ["task", "this_task", "task_local", "run"],
    # 4 scopes
    ["timeout", "shield", "exception_group", "task_group", "wait", "gather", "race"],
    # 5 sync
    ["event", "mutex", "shared_mutex", "condition_variable", "semaphore", "for_each_concurrent", "barrier", "latch", "queue",
     "get_any"],
    # 6 world
    ["thread", "asio/io_context", "detail/asio_wait", "detail/asio_operation", "asio/use_fiber", "asio/connect", "asio/serve", "asio",
     "boost_fiber/host", "boost_fiber/call", "boost_fiber/future", "boost_fiber/channel_end", "boost_fiber/receiver",
     "boost_fiber/sender", "boost_fiber/task", "boost_fiber"],
    # 7 kit
    ["testing/failure", "testing/trial", "testing/sweep", "testing/explore", "testing/time", "testing/suspension_point",
     "testing/leak_check", "testing", "inspect"],
]  # fmt: skip
EVERYTHING = "fibers"  # fibers.hpp, which includes rows 0 to LAST_ROW_OF_EVERYTHING
LAST_ROW_OF_EVERYTHING = 5

NAMES_BOOST_CONTEXT = {"detail/context"}
SWITCHES = {"detail/context", "detail/scheduler"}
STOPS_A_TASK = {"detail/scheduler", "detail/suspend"}

POSITION = {room: (row, place) for row, rooms in enumerate(ROWS) for place, room in enumerate(rooms)}

TOKEN = re.compile(
    r"""//(?:\\\n|[^\n])*|/\*.*?\*/                   # comments
      | (?<![0-9a-fA-F])'(?:\\.|[^'\\\n])*'           # characters, but not 10'000
      | ^[ \t]*\#[ \t]*include[ \t]*"[^"\n]*"         # kept: no string
      | R"(?P<tag>[^()\\\s]*)\(.*?\)(?P=tag)"         # strings
      | "(?:\\.|[^"\\\n])*"
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def bare(text):
    """The text without comments, strings and characters; line numbers stay."""

    def replace(match):
        return match[0] if match[0].lstrip().startswith("#") else " " + "\n" * match[0].count("\n")

    return TOKEN.sub(replace, text)


def line_of(text, match):
    return text.count("\n", 0, match.start()) + 1


def check(root):
    """The list of what is wrong, as "file:line: what"."""
    root = pathlib.Path(root).resolve()
    public, private = root / "include" / "fibers", root / "fibers"
    wrong = []

    files = [(public, path) for path in sorted(public.rglob("*")) if path.is_file()]
    files += [(private, path) for path in sorted(private.rglob("*")) if path.suffix in (".cpp", ".hpp", ".S")]
    for folder, path in files:
        room = path.relative_to(folder).with_suffix("").as_posix()
        text = bare(path.read_text(encoding="utf-8"))

        def report(what, match=None):
            line = f":{line_of(text, match)}" if match else ""
            wrong.append(f"{path.relative_to(root)}{line}: {what}")

        if room == EVERYTHING and folder == public:
            before = (LAST_ROW_OF_EVERYTHING + 1, 0)
        elif room in POSITION:
            before = POSITION[room]
        else:
            report(f"'{room}' is no room of the table in tests/layering.py")
            continue

        for match in INCLUDE.finditer(text):
            quoted, name = match[1] == '"', match[2]
            if quoted and folder == public:
                report(f'"{name}": a public header includes as <fibers/…>', match)
                continue
            if quoted:
                target = (path.parent / name).resolve()
                if not target.is_relative_to(private) or not target.is_file():
                    report(f'"{name}" is no private header; public ones are included as <fibers/…>', match)
                    continue
                included = target.relative_to(private).with_suffix("").as_posix()
            elif name.startswith("fibers/"):
                included = name.removeprefix("fibers/").removesuffix(".hpp")
            else:
                continue
            if included == room:
                continue
            if included not in POSITION:
                report(f"'{included}' is no room that may be included", match)
            elif POSITION[included] >= before:
                report(f"'{room}' includes '{included}', which comes later", match)

        if room not in NAMES_BOOST_CONTEXT:
            for match in re.finditer(r"boost/context\b|boost\s*::\s*context\b", text):
                report("only detail/context may name Boost.Context", match)
        if room not in SWITCHES:
            for match in re.finditer(r"\bswitch_to\b", text):
                report("only detail/scheduler may switch fibers", match)
        if room not in STOPS_A_TASK:
            for match in re.finditer(r"\bhand_over\b", text):
                report("only detail/suspend, the door, may stop a running task", match)
    return wrong


# Each case: what must be reported (None: nothing), and the files of a small tree.
CASES = [
    (None, {
        "include/fibers/fibers.hpp": "#include <fibers/clock.hpp>\n#include <fibers/queue.hpp>\n",
        "include/fibers/clock.hpp": "#include <chrono>  // boost::context\n#include <fibers/error.hpp>\n",
        "include/fibers/error.hpp": "// like boost::context, and switch_to\n/* #include <fibers/queue.hpp> */",
        "include/fibers/queue.hpp": "#include <fibers/detail/wait_list.hpp>\n",
        "include/fibers/detail/wait_list.hpp": 'auto s = "boost::context"; auto n = 10\'000; // \'\n',
        "fibers/detail/context.hpp": "#include <boost/context/fiber.hpp>\n",
        "fibers/detail/context.cpp": '#include "context.hpp"\n#include <fibers/error.hpp>\nswitch_to(f);\n',
        "fibers/detail/scheduler.cpp": '#include "../detail/context.hpp"\nswitch_to(f);\n',
        "fibers/detail/suspend.cpp": '#include "scheduler.hpp"\nhand_over(t);\n',
        "fibers/detail/scheduler.hpp": "",
        "fibers/run.cpp": '#include <fibers/run.hpp>\n#include "detail/context.hpp"\n',
        "fibers/meson.build": "fibers_sources = files()\n",
    }),
    ("clock.hpp:2: 'clock' includes 'task'", {
        "include/fibers/clock.hpp": "#pragma once\n# include <fibers/task.hpp>\n"}),
    ("'error' includes 'clock'", {"include/fibers/error.hpp": "#include <fibers/clock.hpp>\n"}),
    ("'error' includes 'clock'", {"fibers/error.cpp": "#include <fibers/clock.hpp>\n"}),
    ("'clock' includes 'run'", {"fibers/clock.cpp": '#include "run.hpp"\n', "fibers/run.hpp": ""}),
    ("'fibers' includes 'asio'", {"include/fibers/fibers.hpp": "#include <fibers/asio.hpp>\n"}),
    ("'fibers' is no room that", {"include/fibers/testing.hpp": "#include <fibers/fibers.hpp>\n"}),
    ("'nowhere' is no room that", {"include/fibers/testing.hpp": "#include <fibers/nowhere.hpp>\n"}),
    ("'nowhere' is no room of the table", {"include/fibers/nowhere.hpp": ""}),
    ("'detail/error' is no room of the table", {"include/fibers/detail/error.hpp": ""}),
    ("'nowhere' is no room of the table", {"fibers/nowhere.cpp": ""}),
    ("'fibers' is no room of the table", {"fibers/fibers.cpp": ""}),
    ("a public header includes as", {
        "include/fibers/task.hpp": '#include "error.hpp"\n', "include/fibers/error.hpp": ""}),
    ("is no private header", {
        "fibers/task.cpp": '#include "fibers/error.hpp"\n', "include/fibers/error.hpp": ""}),
    ("is no private header", {
        "fibers/task.cpp": '#include "../include/fibers/error.hpp"\n', "include/fibers/error.hpp": ""}),
    ("suspend.cpp:1: only detail/context may", {
        "fibers/detail/suspend.cpp": "#include <boost/context/fiber.hpp>\n"}),
    ("run.hpp:3: only detail/context may", {
        "include/fibers/run.hpp": "/*\n*/\nboost::context::fiber f;\n"}),
    ("suspend.cpp:2: only detail/scheduler may switch", {
        "fibers/detail/suspend.cpp": 'auto s = R"(")";\nswitch_to(f);\n'}),
    ("task.cpp:1: only detail/suspend, the door", {"fibers/task.cpp": "hand_over(t);\n"}),
]  # fmt: skip


if __name__ == "__main__":
    sys.exit(checker.main(check, CASES, "the layers are kept"))
