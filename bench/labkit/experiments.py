# SPDX-License-Identifier: BSD-2-Clause
"""The experiments in the VM: what is measured, and what is said about it."""

import itertools
import os

from labkit import plans, report, vm

DEVICE_NS = 12000  # the paper's DRAM SSD
DEVICE_MBPS = 100  # of the device that is slower than the processor: 25.6 k requests of 4 KiB a second

# Of the paper's Table 2: us, and without the device's own time.
PAPER_LATENCY = {"randread": ((63, 51), (43, 31)), "randwrite": ((75, 62), (54, 41))}


def write(args, name, title, about, rows, body, **more):
    report.write_json(os.path.join(args.out, name + ".json"), about, rows, **more)
    with open(os.path.join(args.out, name + ".md"), "w", encoding="utf-8") as f:
        f.write("\n".join(report.header(title, about, args.command) + body))


def draw(args, body, name, title, series):
    if series and report.plot(os.path.join(args.out, name + ".svg"), title, series):
        body += [f"![{title}]({name}.svg)", ""]


def measure(args, *what):
    return vm.measure(args.build, what, args.boots, args.parallel)


# ---- peers -------------------------------------------------------------------------------------


def compare(args):
    cases = plans.quick() if args.quick else plans.compare(args.depths)
    for [(about, rows)] in measure(args, (cases, ())):
        write_comparison(args, about, rows)


def write_comparison(args, about, rows):
    body = [
        "Every contender has a null_blk device of its own of the same kind, memory backed; `:ram` is brp-target's own memory",
        "volume, `:fio` the fio engine, `:dev` fio on the block device that brp-initiator makes, otherwise brp-perf; the peers",
        "are measured by fio with io_uring. `limit:` are bare verbs (bench/raw-verbs): no protocol, no storage.", ""]
    body += report.goals(rows)
    for rw in plans.DIRECTIONS:
        draw(args, body, f"lab-vm-{rw}", f"4 KiB {report.RW_NAMES[rw]}", report.iops_series(rows, rw))
    write(args, "lab-vm", "BRP and its peers over soft-RoCE", about, rows, body + report.tables(rows))


LIMITED_NOTES = [
    f"The same 12 us, and no more than {DEVICE_MBPS} MiB/s (null_blk's `mbps`), {DEVICE_MBPS * 256 / 1000:.1f} k requests of 4 KiB a second.",
    "Without that limit it is the one processor that limits: local fio fills it from depth 2 on, and whoever does more for a request",
    "than local fio must lose. Here the processor has time left, and what counts is whether enough requests are under way at the",
    "device, which `--io-mode serial` (BRP-1) prevents. The limit is as low as this because both ends of BRP over RDMA together,",
    "soft-RoCE included, take some 30 us of the processor for a request. null_blk hands its bytes out every 20 ms: who has used",
    "them up sooner waits for the next, hence the 99th percentiles."]

PAPER_NOTES = [
    "What to keep in mind:", "",
    "* The paper gives its Figure 7 as a drawing without figures, so only what it says of it in words can be compared. Its threads",
    "  are requests under way here. SRP is today's ib_srp with LIO's ib_srpt, which gives requests to the device as they come; the",
    "  paper's did so one after the other, as BRP-1 (`--io-mode serial`) still does. So BRP-1 need not be faster than SRP here.",
    "* The paper's BRP is kernel code at both ends, on 40 Gb/s InfiniBand. Ours runs in user space and pays for system calls and for",
    "  waking up; and soft-RoCE's own instructions, some 80 us for the bare messages of one request, are in all figures.",
    "* One processor runs everything: what does not wait for the device adds up, and the device's time can hide behind work that",
    "  has to be done anyway.", ""]


# ---- the paper ---------------------------------------------------------------------------------


def change(ours, theirs):
    return f"{(ours / theirs - 1) * 100:+.0f}".replace("-", "−")


