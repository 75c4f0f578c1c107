# SPDX-License-Identifier: BSD-2-Clause
"""Measurements in the deterministic VM: one processor on which every instruction takes a nanosecond, soft-RoCE, MTU 9000."""

import os
import shutil
import subprocess
import tempfile

from labkit import common

SECONDS_PER_CASE = 40  # of real time at most, on a machine that does much else
GUEST = "bench/labkit/guest"
GUEST_PARTS = [GUEST, GUEST + "-volumes", "bench/labkit/nvmet.sh"]
RIG = "deterministic VM: 1 processor, 1 instruction = 1 ns, soft-RoCE, MTU 9000"


def parse(contender, text):
    if contender.startswith("limit:"):
        return common.parse_raw_verbs(text)
    if contender.startswith("brp-") and not {"fio", "dev", "volumes"} & set(contender.split(":")):
        return common.parse_brp_perf(text)
    return common.parse_fio(text)


def programs(build):
    ret = []
    for name in ("target/brp-target", "bench/brp-perf", "bench/raw-verbs", "bench/brp-fio.so",
                 "initiator/brp-initiator"):
        path = os.path.join(build, name)
        if os.path.exists(path):
            ret.append(path)
        elif "fio" not in name and "initiator" not in name:
            common.die(f"no {path}: build it first, with -Drdma=enabled")
    return ret


def memory(cases):
    """Each block device of BRP has a server with 35 MiB of its own, and three times 64 volumes want theirs."""
    return "6G" if any(case[0].endswith(":volumes") for case in cases) else "3G"


def boot(build, cases, settings, out):
    """Runs the cases in one boot; their output is in `out` afterwards."""
    with open(os.path.join(out, "plan"), "w", encoding="ascii") as f:
        for number, case in enumerate(cases):
            print(number, *case, file=f)
    argv = ["nice", "-n", "5", os.path.join(common.REPO, "tests/rdma/vm-run"), "--deterministic", "--mem", memory(cases),
            "--time", str(300 + SECONDS_PER_CASE * len(cases)), "--out", out]
    for path in [*programs(build), *(os.path.join(common.REPO, part) for part in GUEST_PARTS)]:
        argv += ["--add", path]
    done = subprocess.run([*argv, "--", GUEST, build, "/out/plan", "/out", *settings], cwd=common.REPO, text=True,
                          stdout=subprocess.PIPE, check=False)
    for line in done.stdout.splitlines():
        common.say(line)
    if done.returncode == 77:
        common.die("there can be no VM here, see above")
    if done.returncode:
        common.say(f"the VM ended with status {done.returncode}")


def collect(cases, out, results):
    for number, case in enumerate(cases):
        path = os.path.join(out, f"{number}.json")
        if not os.path.exists(path):
            continue
        with open(path, encoding="utf-8", errors="replace") as f:
            text = f.read()
        try:
            results.setdefault(case, []).append(parse(case[0], text))
        except (ValueError, KeyError, IndexError) as error:
            common.say(f"{' '.join(map(str, case))}: {error}")


def guest_facts(out):
    try:
        with open(os.path.join(out, "guest"), encoding="utf-8") as f:
            return f.read().split("\n")
    except OSError:
        common.die("the VM did not get as far as to measure anything")


def measure(build, cases, boots, settings=()):
    """After each boot: the circumstances, and rows of what a case is with medians over the boots so far. Cases that could not be
    run are left out, and were said."""
    circumstances = common.circumstances()  # as they were at the start
    results = {}
    for i in range(boots):
        common.say(f"boot {i + 1} of {boots}: {len(cases)} cases")
        out = tempfile.mkdtemp(prefix="brp-lab.")
        try:
            boot(build, cases, settings, out)
            facts = guest_facts(out)
            collect(cases, out, results)
        finally:
            shutil.rmtree(out, ignore_errors=True)
        yield {**circumstances, "rig": RIG, "guest_kernel": facts[0], "boots": i + 1,
               "null_blk": " ".join(settings) or "memory backed, inline"}, make_rows(cases, results)


def last(measurements):
    *_, ret = measurements
    return ret


def make_rows(cases, results):
    keys = ("contender", "rw", "bs", "iodepth", "jobs", "virtual_ms")
    return [{**dict(zip(keys, case)), "bs": str(case[2]).replace("4096", "4k"), **common.summarise(results[case])}
            for case in cases if case in results]
