#!/usr/bin/env python3
"""Checks on a real, quiet machine how often the results of ndecho are right.

    tools/proofs.py aa            40 comparisons of a build with itself: at most 2 verdicts other than `same`
    tools/proofs.py tonic         20 times tonic against itself, malloc keep, 60 s at 8 B, 64 KiB and 1 MiB each:
                                  within 3 % in 19 of 20 at each size
    tools/proofs.py slices        slices of 10 to 200 ms: the ratio of own HTTP/2 to tonic does not move
    tools/proofs.py members       the same ratio with seven idle servers more, alive on the same core: it does not move
    tools/proofs.py control       20 ladders of 12 blocks with a delay of 500 ns added to tonic, malloc keep: found in
                                  at least 18
    tools/proofs.py control-long  the same with 40 blocks
    tools/proofs.py control-h2    the same with own HTTP/2, which has a fiftieth of the cost
    tools/proofs.py order         two quick ladders an hour apart: no pair that either calls different changes its order

A second argument, e.g. `1-10`, runs only those tries, with the same share as the bound. Needs `cargo build --release`.
Prints a line for each try; exits with 1 if a bound is missed.
"""

import csv
import io
import pathlib
import re
import subprocess
import sys
import tempfile
import time

NDECHO = str(pathlib.Path(__file__).resolve().parent.parent / "target/release/ndecho")


def ndecho(*args, expect=(0,)):
    done = subprocess.run([NDECHO, *args], capture_output=True, text=True, check=False)
    if done.returncode not in expect:
        sys.exit(f"ndecho {' '.join(args)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def aa(folder, tries, most=0.05):
    wrong = 0
    for number in tries or range(40):
        out = ndecho("compare", NDECHO, NDECHO, "--rungs", "uring/h2/protobuf", "--sizes", "8", "--rounds", "10",
                     "--seed", str(number + 1), "--out", f"{folder}/aa{number}", expect=(0, 1))
        verdicts = [line.split()[-1] for line in out.splitlines() if line.startswith("  uring/h2/protobuf 8 B 1x1000")]
        wrong += verdicts != ["same"]
        print(f"A/A {number + 1}: {verdicts}, {wrong} wrong so far", flush=True)
    return wrong <= most * len(tries or range(40))


def flat(text):
    """Returns a report with its wrapped lines as one line."""
    return " ".join(text.split())


def table(folder, name, *args):
    """Runs a ladder and returns its printed report and the rows of its CSV."""
    text = ndecho("ladder", *args, "--out", f"{folder}/{name}")
    rows = ndecho("report", f"{folder}/{name}", "--format", "csv")
    return text, list(csv.DictReader(io.StringIO(rows)))


def tonic(folder, tries, least=0.95):
    tries = tries or range(20)
    within = dict.fromkeys(("8", "64KiB", "1MiB"), 0)
    for number in tries:
        for size in within:
            text, _ = table(folder, f"tonic{number}-{size}", "--rungs", "tokio/tonic/protobuf:prost", "--sizes", size,
                            "--malloc", "keep", "--rounds", "100", "--time", "60s", "--seed", str(number + 1))
            line = re.search(r"A/A: .*? are noise", flat(text))[0]
            ratio = float(re.search(r"against itself ([0-9.]+)", line)[1])
            within[size] += abs(ratio - 1) <= 0.03
            print(f"{number + 1}, {size}: {line}; {within[size]} within 3 % so far", flush=True)
    return all(count >= least * len(tries) for count in within.values())


PAIR = "uring/h2/protobuf,tokio/tonic/protobuf:prost"


def of_tonic(folder, name, what, *args):
    """Measures and prints the ratio of own HTTP/2 to tonic at 8 B, with its interval."""
    _, rows = table(folder, name, "--sizes", "8", "--malloc", "keep", *args)
    row = next(row for row in rows if row["rung"] == "uring/h2/protobuf")
    interval = [float(row[f"to_reference{end}"]) for end in ("", "_low", "_high")]
    print(f"{what}: {interval[0]:.4f} [{interval[1]:.4f}-{interval[2]:.4f}]", flush=True)
    return interval


def overlap(intervals):
    return max(low for _, low, _ in intervals) <= min(high for _, _, high in intervals)


def slices(folder, _):
    lengths = ("10ms", "20ms", "40ms", "100ms", "200ms")
    return overlap([of_tonic(folder, f"slices{length}", f"slices of {length}", "--rungs", PAIR, "--slice", length,
                             "--duration", "400ms", "--rounds", "8") for length in lengths])


def members(folder, _):
    others = ("uring/raw/protobuf,tokio/raw/protobuf,tokio/h2/protobuf,tokio/h2-crate/protobuf:prost,"
              "tokio/hyper-h2/protobuf:prost,tokio/tonic:tuned/protobuf:prost,tokio/tonic:best/protobuf:prost_bytes")
    return overlap([of_tonic(folder, f"members{more}", f"{more} more servers", "--rungs", rungs, "--rounds", "8")
                    for more, rungs in ((0, PAIR), (7, f"{PAIR},{others}"))])


def control_h2(folder, tries):
    return control(folder, tries, rung="uring/h2/protobuf")


def control_long(folder, tries):
    return control(folder, tries, blocks=40)


def control(folder, tries, least=0.9, rung="tokio/tonic/protobuf:prost", blocks=12):
    found = 0
    for number in tries or range(20):
        out = ndecho("ladder", "--rungs", rung, "--sizes", "8", "--malloc", "keep", "--rounds", str(blocks),
                     "--seed", str(number + 1), "--out", f"{folder}/control{number}")
        control = re.search(r"control: .*? more: (found\b(?!,))?", flat(out))
        found += control is not None and control[1] is not None
        print(f"{number + 1}: {control[0] if control else 'no control'}; {found} found so far", flush=True)
    return found >= least * len(tries or range(20))


def order(folder, _):
    ladders = []
    for number in range(2):
        time.sleep(3600 * number)
        ndecho("ladder", "--seed", str(number + 1), "--out", f"{folder}/quick{number}")
        text = ndecho("report", f"{folder}/quick{number}", "--format", "csv")
        rows = csv.DictReader(io.StringIO(text))
        ladders.append({(row["bytes"], row["connections"], row["in_flight"], row["rung"]): row for row in rows})
    disagreed = 0
    for key, first in ladders[0].items():
        second = ladders[1].get(key)
        for other in ("parent", "reference"):
            verdicts = [first[f"{other}_verdict"], second[f"{other}_verdict"]]
            ratios = [float(row[f"to_{other}"] or 1) for row in (first, second)]
            if {"faster", "slower"} & set(verdicts) and (ratios[0] - 1) * (ratios[1] - 1) < 0:
                disagreed += 1
                print(f"{key} to its {other}: {ratios[0]:.3f} {verdicts[0]}, {ratios[1]:.3f} {verdicts[1]}", flush=True)
    print(f"{disagreed} pairs changed their order")
    return disagreed == 0


def main():
    proofs = {"aa": aa, "tonic": tonic, "slices": slices, "members": members, "control": control,
              "control-h2": control_h2, "control-long": control_long, "order": order}
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in proofs:
        sys.exit(__doc__)
    tries = None
    if len(sys.argv) == 3:
        first, last = (int(number) for number in sys.argv[2].split("-"))
        tries = range(first - 1, last)
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(0 if proofs[sys.argv[1]](folder, tries) else 1)


if __name__ == "__main__":
    main()