def latency_table(with_device, without):
    lines = ["## Table 2: latency of one request, µs (in brackets: without the device)", "",
             "| | SRP | BRP | BRP against SRP | paper: SRP | paper: BRP | paper: BRP against SRP |", "|---|---|---|---|---|---|---|"]
    for rw, (srp, brp) in PAPER_LATENCY.items():
        found = [report.find(rows, c, rw, "4k", 1) for c in ("srp", "brp-rdma:merge=off") for rows in (with_device, without)]
        if None in found:
            continue
        a, a0, b, b0 = (row["mean_us"] for row in found)
        lines.append(f"| {report.RW_NAMES[rw]} | {a:.0f} ({a0:.0f}) | {b:.0f} ({b0:.0f}) | {change(b, a)} "
                     f"({change(b0, a0)}) % | {srp[0]} ({srp[1]}) | {brp[0]} ({brp[1]}) "
                     f"| {change(brp[0], srp[0])} ({change(brp[1], srp[1])}) % |")
    return lines + [""]


def claims(rows, depths):
    """What the paper says of its Figure 7, in words only, and whether it is so here."""
    def iops(contender, depth):
        row = report.find(rows, contender, "randwrite", "4k", depth)
        return row["iops"] if row else 0

    one, two, three, srp = "brp-rdma:serial:merge=off", "brp-rdma:merge=off", "brp-rdma:merge=always", "srp"
    low, high = [d for d in depths if d < 128], [d for d in depths if d >= 128]
    most, few = max(depths), max(d for d in depths if d <= 16)
    losing = [d for d in low if iops(three, d) < iops(two, d)]
    where = " at depth " + ", ".join(map(str, losing)) if losing != low else ""
    said = [
        ("BRP-1 is faster than SRP", all(iops(one, d) > iops(srp, d) for d in depths)),
        ("BRP-1 does not grow beyond 16", iops(one, most) < 1.1 * iops(one, few)),
        ("SRP does not grow beyond 16", iops(srp, most) < 1.1 * iops(srp, few)),
        ("BRP-2 grows far beyond BRP-1", iops(two, most) > 1.5 * iops(one, most)),
        ("always merging loses to no merging below 128", losing and "yes" + where),
        ("always merging wins from 128 on", all(iops(three, d) > iops(two, d) for d in high)),
    ]
    return ["| the paper says of its Figure 7 | here |", "|---|---|",
            *[f"| {what} | {holds if isinstance(holds, str) else 'yes' if holds else 'no'} |" for what, holds in said], ""]


def papers(args):
    slow = ["irqmode=2", f"completion_nsec={DEVICE_NS}"]
    for (about, rows), (_, limited), (_, plain) in measure(
            args, (plans.papers(args.depths), slow), (plans.limited(), [*slow, f"mbps={DEVICE_MBPS}"]),
            (plans.papers([1]), ())):
        write_papers(args, about, rows, limited, plain)


def limited_table(rows):
    """Our IOPS against the local ones, on the device that is slower than the one processor of this rig."""
    lines = ["## A device that is the limit", "", *LIMITED_NOTES, "",
             "| share of local IOPS | " + " | ".join(f"depth {d}" for d in plans.LIMITED_DEPTHS) + " | 0.95 reached |",
             "|---" * (len(plans.LIMITED_DEPTHS) + 2) + "|"]
    for rw in plans.DIRECTIONS:
        for c, name in plans.LIMITED.items():
            found = [(d, report.find(rows, c, rw, "4k", d), report.find(rows, "local", rw, "4k", d)) for d in plans.LIMITED_DEPTHS]
            if c == "local" or None in (row for _, *pair in found for row in pair):
                continue
            shares = [ours["iops"] / theirs["iops"] for _, ours, theirs in found]
            nr_short = sum(1 for _ in itertools.dropwhile(lambda share: share >= 0.95, reversed(shares)))
            reached = f"from {found[nr_short][0]} on" if nr_short < len(found) else "**no**"
            lines.append(f"| {name}, {report.RW_NAMES[rw]} | " + " | ".join(f"{share:.2f}" for share in shares) + f" | {reached} |")
    lines.append("")
    return lines + [line.replace("## ", "### ", 1) for line in report.tables(rows, plans.LIMITED)]


