# SPDX-License-Identifier: BSD-2-Clause
"""What all parts of the lab use: messages, processes, what fio and brp-perf print, the circumstances of a run."""

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def die(text):
    sys.exit(f"lab: {text}")


def say(text):
    print(f"lab: {text}", file=sys.stderr, flush=True)


def first_line(argv):
    try:
        out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        return out.strip().splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None


def processor():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        for line in f:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def commit():
    """Results that were written do not make another program."""
    name = first_line(["git", "-C", REPO, "describe", "--always"])
    changed = first_line(["git", "-C", REPO, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs/results"])
    return name + "-dirty" if name and changed else name


def circumstances():
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "processor": processor(),
        "processors": os.cpu_count(),
        "kernel": platform.release(),
        "fio": first_line(["fio", "--version"]),
    }


# ---- what programs print


def parse_fio(text):
    """{iops, mean_us, p50_us, p99_us} of a whole job; reads and writes together."""
    job = json.loads(text[text.index("{\n"):])["jobs"][0]
    if job["error"]:
        raise ValueError(f"fio error {job['error']}")
    sides = [s for s in (job["read"], job["write"]) if s["total_ios"]]
    ios = sum(s["total_ios"] for s in sides)
    if not ios:
        raise ValueError("fio did no I/O")
    ret = {
        "ios": ios,
        "iops": sum(s["iops"] for s in sides),
        "mean_us": sum(s["lat_ns"]["mean"] * s["total_ios"] for s in sides) / ios / 1e3,
        "client_cpu_us": (job["usr_cpu"] + job["sys_cpu"]) / 100 * job["job_runtime"] * 1e3 / ios,
    }
    # Percentiles cannot be added: of a mix, the worse one.
    for name, key in (("p50_us", "50.000000"), ("p99_us", "99.000000")):
        ret[name] = max(s["lat_ns"]["percentile"][key] for s in sides) / 1e3
    return ret


def parse_brp_perf(text):
    r = json.loads(text)
    if r["errors"]:
        raise ValueError(f"{r['errors']} I/O errors")
    return {
        "ios": r["iops"] * r["seconds"],
        "iops": r["iops"],
        "mean_us": r["lat_us"]["mean"],
        "p50_us": r["lat_us"]["p50"],
        "p99_us": r["lat_us"]["p99"],
        "client_cpu_us": r["cpu_us_per_io"],
    }


def parse_raw_verbs(text):
    r = json.loads(text)
    return {"iops": r["iops"], "mean_us": r["lat_us"]["mean"], "p50_us": r["lat_us"]["p50"],
            "p99_us": r["lat_us"]["p99"]}


def summarise(measurements):
    """Medians of what was measured several times, and how far the IOPS were apart."""
    ret = {key: statistics.median(m[key] for m in measurements)
           for key in measurements[0] if all(key in m for m in measurements)}
    iops = [m["iops"] for m in measurements]
    ret.update(iops_min=min(iops), iops_max=max(iops), runs=len(iops))
    return ret
