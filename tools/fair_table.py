#!/usr/bin/env python3
"""Prints the table of docs/RESULTS.md that compares own HTTP/2 with every form of tonic, as Markdown.

    tools/fair_table.py [--clients own,h2load] [--rounds 6] [--sizes 8,64KiB,1MiB,16MiB] [--out DIR]

Every combination of client, allocator (default, keep, mimalloc), headers (changing, equal; h2load sends equal ones
only) and requests in flight (many, one) is a run of `ndecho ladder`. Ratios are server CPU per request to tonic as
documented, in the same launches, with 95 % intervals. With --out the records stay in DIR, and runs that are there are
not repeated. Needs `cargo build --release`, two cores, and for h2load nghttp2-client.
"""

import argparse
import contextlib
import csv
import io
import pathlib
import subprocess
import sys
import tempfile

NDECHO = str(pathlib.Path(__file__).resolve().parent.parent / "target/release/ndecho")
STANDARD = "tokio/tonic/protobuf:prost"
RUNGS = "uring/raw/protobuf,uring/h2/protobuf,tokio/tonic*/protobuf:prost*"


def rows(folder, client, malloc, headers, depth, options):
    out = f"{folder}/{client}-{malloc}-{headers}-{depth}"
    command = [NDECHO, "ladder", "--rungs", RUNGS, "--sizes", options.sizes, "--rounds", str(options.rounds),
               "--duration", "200ms", "--malloc", malloc, "--out", out]
    command += ["--client", client] if client != "own" else []
    command += ["--equal-headers"] if headers == "equal" else []
    command += ["--in-flight", "1"] if depth == "one" else []
    if not pathlib.Path(out).exists():
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    report = subprocess.run([NDECHO, "report", out, "--format", "csv"], capture_output=True, text=True, check=True)
    head = subprocess.run([NDECHO, "report", out], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    return list(csv.DictReader(io.StringIO(report.stdout))), head


def ratio(row):
    """The ratio to tonic as documented with its interval; empty without one."""
    if not row["to_reference"]:
        return row["reason"] or "1"
    def digits(text):
        return f"{float(text):.3f}" if float(text) < 0.0995 else f"{float(text):.2f}"

    ends = [row["to_reference_low"], row["to_reference_high"]]
    interval = f" [{digits(ends[0])}-{digits(ends[1])}]" if all(ends) else ""
    return f"{digits(row['to_reference'])}{interval}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", default="own")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--sizes", default="8,64KiB,1MiB,16MiB")
    parser.add_argument("--out")
    options = parser.parse_args()
    head, names, lines = None, None, []
    place = contextlib.nullcontext(options.out) if options.out else tempfile.TemporaryDirectory()
    with place as folder:
        for client in options.clients.split(","):
            for malloc in ("default", "keep", "mimalloc"):
                for headers in ("changing", "equal") if client == "own" else ("equal",):
                    for depth in ("many", "one"):
                        found, head = rows(folder, client, malloc, headers, depth, options)
                        tables = {}
                        for row in found:
                            tables.setdefault((int(row["bytes"]), int(row["in_flight"])), {})[row["rung"]] = row
                        for (size, in_flight), table in sorted(tables.items()):
                            names = names or [name for name in table if name != STANDARD]
                            tonic = float(table[STANDARD]["server_cpu_ns"] or "nan") / 1000
                            cells = [ratio(table[name]) if name in table else "" for name in names]
                            lines.append([client, malloc, headers, str(in_flight), str(size), f"{tonic:.1f} µs", *cells])
                        print(f"{client} {malloc} {headers} {depth}: done", file=sys.stderr, flush=True)
    print(f"{head}\n")
    print("| client | malloc | headers | in flight | bytes | tonic | " + " | ".join(f"`{name}`" for name in names) + " |")
    print("|---|---|---|" + "---:|" * (3 + len(names)))
    for line in lines:
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main()
