# SPDX-License-Identifier: BSD-2-Clause
"""BRP over TCP beside its limits and its peers on loopback, measured in one run.

4 KiB random I/O on a memory-backed volume, server on one core, client on another:

  raw blocking, spinning  the bytes alone: ping-pong at depth 1, else all there is in one recv/send
  raw blocking, volume    the same, but out of and into random pages of memory as large as the volume,
                          which are in no cache (depth above 1 only)
  nbdkit, nbdkit unix     nbdkit's memory plugin over TCP and a unix socket, fio with its nbd engine
  nbd-server, qemu-nbd, qemu-storage-daemon
                          a file in /dev/shm, likewise
  brp-perf, brp-fio       brp-target, both ends as they come: sleeping, with a small polling budget
  ... polling             both ends with --poll-us (depth 1 only)
  ... batching            fio told to submit and reap in batches (depth above 1 only)

Everything measured for one direction and depth in one round is one group, run one after the other:
the machine's moods change slower than that. A group in which another guest of the host stole time
is thrown away and done again. Figures are medians over the groups, ratios medians of the ratios
within a group. Other work on this machine is not noticed: see to it that there is none.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time

from labkit import common, report
from labkit.common import die, say

RAW_BLOCK, RAW_VOLUME, RAW_SPIN, NBDKIT = "raw blocking", "raw blocking, volume", "raw spinning", "nbdkit"
POLL_US = 1000  # of the polling contenders: never sleeps between two requests
MAX_TRIES = 3  # of a group, while time is stolen
STEAL_SHARE = 0.002  # of the group's time on all cores that may be stolen: a tick of accounting
DEPTHS = [1, 32, 128]


# ---- processes ---------------------------------------------------------------------------------


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_port(port, proc):
    """Whether the server listens, sooner or later; it may have gigabytes to populate first. A port, or
    the path of a unix socket."""
    for _ in range(300):
        with contextlib.suppress(OSError):
            if isinstance(port, str):
                with socket.socket(socket.AF_UNIX) as s:
                    s.connect(port)
            else:
                socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        if proc and proc.poll() is not None:
            return False
        time.sleep(0.1)
    return False


@contextlib.contextmanager
def server(name, cpu, port, argv):
    """A server on its core; ends with the block, whatever ends that."""
    with tempfile.TemporaryFile("w+") as log:
        proc = subprocess.Popen(["taskset", "-c", str(cpu), *argv], stdout=log, stderr=log)
        try:
            if not wait_for_port(port, proc):
                log.seek(0)
                die(f"{name} does not listen on port {port}:\n{log.read()}")
            yield proc.pid
        finally:
            proc.terminate()
            try:
                proc.wait(10)
            except subprocess.TimeoutExpired:
                proc.kill()
                proc.wait()


def run_client(cpu, argv, seconds):
    """Output of a client on its core (cpu None: it sees to that itself)."""
    pin = [] if cpu is None else ["taskset", "-c", str(cpu)]
    with tempfile.TemporaryFile("w+") as errors:
        proc = subprocess.Popen([*pin, *argv], stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            out, _ = proc.communicate(timeout=seconds + 30)
        except BaseException:
            proc.kill()
            proc.wait()
            raise
        if proc.returncode != 0:
            errors.seek(0)
            die(f"status {proc.returncode} from: {' '.join(argv)}\n{errors.read()}{out}")
        return out


def cpu_seconds(pid):
    """CPU time of a process, its ended threads included, as clock_getcpuclockid(3) has it: in
    nanoseconds, where /proc/PID/stat has ticks of 10 ms. That of ended children is added, for
    servers that fork."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        fields = f.read().rpartition(")")[2].split()
    children = (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(~pid << 3 | 2) + children


def stolen_seconds():
    with open("/proc/stat", encoding="ascii") as f:
        return int(f.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


# ---- contenders --------------------------------------------------------------------------------
#
# A contender's measure(rw, depth) gives iops, mean_us, p99_us, and CPU time per I/O of both ends.


class Raw:
    def __init__(self, args, name, wait, options=(), depths=lambda _depth: True):
        self.args, self.name, self.wait, self.options, self.can = args, name, wait, list(options), depths

    def measure(self, rw, depth):
        args = self.args
        out = run_client(None, [
            args.tool("raw-tcp"), "--rw", rw, "--wait", self.wait, "--depth", str(depth),
            "--mode", "batched" if depth > 1 else "pingpong",
            "--cpus", f"{args.server_cpu},{args.client_cpu}",
            "--time", str(args.time), "-o", "json", *self.options], args.time)
        r = json.loads(out)
        return {
            "iops": r["iops"],
            "mean_us": r["lat_us"]["mean"],
            "p99_us": r["lat_us"]["p99"],
            "client_cpu_us": r["cpu_us_per_op"]["client"],
            "server_cpu_us": r["cpu_us_per_op"]["server"],
        }


class WithServer:
    """What is the same for everything that talks to a server that stays."""

    def __init__(self, args, name, pid, uri):
        self.args, self.name, self.pid, self.uri = args, name, pid, uri

    def can(self, _depth):
        return True

    def measure(self, rw, depth):
        before = cpu_seconds(self.pid)
        m = self.run(rw, depth)
        m["server_cpu_us"] = (cpu_seconds(self.pid) - before) * 1e6 / m["ios"]
        return m


class Fio(WithServer):
    def __init__(self, args, name, pid, uri, engine, options=(), depths=lambda _depth: True):
        super().__init__(args, name, pid, uri)
        self.engine, self.options, self.can = engine, list(options), depths

    def command(self, *more):
        return ["fio", "--name=compare", f"--ioengine={self.engine}", f"--uri={self.uri}",
                "--thread", "--output-format=json", *more]

    def run(self, rw, depth):
        out = run_client(self.args.client_cpu, self.command(
            f"--rw=rand{rw}", "--bs=4k", f"--iodepth={depth}", "--time_based",
            f"--runtime={self.args.time}", "--randrepeat=0", "--norandommap",
            # Of the whole latency: fio's other one begins when the engine has taken the request.
            "--lat_percentiles=1", "--clat_percentiles=0", *self.options),
            self.args.time)
        try:
            return common.parse_fio(out)
        except ValueError as error:
            die(f"{self.name}: {error}")

    def fill(self):
        """Memory never written would all be one page of zeroes."""
        run_client(self.args.client_cpu, self.command("--rw=write", "--bs=1m", "--iodepth=4"), 60)


class BrpPerf(WithServer):
    def __init__(self, args, name, pid, uri, options=(), depths=lambda _depth: True):
        super().__init__(args, name, pid, uri)
        self.options, self.can = list(options), depths

    def run(self, rw, depth):
        out = run_client(self.args.client_cpu, [
            self.args.tool("brp-perf"), self.uri, "--rw", f"rand{rw}", "--bs", "4k",
            "--iodepth", str(depth), "--jobs", "1", "--time", str(self.args.time),
            "-o", "json", *self.options], self.args.time)
        try:
            return common.parse_brp_perf(out)
        except ValueError as error:
            die(f"{self.name}: {error}")

    def fill(self):
        run_client(self.args.client_cpu, [
            self.args.tool("brp-perf"), self.uri, "--rw", "write", "--bs", "256k",
            "--iodepth", "4", "--jobs", "1", "--time", "3"], 60)


def start_brp(args, stack, *options):
    port = free_port()
    pid = stack.enter_context(server("brp-target", args.server_cpu, port, [
        args.tool("brp-target"), "--dev", f"ram:{args.size},name=fast0",
        "--listen", f"tcp://127.0.0.1:{port}", *options]))
    return pid, f"brp+tcp://127.0.0.1:{port}/fast0"


def start_nbdkit(args, stack, _folder):
    # -f, so that it is our child and cannot be left behind.
    port = free_port()
    pid = stack.enter_context(server("nbdkit", args.server_cpu, port, [
        "nbdkit", "-f", "-i", "127.0.0.1", "-p", str(port), "memory", args.size]))
    return pid, f"nbd://127.0.0.1:{port}"


def start_nbdkit_unix(args, stack, folder):
    path = os.path.join(folder, "nbdkit.sock")
    pid = stack.enter_context(server("nbdkit", args.server_cpu, path, [
        "nbdkit", "-f", "-U", path, "memory", args.size]))
    return pid, f"nbd+unix:///?socket={path}"


def make_file(args, folder, name):
    path = os.path.join(folder, name)
    with open(path, "wb") as f:
        f.truncate(size_bytes(args.size))
    return path


def start_nbd_server(args, stack, folder):
    port = free_port()
    config = os.path.join(folder, "nbd-server.conf")
    with open(config, "w", encoding="utf-8") as f:
        f.write(f"[generic]\nport = {port}\nlistenaddr = 127.0.0.1\n"
                f"[vol]\nexportname = {make_file(args, folder, 'nbd-server.img')}\nfilesize = {size_bytes(args.size)}\n")
    pid_file = os.path.join(folder, "nbd-server.pid")
    # Debian's knows no way to stay in the foreground.
    run_client(args.server_cpu, ["nbd-server", "-C", config, "-p", pid_file], 10)
    with open(pid_file, encoding="ascii") as f:
        pid = int(f.read())
    stack.callback(os.kill, pid, signal.SIGTERM)
    if not wait_for_port(port, None):
        die("nbd-server does not listen")
    return pid, f"nbd://127.0.0.1:{port}/vol"


def start_qemu_nbd(args, stack, folder):
    port = free_port()
    pid = stack.enter_context(server("qemu-nbd", args.server_cpu, port, [
        "qemu-nbd", "-f", "raw", "-t", "-e", "8", "-b", "127.0.0.1", "-p", str(port),
        make_file(args, folder, "qemu-nbd.img")]))
    return pid, f"nbd://127.0.0.1:{port}"


def start_qemu_daemon(args, stack, folder):
    port = free_port()
    pid = stack.enter_context(server("qemu-storage-daemon", args.server_cpu, port, [
        "qemu-storage-daemon",
        "--blockdev", f"file,node-name=vol,filename={make_file(args, folder, 'qemu-daemon.img')}",
        "--nbd-server", f"addr.type=inet,addr.host=127.0.0.1,addr.port={port}",
        "--export", "nbd,id=vol,node-name=vol,name=vol,writable=on"]))
    return pid, f"nbd://127.0.0.1:{port}/vol"


# name -> how it is started; all are measured by fio's nbd engine.
NBD_PEERS = {
    NBDKIT: ("nbdkit", start_nbdkit),
    "nbdkit unix": ("nbdkit", start_nbdkit_unix),
    "nbd-server": ("nbd-server", start_nbd_server),
    "qemu-nbd": ("qemu-nbd", start_qemu_nbd),
    "qemu-storage-daemon": ("qemu-storage-daemon", start_qemu_daemon),
}


def nbd_peers(args, stack):
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="brp-lab.", dir="/dev/shm"))
    ret = []
    for name, (program, start) in NBD_PEERS.items():
        if args.quick and name != NBDKIT:
            continue
        if not shutil.which(program):
            say(f"no {program} (scripts/setup --bench): it is left out")
            continue
        ret.append(Fio(args, name, *start(args, stack, folder), "nbd"))
        ret[-1].fill()
    return ret


