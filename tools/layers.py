#!/usr/bin/env python3
"""Makes the tables of docs/LAYERS.md: runs `ndecho profile` for each of them and writes what it prints into the file.

    tools/layers.py [--rounds 6] [--duration 400ms] [--sizes 8,64KiB,1MiB] [--out DIR] [--print]

The sections between the introduction and "How to read them" are replaced, and the legend in that one. With --print the
document goes to stdout, and the file stays as it is. With --out the records stay in DIR, and runs that are there are
not repeated. The introduction names the machine and the findings; change it by hand after a run. Needs
`cargo build --release`, and a quiet machine with two cores. Python functions need a python3 of 3.13 or later, first in
PATH.
"""

import argparse
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs/LAYERS.md"
NDECHO = ROOT / "target/release/ndecho"

# Heading of each section, and the rungs of its command, a line each.
SECTIONS = {
    "gRPC, protobuf": ["tokio/tonic/protobuf:prost tokio/tonic:best/protobuf:prost_bytes",
                       "tokio/hyper-h2:tuned/protobuf:prost tokio/h2-crate:tuned/protobuf:prost",
                       "uring/h2/protobuf uring/raw/protobuf"],
    "REST, .npy and JSON": ["tokio/axum/npy tokio/axum/json:serde tokio/hyper/npy tokio/hyper/json:serde",
                            "uring/h1/npy uring/h1/json"],
    "Servers in Python": ["external/grpcio/protobuf external/aiohttp/npy external/aiohttp/json"],
}
# Sizes of a section that does not have those of --sizes: a JSON list of 1 MiB takes aiohttp a tenth of a second.
SIZES = {"Servers in Python": "8,64KiB"}
AFTER = "## How to read them\n"
LEGEND = "Samples of the CPU clock, "


def run(rungs, sizes, options, folder):
    """Profiles some rungs. Returns the tables that the command prints, and their legend."""
    command = [options.program, "profile", *shlex.split(" ".join(rungs)), "--sizes", sizes,
               "--rounds", str(options.rounds), "--duration", options.duration, "--out", str(folder)]
    if folder.exists():
        command = [options.program, "report", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(command)}: exit {done.returncode}")
    tables, found, legend = done.stdout.partition(LEGEND)
    if not found:
        sys.exit(f"{shlex.join(command)}: printed no legend that begins with {LEGEND!r}")
    return tables.strip("\n"), LEGEND + legend.split("\n\nrecords: ")[0].strip("\n")


def section(heading, rungs, sizes, tables):
    lines = [f"ndecho profile {rungs[0]}", *rungs[1:], f"--sizes {sizes}"]
    command = " \\\n    ".join(lines)
    return f"## {heading}\n\n```sh\n{command}\n```\n\n```text\n{tables}\n```\n\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--duration", default="400ms")
    parser.add_argument("--sizes", default="8,64KiB,1MiB")
    parser.add_argument("--out", metavar="DIR", type=pathlib.Path)
    parser.add_argument("--print", action="store_true")
    parser.add_argument("--program", default=str(NDECHO))
    options = parser.parse_args()
    text = DOCUMENT.read_text(encoding="utf-8")
    start, end = text.index(f"## {next(iter(SECTIONS))}"), text.index(AFTER)
    made, legend = "", ""
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.out or pathlib.Path(scratch)
        for number, (heading, rungs) in enumerate(SECTIONS.items()):
            print(f"{heading}: {' '.join(rungs)}", file=sys.stderr)
            sizes = SIZES.get(heading, options.sizes)
            tables, legend = run(rungs, sizes, options, folder / str(number))
            made += section(heading, rungs, sizes, tables)
    rest = re.sub(rf"(?<=```text\n){LEGEND}.*?(?=\n```)", lambda _: legend, text[end:], count=1, flags=re.DOTALL)
    if options.print:
        print(text[:start] + made + rest, end="")
    else:
        DOCUMENT.write_text(text[:start] + made + rest, encoding="utf-8")


if __name__ == "__main__":
    main()
