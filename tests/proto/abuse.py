#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""abuse.py ADDRESS PORT TARGET_PID MAX_CONNECTIONS BUFFER_MIB - peers that take what they can get. After each of them, and
while they still hold on, another client must get on with its work and the target must stay within its memory.

Volumes: 'vol' (memory), 'stuck' (its writes never end), 'slow' (its writes take seconds). Nothing is judged by how long it
takes: a wait is over when what it waits for has come, or fails after a minute."""

import resource
import sys
import threading
import time

from brpwire import *  # noqa: F403

ADDRESS, PORT, PID, MAX_CONNECTIONS, BUFFER_MIB = sys.argv[1], *map(int, sys.argv[2:6])
PATIENCE = 60
MIB = 1 << 20


def connect(**kw):
    return Conn(ADDRESS, PORT, timeout=PATIENCE, **kw)


def rss_mib():
    with open('/proc/%d/status' % PID) as f:
        for line in f:
            if line.startswith('VmRSS:'):
                return int(line.split()[1]) // 1024


class Witness:
    """A client with nothing to do with the abuse: small and large writes and reads of 'vol', each answered in the end."""

    def __init__(self):
        self.conn = connect()
        self.block = self.conn.ready('vol', depth=16)['block']
        self.tag = 0

    def one(self, op, lba, nbytes):
        self.tag = (self.tag + 1) % (1 << 16)
        tag = self.tag << 16  # another generation of index 0
        self.conn.send(jumbo([request(op, tag, lba, nbytes // self.block, key=tag)]))
        if op == WRITE:
            self.conn.raw(frame(bytes([lba % 251]) * nbytes, kind=DATA, key=tag))
        assert self.conn.wait(tag) == OK
        return self.conn.data.pop(tag, None)

    def works(self, rounds=6):
        for i in range(rounds):
            self.one(WRITE, 300 * i, MIB)
            assert self.one(READ, 300 * i, MIB) == bytes([300 * i % 251]) * MIB


def bounded(before, what=0):
    """Everything the options allow, and some more for the connections themselves."""
    grown = rss_mib() - before
    assert grown < BUFFER_MIB + 64 + what, 'the target has grown by %d MiB' % grown
    return 'the target grew by %d MiB' % grown


def close(conns):
    for c in conns:
        c.sock.close()


# ---- one kind of abuse each: returns what it holds on to

def login_flood():
    """Thousands of sessions that come and go: what is remembered of them is bounded."""
    def some():
        for _ in range(100):
            with connect() as c:
                c.ready('vol', depth=1)
                c.send(goodbye(epoch=1))
    threads = [threading.Thread(target=some) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return []


def buffers_of_a_stuck_volume():
    """A device that never answers, and ten clients that give it all they have: others have buffers left."""
    conns = []
    for _ in range(10):
        c = connect()
        c.ready('stuck', depth=64)
        c.sock.setblocking(False)
        try:
            for i in range(64):
                c.sock.send(frame(jumbo([request(WRITE, i, 0, MIB // 4096, key=i)])))
                c.sock.send(frame(bytes(MIB), kind=DATA, key=i))
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass  # not read any more, or cut off because a frame was cut short: as it should be
        conns.append(c)
    return conns


def reservations():
    """Sessions that ask for as much as they can and do nothing with it: what large requests need is left, and who comes too
    late hears why."""
    conns = []
    for _ in range(MAX_CONNECTIONS - 8):
        c = connect()
        c.hello()
        reply = c.login('slow', depth=4096)
        conns.append(c)
        if reply['status'] != OK:
            assert reply['status'] == NO_RESOURCES and 'buffer' in reply['reason'], reply
            return conns
    raise AssertionError('more reserved than there is')


def trickle():
    """A byte now and then: of a HELLO, of a jumbo command, of the data of a write."""
    conns = []
    for _ in range(8):
        for what in (frame(hello()), None):
            c = connect()
            if what is None:
                c.ready('vol', depth=4)
                what = frame(jumbo([request(WRITE, 0, 0, 256, key=0)])) + frame(bytes(MIB), kind=DATA, key=0)
            for byte in what[:40]:
                c.raw(bytes([byte]))
            conns.append(c)
    return conns


def requests_without_end():
    """Everything a queue may hold, and nothing of it taken."""
    conns = []
    for _ in range(8):
        c = connect(rcvbuf=4096)
        depth = c.ready('vol', depth=4096)['depth']
        for first in range(0, depth, 64):
            c.send(jumbo([request(READ, i, 0, 256, key=i) for i in range(first, min(first + 64, depth))]))
        conns.append(c)
    return conns


def all_connections():
    """Every connection taken by somebody who has logged in: the next one is turned away, and there is room when they
    have left. A limit is a limit."""
    conns = []
    try:
        for _ in range(MAX_CONNECTIONS + 1):
            c = connect()
            c.ready('vol', depth=1)
            conns.append(c)
    except (Closed, BrokenPipeError, ConnectionResetError):
        return conns
    raise AssertionError('more connections than --max-connections')


def silent_crowd():
    """Every connection taken by somebody who says nothing: who logs in finds room."""
    conns = [connect() for _ in range(MAX_CONNECTIONS + 8)]
    for _ in range(20):
        with connect() as c:
            c.ready('vol', depth=1)
    return conns


# ---- alone

def deaf_target_is_not_dead():
    """Write data waits for buffers, so the connection is not read: the target says that it is alive, and does not take the
    silence for the peer's."""
    with connect() as c:
        c.ready('slow', depth=64, keepalive=1000)
        writes = (BUFFER_MIB // 8) * 2 + 2  # more than twice a connection's share
        sender = threading.Thread(target=lambda: [
            c.raw(frame(jumbo([request(WRITE, i, 0, MIB // 4096, key=i)])) + frame(bytes(MIB), kind=DATA, key=i))
            for i in range(writes)])
        sender.start()
        signs = 0
        done = set()
        while len(done) < writes:
            kind, count, _, body = c.message()
            if kind == KEEPALIVE:
                signs += 1
            assert kind in (KEEPALIVE, RESPONSE), kind
            if kind == RESPONSE:
                done |= {struct.unpack('<IH', body[16 * i:16 * i + 6]) for i in range(count)}
        sender.join()
        assert done == {(i, OK) for i in range(writes)}
        assert signs >= 2, '%d signs of life' % signs
        return '%d signs of life' % signs


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    nr_failed = 0
    witness = Witness()
    witness.works()
    before = rss_mib()
    cases = [(f, True) for f in (login_flood, trickle, reservations, requests_without_end, buffers_of_a_stuck_volume, silent_crowd,
                                 all_connections)] + [(deaf_target_is_not_dead, False)]
    for test, has_witness in cases:
        try:
            start = time.monotonic()
            said = test()
            if has_witness:
                held = said
                witness.works()
                said = bounded(before)
                close(held)
            # Room again, and the target as it was.
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    with connect() as c:
                        c.ready('vol', depth=1)
                    break
                except (Closed, OSError):
                    assert time.monotonic() < deadline, 'no room afterwards'
                    time.sleep(0.1)
            print('ok - %s: %s (%.1f s)' % (test.__name__, said, time.monotonic() - start))
        except Exception as e:
            nr_failed += 1
            print('not ok - %s: %s %s' % (test.__name__, type(e).__name__, e))
        sys.stdout.flush()
    return nr_failed != 0


sys.exit(main())