def contenders(args, stack):
    is_one = lambda depth: depth == 1
    is_more = lambda depth: depth > 1
    engine = args.tool("brp-fio.so", needed=False)
    have_fio = shutil.which("fio") is not None
    poll = ["--poll-us", str(POLL_US)]

    ret = [Raw(args, RAW_BLOCK, "block"), Raw(args, RAW_VOLUME, "block", ["--span", args.size], is_more),
           Raw(args, RAW_SPIN, "spin")]
    if have_fio:
        ret += nbd_peers(args, stack)
    else:
        say("no fio: nothing to compare with but the limits")
    pid, uri = start_brp(args, stack)
    ret.append(BrpPerf(args, "brp-perf", pid, uri))
    ret[-1].fill()
    if have_fio and engine:
        ret.append(Fio(args, "brp-fio", pid, uri, f"external:{engine}"))
        ret.append(Fio(args, "brp-fio batching", pid, uri, f"external:{engine}", [
            "--iodepth_batch_submit=16", "--iodepth_batch_complete_min=1",
            "--iodepth_batch_complete_max=32"], is_more))
    else:
        say("no fio or no brp-fio.so: fio lines are missing (see scripts/fio-src)")
    pid, uri = start_brp(args, stack, *poll)
    ret.append(BrpPerf(args, "brp-perf polling", pid, uri, poll, is_one))
    ret[-1].fill()
    if have_fio and engine:
        ret.append(Fio(args, "brp-fio polling", pid, uri, f"external:{engine}",
                       [f"--poll_us={POLL_US}"], is_one))
    return ret


