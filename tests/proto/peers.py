#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""peers.py ADDRESS PORT VOLUME TARGET_PID - peers that stall. The target's memory stays bounded, and it lets go of them."""

import resource
import sys
import time

from brpwire import *  # noqa: F403

ADDRESS, PORT, VOLUME, PID = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
SETUP_SECONDS = 10
PATIENCE = 40  # for what must happen by itself: far more than it takes, on a slow machine too


def rss_mib():
    with open('/proc/%d/status' % PID) as f:
        for line in f:
            if line.startswith('VmRSS:'):
                return int(line.split()[1]) // 1024


def stops_reading():
    """Asks for far more than it takes, and goes on sending keep-alives: the answers must not pile up in the target."""
    before = rss_mib()
    conns = []
    for _ in range(4):
        c = Conn(ADDRESS, PORT, rcvbuf=4096)
        c.ready(VOLUME, depth=256)
        c.send(jumbo([request(READ, i, 0, 256, key=i) for i in range(64)]))
        c.sock.settimeout(0.5)
        conns.append(c)
    try:
        for i in range(200000):
            conns[i % 4].raw(frame(keepalive(i, epoch=1)) * 16)
    except (OSError, Closed):
        pass  # the target has stopped reading, or has let go
    time.sleep(1)
    grown = rss_mib() - before
    for c in conns:
        c.sock.close()
    # 4 x 64 reads of 1 MiB were asked for.
    assert grown < 160, 'the target has grown by %d MiB' % grown
    return 'the target grew by %d MiB' % grown


def stops_sending():
    """Write data that never comes must hold no more than the session's own share."""
    before = rss_mib()
    conns = []
    for _ in range(20):
        c = Conn(ADDRESS, PORT)
        c.ready(VOLUME, depth=64)
        c.send(jumbo([request(WRITE, i, 0, 256, key=i) for i in range(64)]))
        c.raw(frame(bytes(100), kind=DATA, key=0, length=1 << 20))
        conns.append(c)
    time.sleep(1)
    grown = rss_mib() - before
    for c in conns:
        c.sock.close()
    assert grown < 160, 'the target has grown by %d MiB' % grown
    return 'the target grew by %d MiB' % grown


def half_open_is_dropped():
    """Neither a silent connection nor one stuck before LOGIN lives longer than the limit of protocol.md 8."""
    start = time.monotonic()
    silent = Conn(ADDRESS, PORT, timeout=PATIENCE)
    greeted = Conn(ADDRESS, PORT, timeout=PATIENCE)
    greeted.hello()
    part = Conn(ADDRESS, PORT, timeout=PATIENCE)
    part.raw(frame(hello())[:20])
    for c in (silent, greeted, part):
        c.expect_closed()
        c.sock.close()
    waited = time.monotonic() - start
    assert waited > SETUP_SECONDS - 2, 'dropped after %.1f s' % waited
    return 'dropped after %.1f s' % waited


def talking_is_no_login():
    """Keep-alives do not extend the time for LOGIN."""
    start = time.monotonic()
    with Conn(ADDRESS, PORT, timeout=PATIENCE) as c:
        c.hello()
        try:
            while time.monotonic() - start < PATIENCE:
                c.send(keepalive(1))
                c.message()
                time.sleep(0.3)
        except Closed:
            return 'dropped after %.1f s' % (time.monotonic() - start)
    raise AssertionError('still there after %d s' % PATIENCE)


def silent_is_dropped():
    """Three times the keep-alive time that was agreed."""
    start = time.monotonic()
    with Conn(ADDRESS, PORT, timeout=PATIENCE) as c:
        c.ready(VOLUME, keepalive=1000)
        c.expect_closed()
    waited = time.monotonic() - start
    assert waited > 2.5, 'dropped after %.1f s' % waited
    return 'dropped after %.1f s' % waited


def flood():
    """Hundreds of connections that say nothing; then all of them leave."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    before = rss_mib()
    conns = [Conn(ADDRESS, PORT) for _ in range(500)]
    time.sleep(0.5)
    grown = rss_mib() - before
    for c in conns:
        c.sock.close()
    assert grown < 256, 'the target has grown by %d MiB' % grown
    with Conn(ADDRESS, PORT) as c:
        c.ready(VOLUME)
    return 'the target grew by %d MiB with 500 silent connections' % grown


def main():
    nr_failed = 0
    for test in (stops_reading, stops_sending, half_open_is_dropped, talking_is_no_login, silent_is_dropped, flood):
        try:
            print('ok - %s: %s' % (test.__name__, test()))
        except Exception as e:
            nr_failed += 1
            print('not ok - %s: %s %s' % (test.__name__, type(e).__name__, e))
        sys.stdout.flush()
    return nr_failed != 0


sys.exit(main())
