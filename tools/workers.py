#!/usr/bin/env python3
"""Compares one worker of a rung with two, on two cores that a pair of load generators shares with them.

Usage: tools/workers.py [--rung uring/h2/protobuf] [--rounds 5] [--time 1s] [--cases 8x1000,8x1000+20us,64KiBx64]

A case is BYTESxIN_FLIGHT; "+20us" adds that time to each request (`ndecho serve --delay`). The delay is time by the
clock, so time in which a load generator has the core counts. Two processes make the load, one on either core, with
half of the requests in flight each. Each round runs one worker (on core 0) and two (on cores 0 and 1) in a random
order, in fresh processes. Ratios are taken within a round; the table gives medians.

The load uses the same two cores, so the ratio is below 2 by the share of the load; a case with added time shows how
the workers themselves scale. "balance" is the smaller worker's share of the CPU of both: the kernel spreads
connections by a hash (SO_REUSEPORT), so a few connections may all meet one worker. Run `cargo build --release` first.
Needs Linux and two cores.
"""

import argparse
import json
import os
import random
import re
import signal
import statistics
import subprocess

PROGRAM = "target/release/ndecho"


def worker_ns(pid):
    """Returns the CPU time of each thread, sorted; the workers are the last ones."""
    times = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as schedstat:
            times.append(int(schedstat.read().split()[0]))
    return sorted(times)


def start(rung, workers, spin):
    command = [PROGRAM, "serve", rung, "--cpu", "0,1", "--workers", str(workers)]
    command += ["--delay", spin] if spin else []
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    ready = server.stdout.readline()
    if not ready.startswith("ready "):
        raise SystemExit(f"{' '.join(command)}: not ready: {ready!r}")
    return server, ready.split()[1]


def describe(name):
    """Returns the axes of a rung, as the program lists them."""
    listed = subprocess.run([PROGRAM, "rungs", "--json"], stdout=subprocess.PIPE, text=True, check=True)
    rungs = map(json.loads, listed.stdout.splitlines())
    found = next((rung for rung in rungs if rung["rung"] == name), None)
    if found is None:
        raise SystemExit(f"{name} is no rung; `{PROGRAM} rungs` lists them")
    return found


def load(args, address, pid, core, size, in_flight):
    scheme = args.described["scheme"]
    connections = in_flight if scheme == "http" else min(in_flight, args.connections // 2)
    command = [PROGRAM, "load", f"{scheme}://{address}", "--codec", args.described["encoding"]]
    command += ["--size", size, "--connections", str(connections), "--in-flight", str(in_flight)]
    command += ["--server-pid", str(pid), "--cpu", str(core), "--warmup", "300ms", "--duration", args.time, "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def measure(args, workers, size, in_flight, spin):
    server, address = start(args.rung, workers, spin)
    try:
        loads = [load(args, address, server.pid, core, size, in_flight // 2) for core in (0, 1)]
        said = [json.loads(process.communicate()[0]) for process in loads]
        cpu = worker_ns(server.pid)[-workers:]
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()
    rate = sum(one["requests"] / one["wall_ns"] for one in said) * 1e9
    busy = {who: sum(one[who]["total_ns"] / one["wall_ns"] for one in said) for who in ("client_cpu", "server_cpu")}
    return {
        "rate": rate,
        "load_us": busy["client_cpu"] / rate * 1e6,
        "server_us": busy["server_cpu"] / len(said) / rate * 1e6,
        "balance": cpu[0] / sum(cpu),
    }


def case(text):
    size, in_flight, spin = re.fullmatch(r"(\w+)x(\d+)(?:\+(\w+))?", text).groups()
    return text, size, int(in_flight), spin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rung", default="uring/h2/protobuf")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--time", default="1s")
    parser.add_argument("--connections", type=int, default=32, help="of both loads together; REST has one per request")
    parser.add_argument("--cases", default="8x1000,8x1000+20us,64KiBx64")
    args = parser.parse_args()
    args.described = describe(args.rung)

    columns = f"{'case':>14} {'one/s':>9} {'two/s':>9} {'ratio':>6} {'range':>10}"
    print(f"{columns} {'CPU us/request: one':>20} {'two':>8} {'load':>8} {'balance':>8}")
    for name, size, in_flight, spin in map(case, args.cases.split(",")):
        rounds = []
        for _ in range(args.rounds):
            order = random.sample((1, 2), 2)
            rounds.append({workers: measure(args, workers, size, in_flight, spin) for workers in order})
        ratios = [run[2]["rate"] / run[1]["rate"] for run in rounds]
        one, two = (statistics.median(run[workers]["rate"] for run in rounds) for workers in (1, 2))
        one_us, two_us = (statistics.median(run[workers]["server_us"] for run in rounds) for workers in (1, 2))
        load_us, balance = (statistics.median(run[2][key] for run in rounds) for key in ("load_us", "balance"))
        spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
        print(
            f"{name:>14} {one:9.0f} {two:9.0f} {statistics.median(ratios):6.2f} {spread:>10} "
            f"{one_us:20.3f} {two_us:8.3f} {load_us:8.3f} {balance:8.0%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
