# SPDX-License-Identifier: BSL-1.0
"""Fails if an include violates the order of the components, or if a component crosses one of the walls.

layering.py ROOT
layering.py --self-test
"""

import pathlib
import re
import sys

from support import checker

# A component may include components of earlier layers, and earlier ones of its own layer. A layer with a folder of its
# own holds exactly the components of that folder.
LAYERS = [
    # 0 words
    ["detail/parts/cxx20", "detail/parts/memory", "error", "clock", "outcome", "unbounded"],
    # 1 parts
    ["detail/parts/atomic", "detail/parts/spinlock", "detail/parts/context", "detail/parts/stack_pool",
     "detail/parts/stack_overflow", "detail/parts/context_switch", "detail/parts/timer", "detail/parts/timer_queue",
     "detail/parts/parker", "detail/parts/futex", "detail/parts/thread_parker", "detail/parts/inbox_entry",
     "detail/parts/inbox"],
    # 2 engine
    ["detail/engine/waiter", "detail/engine/stop_token_list", "detail/engine/cancel_state", "detail/engine/unhandled",
     "detail/engine/task_state", "detail/engine/task_body", "detail/engine/loop_watch", "detail/engine/this_loop",
     "detail/engine/loop", "detail/engine/request", "detail/engine/worker_pool", "detail/engine/scheduler",
     "detail/engine/suspend", "detail/engine/wait_list", "detail/engine/signal_watch"],
    # 3 task
    ["task", "this_task", "task_local", "run"],
    # 4 scopes
    ["timeout", "shield", "exception_group", "task_group", "wait", "gather", "race"],
    # 5 sync
    ["event", "mutex", "shared_mutex", "condition_variable", "semaphore", "for_each_concurrent", "barrier", "latch", "queue",
     "get_any"],
    # 6 world
    ["asio/io_context", "asio/detail/asio_wait", "asio/detail/asio_operation", "asio/use_fiber", "asio/connect", "asio/serve",
     "asio", "boost_fiber/host", "boost_fiber/call", "boost_fiber/future", "boost_fiber/detail/channel_end",
     "boost_fiber/receiver", "boost_fiber/sender", "boost_fiber/task_bridge", "boost_fiber"],
    # 7 kit
    ["testing/failure", "testing/trial", "testing/sweep", "testing/explore", "testing/time", "testing/suspension_point",
     "testing/leak_check", "testing"],
]  # fmt: skip
EVERYTHING = "fibers"  # fibers.hpp, which includes layers 0 to LAST_LAYER_OF_EVERYTHING
LAST_LAYER_OF_EVERYTHING = 5

NAMES_BOOST_CONTEXT = {"detail/parts/context_switch"}
SWITCHES = {"detail/parts/context_switch", "detail/engine/scheduler"}
STOPS_A_TASK = {"detail/engine/scheduler", "detail/engine/suspend"}

POSITION = {name: (layer, place) for layer, names in enumerate(LAYERS) for place, name in enumerate(names)}

