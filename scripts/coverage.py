#!/usr/bin/env python3
"""Prints the share of branches taken, file by file, from what `llvm-cov export` wrote.

usage: coverage.py EXPORT.json PATH...

PATH is a file, or a folder whose files are meant; both as ends or parts of the paths that the export names. A branch has two
outcomes, and each counts. Tests inside a file (from `#[cfg(test)]` on) are not counted, nor are files that are tests as a whole.
Exits with 1 when less than FLOOR of the outcomes were taken.
"""
import json
import sys

FLOOR = 95.0
ONLY_TESTS = ("testing.rs", "properties.rs", "sweep.rs", "tests.rs")


def outcomes(file):
    """Outcomes of the branches before the tests: place -> whether it was ever taken."""
    with open(file["filename"], encoding="utf-8") as source:
        lines = source.read().splitlines()
    end = next((n for n, line in enumerate(lines, 1) if line.startswith("#[cfg(test)]")), len(lines) + 1)
    seen = {}
    for line, column, _, _, true, false, *_ in file.get("branches", []):
        if line < end:
            for outcome, count in (("true", true), ("false", false)):
                place = (line, column, outcome)
                seen[place] = seen.get(place, False) or count > 0
    return seen


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as export:
        files = json.load(export)["data"][0]["files"]
    taken = total = 0
    print(f"{'file':44} {'outcomes':>8} {'taken':>6} {'%':>6}")
    for file in sorted(files, key=lambda file: file["filename"]):
        name = file["filename"]
        wanted = any(f"/{path.strip('/')}/" in name or name.endswith(f"/{path}") for path in sys.argv[2:])
        if not wanted or name.endswith(ONLY_TESTS):
            continue
        seen = outcomes(file)
        if not seen:
            continue
        here = sum(seen.values())
        taken, total = taken + here, total + len(seen)
        print(f"{name.split('operator/')[-1]:44} {len(seen):8} {here:6} {100 * here / len(seen):6.1f}")
        for line, column, outcome in sorted(place for place, was in seen.items() if not was):
            print(f"    never {outcome}: line {line}, column {column}")
    if not total:
        sys.exit("no branches: was it built with -Z coverage-options=branch?")
    share = 100 * taken / total
    print(f"{'all':44} {total:8} {taken:6} {share:6.1f}")
    sys.exit(0 if share >= FLOOR else 1)


if __name__ == "__main__":
    main()
