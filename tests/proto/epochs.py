#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""epochs.py ADDRESS PORT VOLUME SLOW_VOLUME [TEST...] - the admission barrier of protocol.md 4.2, by raw bytes. Writes to
SLOW_VOLUME take one second and a half."""

import sys
import threading
import time
import uuid

from brpwire import *  # noqa: F403

ADDRESS, PORT, VOLUME, SLOW = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
SLOW_SECONDS = 1.5


def greeted():
    c = Conn(ADDRESS, PORT)
    assert c.hello()['status'] == OK
    return c


def identity():
    return {'host': uuid.uuid4().bytes, 'session': uuid.uuid4().bytes}


def newer_fences_older():
    who = identity()
    with greeted() as old, greeted() as new:
        assert old.login(VOLUME, epoch=5, **who)['status'] == OK
        assert new.login(VOLUME, epoch=6, **who)['epoch'] == 6
        old.expect_closed()
        new.send(jumbo([request(READ, 0, key=0)], epoch=6))
        assert new.wait(0) == OK


def older_is_stale():
    who = identity()
    with greeted() as new:
        assert new.login(VOLUME, epoch=9, **who)['status'] == OK
        with greeted() as old:
            reply = old.login(VOLUME, epoch=8, **who)
            assert (reply['status'], reply['epoch']) == (STALE_EPOCH, 9), reply
            old.expect_closed()
        new.send(keepalive(1, epoch=9))
        new.expect(KEEPALIVE_REPLY)


def stale_is_remembered():
    who = identity()
    with greeted() as c:
        assert c.login(VOLUME, epoch=4, **who)['status'] == OK
        c.send(goodbye(epoch=4))
        c.expect_closed()
    with greeted() as c:
        assert c.login(VOLUME, epoch=3, **who)['status'] == STALE_EPOCH


def long_session_is_remembered():
    """Who leaves last is forgotten last, however long ago it came: thousands of others have come and gone since."""
    who = identity()

    def others(n):
        for _ in range(n):
            with greeted() as c:
                assert c.login(VOLUME, depth=1)['status'] == OK
                c.send(goodbye(epoch=1))
                c.expect_closed()

    with greeted() as c:
        assert c.login(VOLUME, epoch=4, **who)['status'] == OK
        threads = [threading.Thread(target=others, args=(600,)) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        c.send(goodbye(epoch=4))
        c.expect_closed()
    others(20)  # by then it has left
    with greeted() as c:
        assert c.login(VOLUME, epoch=3, **who)['status'] == STALE_EPOCH


def foreign_host_is_denied():
    who = identity()
    with greeted() as c, greeted() as thief:
        assert c.login(VOLUME, epoch=1, **who)['status'] == OK
        who['host'] = uuid.uuid4().bytes
        assert thief.login(VOLUME, epoch=2, **who)['status'] == DENIED
        c.send(keepalive(1, epoch=1))
        c.expect(KEEPALIVE_REPLY)


def two_hosts_cannot_both_write():
    """Not at once, not with a higher epoch, not after the first has left; the same host twice: the later one fences."""
    who = identity()
    other = dict(who, host=uuid.uuid4().bytes)
    data, foreign = b'd' * 4096, b'f' * 4096
    with greeted() as c:
        block = c.login(VOLUME, epoch=1, **who)['block']
        for epoch in (1, 2, 1000):
            with greeted() as thief:
                assert thief.login(VOLUME, epoch=epoch, **other)['status'] == DENIED
                try:
                    thief.send(jumbo([capsule_write(0, 7, foreign, 4096 // block)], foreign, epoch=epoch))
                except Closed:
                    pass
                thief.expect_closed()
        c.send(jumbo([capsule_write(0, 7, data, 4096 // block)], data, epoch=1))
        assert c.wait(0) == OK
        c.send(goodbye(epoch=1))
        c.expect_closed()
    with greeted() as thief:
        assert thief.login(VOLUME, epoch=2, **other)['status'] == DENIED
    with greeted() as first, greeted() as second:
        assert first.login(VOLUME, epoch=2, **who)['status'] == OK
        assert second.login(VOLUME, epoch=2, **who)['status'] == BUSY
        with greeted() as third:
            assert third.login(VOLUME, epoch=3, **who)['status'] == OK
            first.expect_closed()
            third.send(jumbo([request(READ, 9, 7, 4096 // block, key=9)], epoch=3))
            assert third.wait(9) == OK and third.data[9] == data


def a_late_message_is_refused():
    """A command of an older epoch does nothing, wherever it comes out."""
    who = identity()
    data, late = b'd' * 4096, b'l' * 4096
    with greeted() as c:
        blocks = 4096 // c.login(VOLUME, epoch=8, **who)['block']
        c.send(jumbo([capsule_write(0, 3, data, blocks)], data, epoch=8))
        assert c.wait(0) == OK
        c.send(jumbo([capsule_write(1, 3, late, blocks)], late, epoch=7))
        assert c.expect_closed() == PROTOCOL
    with greeted() as c:
        assert c.login(VOLUME, epoch=9, **who)['status'] == OK
        c.send(jumbo([request(READ, 2, 3, blocks, key=2)], epoch=9))
        assert c.wait(2) == OK and c.data[2] == data


def goodbye_may_cross_the_login():
    """An initiator that gives up before it has seen its LOGIN_REPLY breaks nothing."""
    with greeted() as c:
        c.send(login(VOLUME, epoch=4, **identity()))
        c.send(goodbye())
        assert c.login_reply()['status'] == OK
        assert c.expect_closed() is None


def two_queues_of_one_epoch():
    who = identity()
    with greeted() as a, greeted() as b, greeted() as again:
        assert a.login(VOLUME, queues=2, index=0, **who)['status'] == OK
        assert b.login(VOLUME, queues=2, index=1, **who)['status'] == OK
        assert again.login(VOLUME, queues=2, index=1, **who)['status'] == BUSY


def fence_waits_for_the_device():
    """The new epoch is admitted only when the old one's write is out of the device, and nothing of it comes later."""
    who = identity()
    old_data, new_data = b'o' * 4096, b'n' * 4096
    with greeted() as old, greeted() as new:
        block = old.login(SLOW, epoch=1, **who)['block']
        blocks = 4096 // block
        start = time.monotonic()
        old.send(jumbo([capsule_write(0, 0, old_data, blocks)], old_data))
        time.sleep(0.1)
        assert new.login(SLOW, epoch=2, **who)['status'] == OK
        waited = time.monotonic() - start
        assert waited > SLOW_SECONDS, 'admitted after %.2f s, before the write was over' % waited
        new.send(jumbo([capsule_write(1, 0, new_data, blocks)], new_data, epoch=2))
        assert new.wait(1) == OK
        time.sleep(SLOW_SECONDS)
        new.send(jumbo([request(READ, 2, 0, blocks, key=2)], epoch=2))
        assert new.wait(2) == OK and new.data[2] == new_data


def main():
    nr_failed = 0
    wanted = sys.argv[5:]
    for test in (newer_fences_older, older_is_stale, stale_is_remembered, long_session_is_remembered, foreign_host_is_denied,
                 two_hosts_cannot_both_write, a_late_message_is_refused, goodbye_may_cross_the_login,
                 two_queues_of_one_epoch, fence_waits_for_the_device):
        if wanted and test.__name__ not in wanted:
            continue
        try:
            test()
            print('ok - ' + test.__name__)
        except Exception as e:
            nr_failed += 1
            print('not ok - %s: %s %s' % (test.__name__, type(e).__name__, e))
    return nr_failed != 0


sys.exit(main())
