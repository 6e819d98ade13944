# SPDX-License-Identifier: BSL-1.0
"""Common part of the checks of the tree. `check(root)` returns a list of faults.

CHECK.py ROOT           prints the faults, and fails if there are any
CHECK.py --self-test    creates a tree for each case: the expected report (None: no fault), and {path: text}
"""

import pathlib
import sys
import tempfile


def failed_cases(check, cases):
    failed = 0
    for expected, tree in cases:
        with tempfile.TemporaryDirectory() as root:
            for name, text in tree.items():
                path = pathlib.Path(root, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            wrong = check(root)
        good = len(wrong) == 1 and expected in wrong[0] if expected else not wrong
        if not good:
            failed += 1
            print(f"expected: {expected}\nreported: {wrong}\ntree: {tree}\n")
    print(f"{len(cases)} cases, {failed} failed")
    return failed


def main(check, cases, all_is_well):
    (argument,) = sys.argv[1:]
    if argument == "--self-test":
        return 1 if failed_cases(check, cases) else 0
    wrong = check(argument)
    print("\n".join(wrong) or all_is_well)
    return 1 if wrong else 0
