"""Runs a sample and compares its output with the expected output of its chapter.

check.py PROGRAM EXPECTED
"""

import difflib
import pathlib
import subprocess
import sys

TIMEOUT = 50  # seconds; below Meson's limit, so that the output so far can still be shown


def main(program, expected_file):
    try:
        done = subprocess.run([program], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=TIMEOUT)
        printed, status = done.stdout, done.returncode
    except subprocess.TimeoutExpired as expired:
        printed, status = expired.stdout or b"", f"not over after {TIMEOUT} s"

    expected = pathlib.Path(expected_file).read_bytes()
    if printed != expected:
        sys.stdout.writelines(
            line if line.endswith("\n") else line + "\n\\ no newline at the end\n"
            for line in difflib.unified_diff(
                expected.decode(errors="replace").splitlines(keepends=True),
                printed.decode(errors="replace").splitlines(keepends=True),
                "expected",
                "printed",
            )
        )
    if status != 0:
        print(f"exit status: {status}")
    return printed != expected or status != 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
