#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Writes the golden frames as seeds of the fuzzers' corpora.

To renew a corpus: run this, fuzz, and keep what reaches new code:

    meson setup build-fuzz -Dfuzzers=true (with CC=clang) && ninja -C build-fuzz
    tests/fuzz/make-seeds.py /tmp/seeds
    build-fuzz/tests/fuzz/fuzz_login -max_total_time=60 /tmp/seeds/login
    build-fuzz/tests/fuzz/fuzz_login -merge=1 tests/fuzz/corpus/login /tmp/seeds/login
"""
import pathlib
import sys

GROUPS = {
    "cm": ["cm_data"],
    "frame": ["frame_message", "frame_data"],
    "hello": ["hello", "hello_reply", "hello_refused"],
    "jumbo": ["jumbo"],
    "list": ["list", "list_reply"],
    "login": ["login_name", "login_uuid", "login_reply", "login_refused"],
    "misc": ["keepalive", "keepalive_reply", "event", "goodbye", "response", "response_data"],
    "response": ["response", "response_data"],
}
URIS = [
    "brp+tcp://host/vol",
    "brp://[fe80::1%eth0]:20000/uuid:00112233-4455-6677-8899-aabbccddeeff",
    "brp://10.0.0.1:1/%76ol",
    "tcp://0.0.0.0:0",
    "rdma://[::]",
    "00112233-4455-6677-8899-aabbccddeeff",
]


def load(path):
    out = bytearray()
    for line in path.read_text(encoding="utf-8").splitlines():
        for word in line.split("#")[0].split():
            byte, _, count = word.partition("*")
            out += bytes([int(byte, 16)]) * int(count or 1)
    return bytes(out)


def main():
    out = pathlib.Path(sys.argv[1])
    golden = pathlib.Path(__file__).parent.parent / "golden"
    for group, names in GROUPS.items():
        (out / group).mkdir(parents=True, exist_ok=True)
        for name in names:
            (out / group / name).write_bytes(load(golden / (name + ".hex")))
    (out / "uri").mkdir(parents=True, exist_ok=True)
    for i, uri in enumerate(URIS):
        (out / "uri" / f"uri{i}").write_text(uri)


main()