# ---- measuring ---------------------------------------------------------------------------------


def measure_group(everyone, rw, depth):
    """{name: measurement}, and whether the machine was ours all the time."""
    stolen, start = stolen_seconds(), time.monotonic()
    group = {c.name: c.measure(rw, depth) for c in everyone if c.can(depth)}
    stolen = stolen_seconds() - stolen
    return group, stolen <= STEAL_SHARE * (time.monotonic() - start) * os.cpu_count()


def measure_clean_group(everyone, rw, depth, counts):
    for _ in range(MAX_TRIES):
        group, is_clean = measure_group(everyone, rw, depth)
        if is_clean:
            return group
        counts["discarded"] += 1
        say("time was stolen: once more")
    counts["unclean"] += 1
    return group


def measure_all(args, everyone, counts):
    """{(rw, depth): [group, ...]}"""
    depths = args.given_depths or (DEPTHS[:2] if args.quick else DEPTHS)
    groups = {(rw, depth): [] for rw in args.rw for depth in depths}
    for i in range(args.rounds):
        for rw, depth in groups:
            say(f"round {i + 1} of {args.rounds}: {rw}, depth {depth}")
            groups[rw, depth].append(measure_clean_group(everyone, rw, depth, counts))
    return groups


def ratio(groups, name, to):
    """How many times the IOPS of `to`."""
    if to not in groups[0]:
        return None
    return statistics.median(g[name]["iops"] / g[to]["iops"] for g in groups)


