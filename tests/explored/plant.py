# SPDX-License-Identifier: BSL-1.0
"""Copies the library for the exploration of interleavings, and plants faults in the copy.

Each fault is code that runs only if it was chosen (explored::planted), so one build serves the right library and all
faults. The library itself knows nothing of them.

plant.py ROOT FOLDER PARTS ENGINE LIBRARY    the last three are sources that include the copies, which compiles quickly
"""

import pathlib
import sys

# The file; what stands there; what stands there in the copy.
FAULTS = [
    ("include/fibers/detail/parts/atomic.hpp",
     "void yield() noexcept;\n",
     "void yield() noexcept;\nbool planted(char const* fault) noexcept;\n"),
    # A claim that is not one operation: two parties may both end the wait.
    ("include/fibers/detail/engine/waiter.hpp",
     "    claim none = claim::none;\n",
     """    if (explored::planted("double claim")) {
      if (claim_.load() != claim::none) return false;
      claim_.store(reason);
      return true;
    }
    claim none = claim::none;
"""),
    # The loop looks into the inbox before it says that it is asleep, so a post in between wakes nobody.
    ("fibers/detail/parts/inbox.hpp",
     "    asleep_.store(true);\n    if (empty()) {\n",
     """    bool const looked_first = explored::planted("lost wake-up") && empty();
    asleep_.store(true);
    if (looked_first || empty()) {
"""),
    # The woken task takes the primitive's lock again, as the library once did, after the primitive may be destroyed.
    ("include/fibers/detail/engine/wait_list.hpp",
     "    guard.unlock();\n    return suspend(*this);\n",
     """    guard.unlock();
    auto const how = suspend(*this);
    if (explored::planted("lock after the wake")) std::scoped_lock const again(list_.lock());
    return how;
"""),
    # A destructor that does not wait for waiters which are being withdrawn.
    ("include/fibers/detail/engine/wait_list.hpp",
     "    while (!close()) yield_thread();\n",
     """    while (!close() && !explored::planted("destructor does not wait")) yield_thread();
"""),
    # The primitive's state is read and the waiter is linked in two critical sections.
    ("include/fibers/detail/engine/wait_list.hpp",
     "    list_.link(*this, where);\n",
     """    if (explored::planted("two critical sections")) {
      guard.unlock();
      guard.lock();
    }
    list_.link(*this, where);
"""),
    # A request to a task of another loop does not wake that loop.
    ("fibers/detail/engine/request.cpp",
     "  requests.post(scope, std::move(error), here != nullptr && here->running() == &task);\n",
     """  requests.post(scope, std::move(error), here != nullptr && here->running() == &task);
    if (&task.loop() != here && explored::planted("request without a post")) return reply::accepted;
"""),
]


def group_of(source):
    if source.match("detail/parts/*"):
        return 0
    return 1 if source.match("detail/engine/*") else 2


def main(root, folder, *groups):
    changed = False
    for tree in ("include", "fibers"):
        for path in (root / tree).rglob("*.[hc]pp"):
            name = path.relative_to(root).as_posix()
            text = path.read_text()
            for file, right, wrong in FAULTS:
                if file != name:
                    continue
                if text.count(right) != 1:
                    return f"{name}: a fault is to be planted at text that is not there once:\n{right}"
                text = text.replace(right, wrong)
            copy = folder / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if not copy.exists() or copy.read_text() != text:
                copy.write_text(text)
                changed = True
    texts = ["", "", ""]
    for path in sorted((root / "fibers").rglob("*.cpp")):
        source = path.relative_to(root / "fibers")
        # The explorer has its own futex. The kit explores schedules of one thread, which is another matter.
        if source.name != "futex.cpp" and source.parts[0] != "testing":
            texts[group_of(source)] += f'#include "{(folder / "fibers" / source).as_posix()}"\n'
    for group, text in zip(groups, texts):
        if changed or not pathlib.Path(group).exists():  # all are compiled again if one header has changed
            pathlib.Path(group).write_text(text)
    return None


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve(), *sys.argv[3:]))
