# SPDX-License-Identifier: BSD-2-Clause
"""Measurements in the deterministic VM: one processor on which every instruction takes a nanosecond, soft-RoCE, MTU 9000."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time

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


class Boot:
    """A VM that works off the cases of a plan since start(); their output is in .out once it ended."""

    def __init__(self, build, plan, cases, settings):
        self.build, self.plan, self.cases, self.settings = build, plan, cases, settings
        self.out = self.proc = None

    def start(self):
        self.out = tempfile.mkdtemp(prefix="brp-lab.")
        with open(os.path.join(self.out, "plan"), "w", encoding="ascii") as f:
            for number, case in enumerate(self.cases):
                print(number, *case, file=f)
        argv = ["nice", "-n", "5", os.path.join(common.REPO, "tests/rdma/vm-run"), "--deterministic",
                "--mem", memory(self.cases), "--time", str(300 + SECONDS_PER_CASE * len(self.cases)), "--out", self.out]
        for path in [*programs(self.build), *(os.path.join(common.REPO, part) for part in GUEST_PARTS)]:
            argv += ["--add", path]
        self.proc = subprocess.Popen([*argv, "--", GUEST, self.build, "/out/plan", "/out", *self.settings],
                                     cwd=common.REPO, stdout=sys.stderr)

    def finish(self, results):
        """Waits for the end, adds what was measured to `results` and returns what the guest says of itself."""
        status = self.proc.wait()
        if status == 77:
            common.die("there can be no VM here, see above")
        if status:
            common.say(f"the VM ended with status {status}")
        facts = guest_facts(self.out)
        collect(self.cases, self.out, results)
        return facts

    def clean_up(self):
        """Also of one that runs still, or was never started."""
        if self.proc and self.proc.poll() is None:
            self.proc.terminate()
            self.proc.wait()
        if self.out:
            shutil.rmtree(self.out, ignore_errors=True)


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


def one_that_ended(running):
    while True:
        for vm in running:
            if vm.proc.poll() is not None:
                return vm
        time.sleep(0.2)


def measure(build, plans, boots, parallel):
    """plans: [(cases, settings of null_blk)], the longest first, each for `boots` VMs, of which `parallel` run at a time. Each time
    that every plan has come through one more, and at the end: per plan the circumstances, and rows of what a case is with
    medians over its boots so far. Cases that could not be run are left out, and were said."""
    circumstances = common.circumstances()  # as they were at the start
    results, nr_done = [{} for _ in plans], [0] * len(plans)
    waiting = [Boot(build, i, *plan) for _ in range(boots) for i, plan in enumerate(plans)]
    running, nr_told, nr_all = [], 0, len(waiting)
    with contextlib.ExitStack() as stack:
        while waiting or running:
            while waiting and len(running) < parallel:
                vm = waiting.pop(0)
                stack.callback(vm.clean_up)
                vm.start()
                running.append(vm)
                common.say(f"boot {nr_all - len(waiting)} of {nr_all}: {len(vm.cases)} cases")
            vm = one_that_ended(running)
            running.remove(vm)
            facts = vm.finish(results[vm.plan])
            vm.clean_up()
            nr_done[vm.plan] += 1
            if min(nr_done) > nr_told or not (waiting or running):
                nr_told = min(nr_done)
                yield [({**circumstances, "rig": RIG, "guest_kernel": facts[0], "boots": nr,
                         "null_blk": " ".join(settings) or "memory backed, inline"}, make_rows(cases, found))
                       for (cases, settings), nr, found in zip(plans, nr_done, results)]


def make_rows(cases, results):
    keys = ("contender", "rw", "bs", "iodepth", "jobs", "virtual_ms")
    return [{**dict(zip(keys, case)), "bs": str(case[2]).replace("4096", "4k"), **common.summarise(results[case])}
            for case in cases if case in results]
