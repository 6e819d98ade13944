"""Which behaviour of asyncio is shown by which test, or differs on purpose.

ledger.py ROOT            fails, and says which, if a behaviour has neither a test nor a stated difference
ledger.py ROOT --table    prints all of them

A test names the behaviours it shows in its tags, as [TASK-14]; tests/differences.md has a row for each that differs.
Behaviours have the numbers of the catalogue, which goes through asyncio's own tests group by group.
"""

import pathlib
import re
import sys

# How many behaviours each group of the catalogue has.
GROUPS = {
    "TASK": 47, "UNC": 10, "SH": 17, "WF": 20, "TO": 30, "GA": 20, "WAIT": 14, "AC": 11, "TG": 52, "EG": 22,
    "LOCK": 12, "EVT": 7, "COND": 20, "SEM": 15, "BAR": 17, "Q": 31, "RUN": 25, "CB": 18, "FLS": 8, "STAG": 7,
}  # fmt: skip
# Not yet: threads and eager tasks, and the wait graph.
LATER = {"THR": 20, "EAGER": 13, "GRAPH": 1}

CASE = re.compile(r'(?:TEST_CASE|TEST_CASE_METHOD|SCENARIO)\s*\((.*?)\)\s*\{', re.DOTALL)
TEXT = re.compile(r'"((?:\\.|[^"\\])*)"')
ID = re.compile(r"\b([A-Z]+-\d\d)\b")


def tests(root):
    """ID -> names of the tests that show it."""
    found = {}
    for path in sorted((root / "tests").rglob("*.cpp")):
        for case in CASE.finditer(path.read_text(encoding="utf-8")):
            texts = TEXT.findall(case[1])
            if not texts:
                continue
            # Names and tags may be written as several texts side by side.
            whole = "".join(texts)
            name = whole.split("[")[0]
            for each in ID.findall(whole):
                found.setdefault(each, []).append(name)
    return found


def differences(root):
    text = (root / "tests" / "differences.md").read_text(encoding="utf-8")
    return {row[1]: row[2].strip() for row in re.finditer(r"^\| ([A-Z]+-\d\d)\*? \| (.*) \|$", text, re.MULTILINE)}


def main(root, *options):
    root = pathlib.Path(root)
    shown, differ = tests(root), differences(root)
    known = [f"{group}-{number:02}" for group, count in GROUPS.items() for number in range(1, count + 1)]
    missing = [each for each in known if each not in shown and each not in differ]
    if "--table" in options:
        print("| behaviour | test, or why it differs |\n|---|---|")
        for each in known:
            what = [f"`{name}`" for name in shown.get(each, [])] + ([differ[each]] if each in differ else [])
            print(f"| {each} | {'; '.join(what) or '**missing**'} |")
    for each in missing:
        print(f"{each}: no test and no stated difference")
    if "--table" not in options:
        print(f"{len(known)} behaviours, {len(missing)} missing")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
