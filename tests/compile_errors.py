# SPDX-License-Identifier: BSL-1.0
"""Fails if a program that misuses the library is compiled, or if its compiler does not advise in a few lines.

compile_errors.py COMPILER... -- ARGUMENT...
"""

import subprocess
import sys

# What is compiled; the standard; a part of the error; how many lines may be printed.
MISUSES = [
    ("int main() {}", "17", "fibers needs C++20: compile with -std=c++20", 12),
    ("void f(int); void g() { fibers::spawn(f, 1); }", "20", "spawn() takes no arguments; capture them", 12),
    ("void g(fibers::task_group& group) { group.spawn([](int) {}, 1); }", "20",
     "spawn() takes no arguments; capture them", 12),
    ("void f(int); void g() { fibers::spawn(\"f\", f, 1); }", "20", "spawn() takes no arguments; capture them", 12),
    ("void f(int); void g(fibers::task_group& group) { group.spawn(\"f\", f, 1); }", "20",
     "spawn() takes no arguments; capture them", 12),
    ("void g() { fibers::race(1); }", "20", "race() takes one or more callables without parameters", 12),
    ("void g() { fibers::race(); }", "20", "race() takes one or more callables without parameters", 12),
    ("void g(std::vector<int> v) { fibers::gather(v); }", "20", "gather() takes callables without parameters", 12),
    ("void g(std::vector<int> v) { fibers::gather(fibers::return_exceptions, v, 2); }", "20",
     "gather() takes callables without parameters", 12),
]
# Each header alone, for an earlier standard.
HEADERS = ["task.hpp", "queue.hpp", "exception_group.hpp", "testing/sweep.hpp"]


def compile_program(compiler, arguments, standard, source):
    result = subprocess.run(
        [*compiler, *arguments, f"-std=c++{standard}", "-x", "c++", "-fsyntax-only", "-"],
        input=source, capture_output=True, text=True, timeout=120)
    return result.returncode, result.stderr


def main(words):
    at = words.index("--")
    compiler, arguments = words[:at], words[at + 1:]
    code, text = compile_program(compiler, arguments, "20", "#include <fibers/fibers.hpp>\nint main() {}\n")
    if code != 0:
        return f"a right program is not compiled:\n{text}"
    cases = [("#include <fibers/fibers.hpp>\n#include <vector>\n" + program, standard, error, most)
             for program, standard, error, most in MISUSES]
    cases += [(f"#include <fibers/{header}>\n", "17", "fibers needs C++20", 20) for header in HEADERS]
    for source, standard, error, most in cases:
        code, text = compile_program(compiler, arguments, standard, source + "\n")
        if code == 0:
            return f"a wrong program is compiled:\n{source}"
        if error not in text or len(text.splitlines()) > most:
            return f"expected at most {most} lines, with: {error}\nfor:\n{source}\nbut the compiler says:\n{text}"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