def summarise(groups, name):
    column = lambda key: [g[name][key] for g in groups]
    ret = {key: statistics.median(column(key)) for key in
           ("iops", "mean_us", "p99_us", "client_cpu_us", "server_cpu_us")}
    ret["iops_min"], ret["iops_max"] = min(column("iops")), max(column("iops"))
    ret["times_raw_blocking"] = ratio(groups, name, RAW_BLOCK)
    ret["times_raw_volume"] = ratio(groups, name, RAW_VOLUME)
    ret["times_raw_spinning"] = ratio(groups, name, RAW_SPIN)
    ret["times_nbdkit"] = ratio(groups, name, NBDKIT)
    return ret


# ---- reporting ---------------------------------------------------------------------------------


def times(value):
    return "" if value is None else f"{value:.2f}"


def tables(results):
    lines = []
    for (rw, depth), rows in results.items():
        lines += [f"## 4 KiB random {rw}, depth {depth}", "",
                  "| | kIOPS (min-max) | mean us | p99 us | CPU us per I/O: client + server "
                  "| x raw blocking | x raw, volume | x raw spinning | x nbdkit |", "|---|---|---|---|---|---|---|---|---|"]
        for name, r in rows.items():
            lines.append(f"| {name} | {r['iops'] / 1e3:.1f} ({r['iops_min'] / 1e3:.1f}-{r['iops_max'] / 1e3:.1f}) "
                         f"| {r['mean_us']:.1f} | {r['p99_us']:.1f} | {r['client_cpu_us']:.2f} + {r['server_cpu_us']:.2f} "
                         f"| {times(r['times_raw_blocking'])} | {times(r['times_raw_volume'])} | {times(r['times_raw_spinning'])} "
                         f"| {times(r['times_nbdkit'])} |")
        lines.append("")
    return lines