def write_papers(args, about, rows, limited, plain):
    names = plans.PAPER_SCHEMES
    body = latency_table(rows, plain)
    draw(args, body, "lab-papers", "4 KiB random write on a device of 12 us", report.iops_series(rows, "randwrite", names=names))
    body += claims(rows, args.depths)
    body += PAPER_NOTES + report.tables(rows, names) + limited_table(limited)
    write(args, "lab-papers", "The paper's experiment", about, rows, body, limited_device=limited, without_device=plain)


# ---- merging -----------------------------------------------------------------------------------


def judge(rows, depths):
    lines = ["`adaptive` against the better of `off` and `always`: IOPS at least 0.97 times, 99th percentile at most 1.1 times.", "",
             "| | depth | off | always | adaptive | IOPS | p99 | holds |", "|---|---|---|---|---|---|---|---|"]
    nr_held = nr = 0
    for rw in plans.DIRECTIONS + ["randrw"]:
        for depth in depths:
            modes = {m: report.find(rows, f"brp-rdma:ram:merge={m}", rw, "4k", depth) for m in plans.MERGE_MODES}
            if None in modes.values():
                continue
            ours = modes["adaptive"]
            iops = ours["iops"] / max(modes["off"]["iops"], modes["always"]["iops"])
            p99 = ours["p99_us"] / min(modes["off"]["p99_us"], modes["always"]["p99_us"])
            holds = iops >= 0.97 and p99 <= 1.1
            nr, nr_held = nr + 1, nr_held + holds
            cells = " | ".join(f"{report.number(modes[m]['iops'])} · {modes[m]['p99_us']:.0f}" for m in plans.MERGE_MODES)
            lines.append(f"| {report.RW_NAMES[rw]} | {depth} | {cells} | {iops:.2f} | {p99:.2f} | {'yes' if holds else '**no**'} |")
    return [f"{nr_held} of {nr} hold.", ""] + lines + [""]


def merging(args):
    for [(about, rows)] in measure(args, (plans.merging(args.depths), ())):
        write_merging(args, about, rows)


def write_merging(args, about, rows):
    body = judge(rows, args.depths)
    names = {f"brp-rdma:ram:merge={m}": m for m in plans.MERGE_MODES}
    for rw in plans.DIRECTIONS + ["randrw"]:
        draw(args, body, f"lab-merging-{rw}", f"4 KiB {report.RW_NAMES[rw]}", report.iops_series(rows, rw, names=names))
    write(args, "lab-merging", "Merging: off, always, adaptive", about, rows, body)


# ---- volumes -----------------------------------------------------------------------------------


def volumes(args):
    for [(about, rows)] in measure(args, (plans.volumes(), ())):
        write_volumes(args, about, rows)


def write_volumes(args, about, rows):
    body = [f"fio, a job of depth {plans.VOLUMES_DEPTH} on each volume; BRP by its engine and, `:dev`, by the block devices of brp-initiator. "
            "One target of each kind", "has them all. BRP has a session and a connection for each volume; nvme has one connection for all namespaces, SRP "
            "one for all", "LUNs.", "", "IOPS (half the spread between runs) · mean µs · 99th percentile µs", ""]
    for rw in plans.DIRECTIONS:
        body += [f"## 4 KiB {report.RW_NAMES[rw]}", "", "| volumes | " + " | ".join(map(str, plans.VOLUMES)) + " |",
                 "|---" * (len(plans.VOLUMES) + 1) + "|"]
        for c in plans.VOLUMES_OF:
            cells = [report.cell(report.find(rows, f"{c}:volumes", rw, "4k", plans.VOLUMES_DEPTH, nr)) for nr in plans.VOLUMES]
            body.append(f"| {c} | " + " | ".join(cells) + " |")
        body.append("")
    write(args, "lab-volumes", "One to 64 volumes", about, rows, body)
