# SPDX-License-Identifier: BSD-2-Clause
"""Which cases are measured in the VM: (contender, rw, bs, depth, jobs, milliseconds), see `guest` for the words."""

DEPTHS = [1, 2, 4, 8, 16, 32, 64, 128, 256]
PEERS = ["local", "srp", "nvme-rdma", "nvme-tcp"]
BRP = ["brp-rdma", "brp-tcp", "brp-rdma:fio", "brp-tcp:fio", "brp-rdma:dev", "brp-tcp:dev"]
LIMITS = ["limit:ping-read", "limit:ping-write", "limit:read", "limit:stream", "limit:read-stream"]
MS = 100  # of virtual time: enough where every run counts the same instructions
DIRECTIONS = ["randread", "randwrite"]


def limits(sizes=(4096, 512)):
    return [(c, "randread", size, 32 if "stream" in c else 1, 1, MS) for c in LIMITS for size in sizes]


def compare(depths):
    cases = limits()
    for c in PEERS + BRP:
        cases += [(c, rw, "4k", depth, 1, MS) for rw in DIRECTIONS for depth in depths]
        cases += [(c, rw, "512", depth, 1, MS) for rw in DIRECTIONS for depth in (1, 32)]
        cases += [(c, "randrw", "4k", 32, 1, MS)]
        cases += [(c, rw, "64k", 8, 1, MS) for rw in DIRECTIONS]
        cases += [(c, rw, "1M", 4, 1, 2 * MS) for rw in DIRECTIONS]
        # Where one connection per job, or a lock around the device, shows.
        cases += [(c, "randread", "4k", 1, 64, MS)]
    for c in ("brp-rdma:ram", "brp-tcp:ram"):
        cases += [(c, rw, bs, depth, 1, MS) for rw in DIRECTIONS for bs in ("4k", "512") for depth in (1, 32)]
    return cases


def quick():
    cases = limits((4096,))
    for c in PEERS[1:3] + ["brp-rdma", "brp-rdma:fio", "brp-tcp"]:
        cases += [(c, rw, "4k", depth, 1, MS) for rw in DIRECTIONS for depth in (1, 32)]
    return cases


PAPER_SCHEMES = {
    "srp": "SRP (no scheduler)",
    "brp-rdma:serial:merge=off": "BRP-1",
    "brp-rdma:merge=off": "BRP-2",
    "brp-rdma:merge=always": "BRP-3T",
    "brp-rdma": "BRP adaptive",
    "brp-tcp": "BRP adaptive over TCP",
    "brp-tcp:serial:merge=off": "BRP-1 over TCP",
    "local": "local, no network",
}


def papers(depths):
    """On a device of 12 us; the paper's threads are requests under way of one initiator."""
    cases = [(c, rw, "4k", 1, 1, MS) for c in PAPER_SCHEMES for rw in DIRECTIONS]
    # Not in the paper: reads, where a device's latency overlaps as well, over the cheaper network.
    cases += [(c, "randread", "4k", depth, 1, MS) for c in ("local", "brp-tcp", "brp-tcp:serial:merge=off")
              for depth in depths if depth > 1]
    return cases + [(c, "randwrite", "4k", depth, 1, MS) for c in PAPER_SCHEMES for depth in depths if depth > 1]


LIMITED = {c: PAPER_SCHEMES[c] for c in ("local", "brp-tcp", "brp-tcp:serial:merge=off", "brp-rdma", "brp-rdma:serial:merge=off")}
LIMITED_DEPTHS = [1, 2, 4, 8, 16, 32]


def limited():
    """On a device that is slower than this rig's one processor."""
    return [(c, rw, "4k", depth, 1, MS) for c in LIMITED for rw in DIRECTIONS for depth in LIMITED_DEPTHS]


MERGE_MODES = ["off", "always", "adaptive"]


def merging(depths):
    return [(f"brp-rdma:ram:merge={mode}", rw, "4k", depth, 1, 2 * MS)
            for rw in DIRECTIONS + ["randrw"] for depth in depths for mode in MERGE_MODES]


VOLUMES = [1, 8, 64]
VOLUMES_DEPTH = 4  # requests of each volume
VOLUMES_OF = ["local", "srp", "nvme-rdma", "nvme-tcp", "brp-rdma:fio", "brp-tcp:fio", "brp-rdma:dev"]


def volumes():
    return [(f"{c}:volumes", rw, "4k", VOLUMES_DEPTH, nr, 2 * MS) for c in VOLUMES_OF for rw in DIRECTIONS for nr in VOLUMES]
