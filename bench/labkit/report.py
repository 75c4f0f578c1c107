# SPDX-License-Identifier: BSD-2-Clause
"""Rows of measurements as Markdown tables and, with gnuplot, as plots."""

import json
import shutil
import subprocess

from labkit import common

RW_NAMES = {"randread": "random read", "randwrite": "random write", "randrw": "random, 70 % reads"}


def write_json(path, about, rows, **more):
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"format": 1, "about": about, **more, "rows": rows}, f, indent=1)
        f.write("\n")


def header(title, about, command):
    lines = [f"# {title}", "", "```", command, "```", ""]
    return lines + [f"* {key.replace('_', ' ')}: {value}" for key, value in about.items()] + [""]


def number(value):
    if value >= 100000:
        return f"{value / 1000:.0f} k"
    return f"{value / 1000:.1f} k" if value >= 1000 else f"{value:.0f}"


def cell(row):
    if row is None:
        return "–"
    spread = ""
    if row.get("runs", 1) > 1 and row["iops"]:
        spread = f" ±{(row['iops_max'] - row['iops_min']) / 2 / row['iops'] * 100:.0f} %"
    return f"{number(row['iops'])}{spread} · {row['mean_us']:.0f} · {row['p99_us']:.0f}"


def find(rows, contender, rw, bs, iodepth, jobs=1):
    for row in rows:
        if (row["contender"], row["rw"], row["bs"], row["iodepth"], row["jobs"]) == (contender, rw, bs, iodepth, jobs):
            return row
    return None


def tables(rows, names=None):
    """One per kind of work: a line per contender, a column per depth."""
    kinds = list(dict.fromkeys((r["rw"], r["bs"], r["jobs"]) for r in rows))
    lines = []
    for kind in kinds:
        mine = [r for r in rows if (r["rw"], r["bs"], r["jobs"]) == kind]
        depths = sorted({r["iodepth"] for r in mine})
        rw, bs, jobs = kind
        lines += [f"## {bs.replace('512', '512 B')} {RW_NAMES.get(rw, rw)}" + (f", {jobs} jobs" if jobs > 1 else ""), "",
                  "IOPS (half the spread between runs) · mean µs · 99th percentile µs", "",
                  "| | " + " | ".join(f"depth {d}" for d in depths) + " |", "|---" * (len(depths) + 1) + "|"]
        for contender in dict.fromkeys(r["contender"] for r in mine):
            cells = [cell(find(mine, contender, rw, bs, d, jobs)) for d in depths]
            lines.append(f"| {(names or {}).get(contender, contender)} | " + " | ".join(cells) + " |")
        lines.append("")
    return lines


# ---- goals -------------------------------------------------------------------------------------


def ratio_line(rows, what, ours, theirs, key, bound, is_most):
    """ours and theirs: (contender, rw, bs, depth). A line of the table of goals, or nothing."""
    a, b = find(rows, *ours), find(rows, *theirs)
    if not a or not b or not b[key]:
        return []
    value = a[key] / b[key]
    holds = value <= bound if is_most else value >= bound
    return [f"| {what} | {a[key]:.1f} | {b[key]:.1f} | {value:.2f} | {'≤' if is_most else '≥'} {bound:.2f} "
            f"| {'yes' if holds else '**no**'} |"]


def goals(rows):
    lines = []
    for rw, limit, must in (("randread", "limit:ping-read", 0.68), ("randwrite", "limit:ping-write", 0.72)):
        for ours in ("brp-rdma", "brp-rdma:ram", "brp-rdma:fio"):
            us = (ours, rw, "4k", 1)
            what = f"4 KiB {RW_NAMES[rw]} depth 1, µs: {ours}"
            lines += ratio_line(rows, f"{what} / srp (must)", us, ("srp", rw, "4k", 1), "mean_us", must, True)
            lines += ratio_line(rows, f"{what} / srp (goal)", us, ("srp", rw, "4k", 1), "mean_us", 0.60, True)
            lines += ratio_line(rows, f"{what} / nvme-rdma", us, ("nvme-rdma", rw, "4k", 1), "mean_us", 1.0, True)
            lines += ratio_line(rows, f"{what} / {limit}", us, (limit, "randread", "4k", 1), "mean_us", 1.25, True)
        for bs, factor, stream in (("4k", 2.0, 0.8), ("512", 3.0, None)):
            for ours in ("brp-rdma", "brp-rdma:ram", "brp-rdma:fio"):
                us = (ours, rw, bs, 32)
                what = f"{bs} {RW_NAMES[rw]} depth 32, IOPS: {ours}"
                for peer in ("srp", "nvme-rdma"):
                    lines += ratio_line(rows, f"{what} / {peer}", us, (peer, rw, bs, 32), "iops", factor, False)
                if stream:
                    lines += ratio_line(rows, f"{what} / limit:stream", us, ("limit:stream", "randread", bs, 32), "iops",
                                        stream, False)
    for rw in ("randread", "randwrite"):
        us = ("brp-rdma:dev", rw, "4k", 1)
        lines += ratio_line(rows, f"4 KiB {RW_NAMES[rw]} depth 1, µs: brp-rdma:dev / nvme-rdma", us,
                            ("nvme-rdma", rw, "4k", 1), "mean_us", 1.0, True)
        us = ("brp-rdma:dev", rw, "4k", 32)
        lines += ratio_line(rows, f"4 KiB {RW_NAMES[rw]} depth 32, IOPS: brp-rdma:dev / nvme-rdma", us,
                            ("nvme-rdma", rw, "4k", 32), "iops", 1.3, False)
    if not lines:
        return []
    return ["## Against the goals", "", "| | ours | theirs | ratio | wanted | reached |", "|---|---|---|---|---|---|",
            *lines, ""]


# ---- plots -------------------------------------------------------------------------------------

PLOT_HEAD = """set terminal {terminal} size 900,560
set output "{path}"
set title "{title}"
set xlabel "{xlabel}"
set ylabel "{ylabel}"
set logscale x 2
set yrange [0:*]
set grid
set key outside right
"""


def plot(path, title, series, xlabel="requests under way", ylabel="thousand requests per second"):
    """series: {name: [(x, y), ...]}. The end of path says which kind: .svg or .png."""
    if not shutil.which("gnuplot"):
        common.say(f"no gnuplot (scripts/setup --bench): {path} is not drawn")
        return False
    terminal = "svg" if path.endswith(".svg") else "pngcairo"
    text = PLOT_HEAD.format(terminal=terminal, path=path, title=title, xlabel=xlabel, ylabel=ylabel)
    text += "plot " + ", ".join(f"'-' using 1:2 with linespoints title \"{name}\"" for name in series) + "\n"
    for points in series.values():
        text += "".join(f"{x} {y}\n" for x, y in sorted(points)) + "e\n"
    subprocess.run(["gnuplot"], input=text, text=True, check=True)
    return True


def iops_series(rows, rw, bs="4k", names=None):
    series = {}
    for row in rows:
        if (row["rw"], row["bs"], row["jobs"]) == (rw, bs, 1) and not row["contender"].startswith("limit:"):
            name = (names or {}).get(row["contender"], row["contender"])
            series.setdefault(name, []).append((row["iodepth"], row["iops"] / 1e3))
    return {name: points for name, points in series.items() if len(points) > 2}
