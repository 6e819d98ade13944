"""Checks that each behaviour of asyncio is shown by a test, is a stated difference, or is listed as not implemented.

ledger.py ROOT         fails if a behaviour has no entry
ledger.py ROOT FILE    also writes the table of all behaviours to FILE, in Markdown

The behaviours are the rows of tests/parity/catalogue.md. A test names the rows that it shows in its tags, as [TASK-14],
a scenario of tests/parity/examples.jsonl in "shows". tests/differences.md has a row for each behaviour that differs,
with a * if a test shows what happens here instead, and in its last section a row for each that is not implemented.
"""

import collections
import json
import pathlib
import re
import sys

CASE = re.compile(r"\b(?:[A-Z_]*TEST_CASE[A-Z_]*|SCENARIO)\s*\((.*?)\)\s*\{", re.DOTALL)
TEXT = re.compile(r'"((?:\\.|[^"\\])*)"')
ID = re.compile(r"\b([A-Z]+-\d\d)\b")
ROW = re.compile(r"^\| ([A-Z]+-\d\d)(\*?) \| (.*) \|$")
NOT_YET = "## Not implemented"
HEAD = """# The ledger

Generated from tests/parity/catalogue.md, the names of the tests and tests/differences.md, which explains the rules that
are cited. Each behaviour of asyncio has a test, a stated difference, or is listed as not implemented. The file of the
tests is in brackets.
"""


def catalogue(root):
    """Returns (title of the group, [(ID, behaviour)]) for each group."""
    groups = []
    for line in (root / "tests/parity/catalogue.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            groups.append((line[3:], []))
        elif row := ROW.match(line):
            groups[-1][1].append((row[1], row[3]))
    return groups


def tests(root):
    """Returns ID -> file -> names of the tests that show it."""
    found = collections.defaultdict(lambda: collections.defaultdict(list))
    for path in sorted((root / "tests").rglob("*.cpp")):
        for case in CASE.finditer(path.read_text(encoding="utf-8")):
            # Names and tags may consist of several adjacent string literals.
            whole = "".join(TEXT.findall(case[1]))
            name = whole.split("[")[0].strip().replace("\\", "")
            for each in dict.fromkeys(ID.findall(whole)):
                found[each][path.relative_to(root / "tests").with_suffix("").as_posix()].append(name)
    for line in (root / "tests/parity/examples.jsonl").read_text(encoding="utf-8").splitlines():
        scenario = json.loads(line)
        for each in dict.fromkeys(ID.findall(scenario.get("shows", ""))):
            found[each]["parity"].append(f"scenario {scenario['name']}")
    return found


def differences(root):
    """Returns ID -> (difference, is there a test), and ID -> what is not implemented."""
    differ, not_yet = {}, {}
    rows = differ
    for line in (root / "tests/differences.md").read_text(encoding="utf-8").splitlines():
        if line == NOT_YET:
            rows = not_yet
        elif row := ROW.match(line):
            rows[row[1]] = (row[3], bool(row[2])) if rows is differ else row[3]
    return differ, not_yet


def faults(groups, shown, differ, not_yet):
    known = [each for _, rows in groups for each, _ in rows]
    for each in known:
        if each in not_yet and each in shown:
            yield f"{each}: has a test, but is listed in '{NOT_YET[3:]}' of tests/differences.md"
        elif each in differ and differ[each][1] != (each in shown):
            yield f"{each}: tests/differences.md must mark it with * exactly if it has a test"
        elif each not in shown and each not in differ and each not in not_yet:
            yield f"{each}: has no test, and no row in tests/differences.md"
    for each in {*shown, *differ, *not_yet} - set(known):
        yield f"{each}: not in the catalogue"


def ledger(groups, shown, differ, not_yet):
    parts = [HEAD]
    for title, rows in groups:
        parts.append(f"## {title}\n\n| ID | behaviour | shown by, or how it differs |\n|---|---|---|")
        for each, behaviour in rows:
            what = []
            if each in differ:
                what.append(f"**differs**: {differ[each][0]}")
            if each in not_yet:
                what.append(f"**not implemented**: {not_yet[each]}")
            for file, names in shown.get(each, {}).items():
                what.append("; ".join(names).replace("|", "\\|").replace("<", "&lt;") + f" ({file})")
            parts.append(f"| {each} | {behaviour} | {'<br>'.join(what)} |")
        parts.append("")
    return "\n".join(parts)


def main(root, file=None):
    root = pathlib.Path(root)
    groups, shown, (differ, not_yet) = catalogue(root), tests(root), differences(root)
    wrong = list(faults(groups, shown, differ, not_yet))
    if file is not None:
        pathlib.Path(file).write_text(ledger(groups, shown, differ, not_yet), encoding="utf-8")
    for each in wrong:
        print(each)
    count = sum(len(rows) for _, rows in groups)
    print(f"{count} behaviours: {len(shown)} with tests, {len(differ)} that differ, {len(not_yet)} not implemented; "
          f"{len(wrong)} faults")  # fmt: skip
    return 1 if wrong or not shown else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
