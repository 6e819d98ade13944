# SPDX-License-Identifier: BSL-1.0
"""Fails if the built library, or an object of it, is marked for CET. The switch of fibers does not support shadow
stacks: a program with them would end at its first switch (see fibers/detail/parts/context_switch.hpp).

cet_marks.py READELF LIBRARY
cet_marks.py READELF --self-test    checks that a mark is found where there is one; needs a compiler, cc
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

MARK = re.compile(r"x86 feature:.*\b(IBT|SHSTK)\b")
SKIPPED = 77


def marked(readelf, files):
    return [file for file in files if MARK.search(subprocess.run(
        [readelf, "--notes", "--wide", file], capture_output=True, text=True, check=True).stdout)]


def self_test(readelf):
    compiler = shutil.which("cc")
    if compiler is None:
        return SKIPPED
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "empty.c")
        source.write_text("int empty;\n", encoding="utf-8")
        found = {}
        for protection in ("full", "none"):
            built = source.with_suffix(f".{protection}.o")
            subprocess.run([compiler, f"-fcf-protection={protection}", "-c", source, "-o", built], check=True)
            found[protection] = marked(readelf, [built]) != []
    print(found)
    return 0 if found == {"full": True, "none": False} else 1


def main():
    readelf, argument = sys.argv[1:]
    if argument == "--self-test":
        return self_test(readelf)
    library = pathlib.Path(argument)
    objects = sorted(library.with_name(library.name + ".p").glob("*.o"))
    wrong = marked(readelf, [library, *objects])
    for file in wrong:
        print(f"{file}: is marked for CET; compile it with -fcf-protection=none")
    print(f"{1 + len(objects)} files, {len(wrong)} marked for CET")
    return 1 if wrong or not objects else 0


if __name__ == "__main__":
    sys.exit(main())
