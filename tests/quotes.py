# SPDX-License-Identifier: BSL-1.0
"""Checks that every quotation in the documents is equal to the file it is from, so that all quoted code is compiled.

quotes.py ROOT
quotes.py --self-test

A quotation is a fenced block after a line that names its file:

    <!-- samples/timeout.cpp -->
    ```cpp
    …
    ```

Its lines must be consecutive lines of that file; they may be indented less, all by the same amount. Every block of C++
must be a quotation, other blocks may be.
"""

import pathlib
import re
import sys

from support import checker

DOCUMENTS = ["README.md", "HACKING.md", "samples/README.md", "samples/testing/README.md",
             "samples/network/README.md"]

SOURCE = re.compile(r"<!-- *(\S+) *-->")
FENCE = re.compile(r"(`{3,})(\w*)")


def blocks(text):
    """Yields each fenced block as (line number, language, the line before it, its lines)."""
    before, inside = "", None
    for number, line in enumerate(text.splitlines(), 1):
        if inside is not None:
            if line.strip() == inside[0]:
                yield inside[1:]
                before, inside = "", None
            else:
                inside[-1].append(line)
        elif fence := FENCE.match(line):
            inside = fence[1], number, fence[2], before, []
        else:
            before = line


def stands_in(quote, lines):
    """Returns whether these lines are consecutive among the others, all indented by the same amount more."""
    for start in range(len(lines) - len(quote) + 1):
        indent = None
        for quoted, line in zip(quote, lines[start:]):
            if not quoted and not line:
                continue
            more = len(line) - len(quoted)
            if not quoted or more < 0 or line != " " * more + quoted or indent not in (None, more):
                break
            indent = more
        else:
            return True
    return False


def check(root):
    """Returns the faults as "file:line: text"."""
    root = pathlib.Path(root)
    wrong = []
    for document in DOCUMENTS:
        path = root / document
        if not path.is_file():
            continue
        for number, language, before, quote in blocks(path.read_text(encoding="utf-8")):
            source = SOURCE.fullmatch(before.strip())
            if source is None:
                if language == "cpp":
                    wrong.append(f"{document}:{number}: C++ without its source: <!-- FILE -->")
            elif not (root / source[1]).is_file():
                wrong.append(f"{document}:{number}: the quoted file {source[1]} does not exist")
            elif not any(quote):
                wrong.append(f"{document}:{number}: empty quotation")
            elif not stands_in(quote, (root / source[1]).read_text(encoding="utf-8").splitlines()):
                wrong.append(f"{document}:{number}: this text is not in {source[1]}")
    return wrong


# Each case: the expected report (None: no fault), and the document. The file a.cpp is the same for all.
FILE = "int f() {\n  if (x) {\n    g();\n\n    h();\n  }\n}\n"
CASES = [
    (None, "<!-- a.cpp -->\n```cpp\n" + FILE + "```\n"),
    (None, "<!-- a.cpp -->\n```cpp\nif (x) {\n  g();\n\n  h();\n}\n```\n"),
    (None, "words\n```sh\nls\n```\n<!-- a.cpp -->\n```text\n    h();\n```\n"),
    ("README.md:2: this text is not in a.cpp", "<!-- a.cpp -->\n```cpp\ng();\nh();\n```\n"),
    ("this text is not in a.cpp", "<!-- a.cpp -->\n```cpp\nif (x) {\ng();\n```\n"),
    ("this text is not in a.cpp", "<!-- a.cpp -->\n```cpp\n      g();\n```\n"),
    ("this text is not in a.cpp", "<!-- a.cpp -->\n```text\ng()\n```\n"),
    ("empty quotation", "<!-- a.cpp -->\n```cpp\n```\n"),
    ("the quoted file b.cpp does not exist", "<!-- b.cpp -->\n```cpp\ng();\n```\n"),
    ("README.md:1: C++ without its source", "```cpp\ng();\n```\n"),
    ("README.md:5: C++ without its source", "<!-- a.cpp -->\n```cpp\n    g();\n```\n```cpp\n    g();\n```\n"),
]
TREES = [(expected, {"a.cpp": FILE, "README.md": document}) for expected, document in CASES]

if __name__ == "__main__":
    sys.exit(checker.main(check, TREES, "all quotations match their sources"))