TOKEN = re.compile(
    r"""//(?:\\\n|[^\n])*|/\*.*?\*/                   # comments
      | (?<![0-9a-fA-F])'(?:\\.|[^'\\\n])*'           # characters, but not 10'000
      | ^[ \t]*\#[ \t]*include[ \t]*"[^"\n]*"         # kept, although in quotes
      | R"(?P<tag>[^()\\\s]*)\(.*?\)(?P=tag)"         # strings
      | "(?:\\.|[^"\\\n])*"
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def bare(text):
    """Returns the text without comments, strings and characters, with the same line numbers."""

    def replace(match):
        return match[0] if match[0].lstrip().startswith("#") else " " + "\n" * match[0].count("\n")

    return TOKEN.sub(replace, text)


def line_of(text, match):
    return text.count("\n", 0, match.start()) + 1


def check(root):
    """Returns the faults as "file:line: text". In a whole project every component of the table must exist."""
    root = pathlib.Path(root).resolve()
    public, private = root / "include" / "fibers", root / "fibers"
    wrong = []
    found, stems = set(), {}

    files = [(public, path) for path in sorted(public.rglob("*")) if path.is_file()]
    files += [(private, path) for path in sorted(private.rglob("*")) if path.suffix in (".cpp", ".hpp", ".S")]
    for folder, path in files:
        component = path.relative_to(folder).with_suffix("").as_posix()
        text = bare(path.read_text(encoding="utf-8"))

        def report(what, match=None):
            line = f":{line_of(text, match)}" if match else ""
            wrong.append(f"{path.relative_to(root)}{line}: {what}")

        found.add(component)
        if path.suffix == ".hpp":
            stems.setdefault(path.stem, []).append(path.relative_to(root).as_posix())
        if component == EVERYTHING and folder == public:
            before = (LAST_LAYER_OF_EVERYTHING + 1, 0)
        elif component in POSITION:
            before = POSITION[component]
        else:
            report(f"'{component}' is not a component of the table in tests/layering.py")
            continue

        for match in INCLUDE.finditer(text):
            quoted, name = match[1] == '"', match[2]
            if quoted and folder == public:
                report(f'"{name}": include it as <fibers/…>, since this header is public', match)
                continue
            if quoted:
                target = (path.parent / name).resolve()
                if not target.is_relative_to(private) or not target.is_file():
                    report(f'"{name}" is not a private header; include public headers as <fibers/…>', match)
                    continue
                included = target.relative_to(private).with_suffix("").as_posix()
            elif name.startswith("fibers/"):
                included = name.removeprefix("fibers/").removesuffix(".hpp")
            else:
                continue
            if included == component:
                continue
            if included not in POSITION:
                report(f"'{included}' is not a component that may be included", match)
            elif POSITION[included] >= before:
                report(f"'{component}' includes '{included}', which comes later", match)

        if component not in NAMES_BOOST_CONTEXT:
            for match in re.finditer(r"boost/context\b|boost\s*::\s*context\b", text):
                report("only detail/parts/context_switch may name Boost.Context", match)
        if component not in SWITCHES:
            for match in re.finditer(r"\bswitch_to\b", text):
                report("only detail/engine/scheduler may switch fibers", match)
        if component not in STOPS_A_TASK:
            for match in re.finditer(r"\bhand_over\b", text):
                report("only detail/engine/suspend may suspend a running task", match)
    for names in stems.values():
        if len(names) > 1:
            wrong.append(f"{names[1]}: {names[0]} has the same stem; name it after what distinguishes it")
    missing = [name for name in POSITION if name not in found]
    if missing and (root / "meson.build").exists():
        wrong.append(f"the table in tests/layering.py names components that do not exist: {', '.join(missing)}")
    return wrong


# Each case: the expected report (None: no fault), and the files of a small tree.
CASES = [
    (None, {
        "include/fibers/fibers.hpp": "#include <fibers/clock.hpp>\n#include <fibers/queue.hpp>\n",
        "include/fibers/clock.hpp": "#include <chrono>  // boost::context\n#include <fibers/error.hpp>\n",
        "include/fibers/error.hpp": "// like boost::context, and switch_to\n/* #include <fibers/queue.hpp> */",
        "include/fibers/queue.hpp": "#include <fibers/detail/engine/wait_list.hpp>\n",
        "include/fibers/detail/engine/wait_list.hpp": 'auto s = "boost::context"; auto n = 10\'000; // \'\n',
        "fibers/detail/parts/context_switch.hpp": "#include <boost/context/fiber.hpp>\n",
        "fibers/detail/parts/context_switch.cpp": '#include "context_switch.hpp"\n#include <fibers/error.hpp>\nswitch_to(f);\n',
        "fibers/detail/engine/scheduler.cpp": '#include "../parts/context_switch.hpp"\nswitch_to(f);\n',
        "fibers/detail/engine/suspend.cpp": '#include "scheduler.hpp"\nhand_over(t);\n',
        "fibers/detail/engine/scheduler.hpp": "",
        "fibers/run.cpp": '#include <fibers/run.hpp>\n#include "detail/parts/context_switch.hpp"\n',
        "fibers/meson.build": "fibers_sources = files()\n",
    }),
    ("clock.hpp:2: 'clock' includes 'task'", {
        "include/fibers/clock.hpp": "#pragma once\n# include <fibers/task.hpp>\n"}),
    ("'error' includes 'clock'", {"include/fibers/error.hpp": "#include <fibers/clock.hpp>\n"}),
    ("'error' includes 'clock'", {"fibers/error.cpp": "#include <fibers/clock.hpp>\n"}),
    ("'clock' includes 'run'", {"fibers/clock.cpp": '#include "run.hpp"\n', "fibers/run.hpp": ""}),
    ("'fibers' includes 'asio'", {"include/fibers/fibers.hpp": "#include <fibers/asio.hpp>\n"}),
    ("'fibers' is not a component that", {"include/fibers/testing.hpp": "#include <fibers/fibers.hpp>\n"}),
    ("'nowhere' is not a component that", {"include/fibers/testing.hpp": "#include <fibers/nowhere.hpp>\n"}),
    ("'nowhere' is not a component of the table", {"include/fibers/nowhere.hpp": ""}),
    ("'detail/error' is not a component of the table", {"include/fibers/detail/error.hpp": ""}),
    ("'nowhere' is not a component of the table", {"fibers/nowhere.cpp": ""}),
    ("'fibers' is not a component of the table", {"fibers/fibers.cpp": ""}),
    ("since this header is public", {
        "include/fibers/task.hpp": '#include "error.hpp"\n', "include/fibers/error.hpp": ""}),
    ("is not a private header", {
        "fibers/task.cpp": '#include "fibers/error.hpp"\n', "include/fibers/error.hpp": ""}),
    ("is not a private header", {
        "fibers/task.cpp": '#include "../include/fibers/error.hpp"\n', "include/fibers/error.hpp": ""}),
    ("suspend.cpp:1: only detail/parts/context_switch may", {
        "fibers/detail/engine/suspend.cpp": "#include <boost/context/fiber.hpp>\n"}),
    ("run.hpp:3: only detail/parts/context_switch may", {
        "include/fibers/run.hpp": "/*\n*/\nboost::context::fiber f;\n"}),
    ("suspend.cpp:2: only detail/engine/scheduler may switch", {
        "fibers/detail/engine/suspend.cpp": 'auto s = R"(")";\nswitch_to(f);\n'}),
    ("names components that do not exist: detail/parts/cxx20, detail/parts/memory, error", {
        "meson.build": "project('fibers')\n", "include/fibers/clock.hpp": ""}),
    ("has the same stem", {
        "include/fibers/detail/engine/loop.hpp": "", "fibers/detail/engine/loop.hpp": ""}),
    ("task.cpp:1: only detail/engine/suspend may suspend", {"fibers/task.cpp": "hand_over(t);\n"}),
]  # fmt: skip


if __name__ == "__main__":
    sys.exit(checker.main(check, CASES, "the layers and walls are intact"))