def compare(args):
    check_machine(args)
    counts = {"discarded": 0, "unclean": 0}
    with contextlib.ExitStack() as stack:
        groups = measure_all(args, contenders(args, stack), counts)
    results = {key: {name: summarise(g, name) for name in g[0]} for key, g in groups.items()}
    about = {**common.circumstances(), "rig": "native: TCP on loopback", "seconds": args.time, "rounds": args.rounds,
             "volume": args.size, "groups_discarded": counts["discarded"],
             "groups_with_stolen_time": counts["unclean"],
             "load": "%.1f before, %.1f after" % (args.load_before, os.getloadavg()[0])}
    rows = [{"rw": rw, "bs": "4k", "iodepth": depth, "jobs": 1, "contender": name, **r}
            for (rw, depth), names in results.items() for name, r in names.items()]
    report.write_json(os.path.join(args.out, "lab-native.json"), about, rows)
    body = report.header("BRP over TCP on loopback beside its limits and peers", about, args.command)
    with open(os.path.join(args.out, "lab-native.md"), "w", encoding="utf-8") as f:
        f.write("\n".join(body + tables(results)))


# ---- command line ------------------------------------------------------------------------------


def size_bytes(text):
    units = {"M": 20, "G": 30}
    return int(text[:-1]) << units[text[-1]]


def two_cores():
    here = sorted(os.sched_getaffinity(0))
    return f"{here[0]},{here[1]}" if len(here) > 1 else "0,1"


def add_arguments(p):
    g = p.add_argument_group("rig native")
    g.add_argument("--rw", default="read,write", help="comma-separated (default read,write)")
    g.add_argument("--rounds", type=int, default=3, help="default 3")
    g.add_argument("--time", type=int, metavar="S", help="of each measurement (default 3, quick 1)")
    g.add_argument("--size", help="of the volumes, as 128M or 1G (default 1G, quick 128M)")
    g.add_argument("--cpus", default=two_cores(), metavar="S,C", help="cores of server and client (default: the first two)")


def check_arguments(p, args):
    args.time = args.time or (1 if args.quick else 3)
    args.size = args.size or ("128M" if args.quick else "1G")
    args.rw = args.rw.split(",")
    args.tool = lambda name, needed=True: find_tool(args.build, name, needed)
    args.load_before = os.getloadavg()[0]
    try:
        args.server_cpu, args.client_cpu = (int(c) for c in args.cpus.split(","))
        size_bytes(args.size)
    except (ValueError, KeyError):
        p.error("--cpus wants two numbers, --size a number with M or G")
    if not set(args.rw) <= {"read", "write"} or min(args.rounds, args.time) < 1:
        p.error("--rw wants read or write, the numbers are positive")


def find_tool(build, name, needed):
    for folder in ("bench", "target", "initiator", "."):
        path = os.path.join(build, folder, name)
        if os.path.exists(path):
            return path
    if needed:
        die(f"no {name} below {build}: build it first")
    return None


def check_machine(args):
    if not shutil.which("taskset"):
        die("no taskset: install util-linux")
    if not {args.server_cpu, args.client_cpu} <= os.sched_getaffinity(0):
        die(f"cores {args.cpus} are not all here: pick others with --cpus")
    for name in ("raw-tcp", "brp-perf", "brp-target"):
        args.tool(name)
