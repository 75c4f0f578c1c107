#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""conformance.py ADDRESS PORT VOLUME READ_ONLY_VOLUME - raw bytes against a running target: what goes in, what must come out.

VOLUME has blocks of 4096. Prints one line per case; exit status 1 if one failed."""

import os
import random
import struct
import sys
import traceback

from brpwire import *  # noqa: F403 - the vocabulary of the tables

ADDRESS, PORT, VOLUME, READ_ONLY_VOLUME = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
BLOCK = 4096
PAGE = bytes(range(256)) * 16


def connect(**kw):
    return Conn(ADDRESS, PORT, **kw)


# ---- before HELLO: whatever is not one closes the connection

BEFORE_HELLO = {
    'HTTP': b'GET / HTTP/1.0\r\n\r\n',
    'zeroes': bytes(4096),
    'ones': b'\xff' * 4096,
    'random bytes': random.Random(1).randbytes(65536),
    'frame of an unknown type': frame(hello(), kind=9),
    'frame with unknown flags': frame(hello(), flags=0x80),
    'NOTICE towards the target': frame(hello(), flags=NOTICE),
    'frame with reserved bits': frame(hello(), reserved=1),
    'empty frame': frame(b''),
    'frame longer than any message': frame(bytes(100), length=69633),
    'frame of 4 GiB': frame(bytes(100), length=0xffffffff),
    'MESSAGE with a key': frame(hello(), key=1),
    'MESSAGE with an offset': frame(hello(), offset=1),
    'DATA first': frame(b'x' * 100, kind=DATA),
    'message shorter than its header': frame(b'\x01' * 8),
    'message that lies about its length, longer': frame(hello(length=65)),
    'message that lies about its length, shorter': frame(hello(length=63)),
    'message of an unknown type': frame(message(99, bytes(48))),
    'HELLO with message flags': frame(hello(flags=1)),
    'HELLO with a count': frame(hello(count=1)),
    'HELLO with an epoch': frame(hello(epoch=1)),
    'HELLO with header reserved bits': frame(hello(reserved=1)),
    'HELLO with another magic': frame(hello(magic=b'BRPHELLP')),
    'HELLO with reserved bytes': frame(hello(tail=b'\1' * 16)),
    'HELLO with versions upside down': frame(hello(low=2, high=1)),
    'LOGIN first': frame(login(VOLUME)),
    'LIST first': frame(list_volumes()),
    'KEEPALIVE first': frame(keepalive()),
    'JUMBO first': frame(jumbo([request(READ, 0)])),
    'HELLO_REPLY': frame(message(HELLO_REPLY, bytes(48))),
    'EVENT': frame(message(EVENT, bytes(32))),
}


def before_hello(data):
    with connect() as c:
        try:
            c.raw(data)
        except Closed:
            return
        assert c.expect_closed() in (None, PROTOCOL)


# ---- truncation: the peer leaves in the middle; nothing to be seen but that the target lives on

def truncated(data):
    for cut in sorted({1, 15, 16, 17, 31, 32, len(data) // 2, len(data) - 1}):
        if cut < len(data):
            with connect() as c:
                c.raw(data[:cut])


# ---- HELLO

def version(low, high, status, **kw):
    with connect() as c:
        reply = c.hello(low=low, high=high, **kw)
        assert reply['status'] == status, reply
        if status == OK:
            assert reply['version'] == 1 and reply['max_message'] == 69632, reply
        else:
            assert reply['version'] >= 1, reply
            c.expect_closed()


def features_not_granted():
    with connect() as c:
        assert c.hello(offered=0xfffffffffffffffe)['features'] == 0
    with connect() as c:
        assert c.hello(offered=DIGEST)['features'] in (0, DIGEST)


# ---- after HELLO

GREETED_PROTOCOL = {
    'second HELLO': hello(),
    'JUMBO before LOGIN': jumbo([request(READ, 0)], epoch=0),
    'RESPONSE': message(RESPONSE, bytes(16), count=1),
    'LOGIN, truncated': login(VOLUME)[:100],
    'LOGIN with reserved bytes': login(VOLUME, tail=b'\1' * 8),
    'LOGIN with epoch 0': login(VOLUME, epoch=0),
    'LOGIN with index = queues': login(VOLUME, index=1, queues=1),
    'LOGIN with no queues': login(VOLUME, queues=0),
    'LOGIN with 257 queues': login(VOLUME, queues=257),
    'LOGIN with depth 0': login(VOLUME, depth=0),
    'LOGIN with unknown flags': login(VOLUME, flags=0x80),
    'LOGIN with name and UUID': login(VOLUME, volume_uuid=b'\1' * 16),
    'LOGIN without end of the name': login(name=b'x' * 128),
    'LOGIN with bytes behind the name': login(name=b'vol\0x'),
    'LOGIN without end of the host name': login(VOLUME, host_name=b'x' * 64),
    'LIST with reserved bytes': list_volumes(tail=b'\1' * 12),
}


def greeted_protocol(msg):
    with connect() as c:
        c.hello()
        c.send(msg)
        status = c.expect_closed()
        assert status == PROTOCOL, 'GOODBYE with %s' % status


def greeted_truncated(msg):
    with connect() as c:
        c.hello()
        c.raw(frame(msg)[:-7])


LOGIN_REFUSED = {
    'unknown volume': (dict(volume='nosuch'), NO_VOLUME),
    'empty volume name': (dict(volume=''), NO_VOLUME),
    'unknown volume UUID': (dict(name=b'', flags=2, volume_uuid=b'\7' * 16), NO_VOLUME),
}


def login_refused(kw, want):
    with connect() as c:
        c.hello()
        c.send(login(**kw))
        try:
            reply = c.login_reply()
        except AssertionError:
            raise
        except Closed:
            assert kw.get('volume') == ''  # malformed is an answer as well
            return
        assert reply['status'] == want and reply['reason'], reply
        c.expect_closed()


def login_by_uuid():
    with connect() as c:
        volume = c.ready(VOLUME)['uuid']
    with connect() as c:
        assert c.ready(name=b'', flags=2, volume_uuid=volume)['uuid'] == volume


def login_limits():
    with connect() as c:
        r = c.ready(VOLUME, depth=4096)
        assert 1 <= r['depth'] <= 4096 and 1 <= r['max_requests'] <= 64 and r['block'] == BLOCK, r
        assert r['transfer'] % BLOCK == 0 and r['in_capsule'] <= 65536 and r['epoch'] == 1, r


def second_login():
    with connect() as c:
        c.ready(VOLUME)
        c.send(login(VOLUME))
        assert c.expect_closed() == PROTOCOL


def lists():
    with connect() as c:
        c.hello()
        c.send(list_volumes())
        _, count, _, body = c.expect(LIST_REPLY)
        status, _, total, first, _ = struct.unpack('<HHIII', body[:16])
        assert (status, first) == (OK, 0) and count == total == (len(body) - 16) // 192
        names = [body[16 + 192 * i + 64:16 + 192 * i + 192].rstrip(b'\0').decode() for i in range(count)]
        assert VOLUME in names and READ_ONLY_VOLUME in names, names
        for beyond in (total, 0xffffffff):
            c.send(list_volumes(beyond))
            assert c.expect(LIST_REPLY)[1] == 0
        c.send(keepalive(77))
        assert c.expect(KEEPALIVE_REPLY)[3] == struct.pack('<Q', 77)
        assert c.login(VOLUME)['status'] == OK


def lists_at_once():
    """As many LISTs as the peer likes, and LOGIN right behind them, before any reply was taken: each has its reply."""
    with connect() as c:
        c.hello()
        c.raw(b''.join(frame(list_volumes(i % 2)) for i in range(500)) + frame(login(VOLUME)))
        for i in range(500):
            assert struct.unpack('<I', c.expect(LIST_REPLY)[3][8:12])[0] == i % 2
        assert c.login_reply()['status'] == OK


# ---- I/O

def write_read_capsule():
    with connect() as c:
        c.ready(VOLUME)
        c.send(jumbo([capsule_write(0x10000, 5, PAGE, 1)], PAGE))
        assert c.wait(0x10000) == OK
        c.send(jumbo([request(READ, 0x20000, 5, 1, key=0x20000)]))
        assert c.wait(0x20000) == OK and c.data.pop(0x20000) == PAGE


def write_read_streamed():
    data = os.urandom(64 * BLOCK)
    with connect() as c:
        c.ready(VOLUME)
        c.send(jumbo([request(WRITE, 1, 100, 64, key=1)]))
        for i in range(0, len(data), 50000):
            c.raw(frame(data[i:i + 50000], kind=DATA, key=1, offset=i))
        assert c.wait(1) == OK
        c.send(jumbo([request(READ, 2, 100, 64, key=2)]))
        assert c.wait(2) == OK and c.data.pop(2) == data


def mixed_jumbo():
    """All operations in one message; each is answered."""
    with connect() as c:
        c.ready(VOLUME)
        c.send(jumbo([capsule_write(0, 200, PAGE, 1, 6), request(WRITE, 1, 201, 2, key=1),
                      request(WRITE_ZEROES, 2, 203, 4), request(DISCARD, 3, 300, 10), request(FLUSH, 4, 0, 0),
                      request(READ, 5, 400, 1, key=5)], PAGE))
        c.raw(frame(PAGE * 2, kind=DATA, key=1))
        assert [c.wait(tag) for tag in range(6)] == [OK] * 6
        c.send(jumbo([request(READ, 0x10000 + i, lba, 1, key=0x10000 + i) for i, lba in enumerate((200, 202, 206))]))
        assert [c.wait(0x10000 + i) for i in range(3)] == [OK] * 3
        assert [c.data[0x10000 + i] for i in range(3)] == [PAGE, PAGE, bytes(BLOCK)]


def byte_by_byte():
    with connect() as c:
        for msg, answer in ((hello(), HELLO_REPLY), (login(VOLUME), LOGIN_REPLY),
                            (jumbo([capsule_write(0, 9, PAGE, 1)], PAGE), None)):
            for one in frame(msg):
                c.raw(bytes([one]))
            if answer:
                c.expect(answer)
        assert c.wait(0) == OK


# Wrong requests: a status each, and the connection goes on. 16 MiB of blocks or more would be in range nowhere.
FAR = 1 << 40
REQUEST_STATUS = {
    'unknown operation': (request(77, 0), INVALID),
    'operation 0': (request(0, 0), INVALID),
    'unknown flag': (request(READ, 0, flags=0x80), INVALID),
    'FUA on READ': (request(READ, 0, flags=FUA), INVALID),
    'IN_CAPSULE on READ': (request(READ, 0, flags=IN_CAPSULE), INVALID),
    'FUA on DISCARD': (request(DISCARD, 0, flags=FUA), INVALID),
    'FUA on FLUSH': (request(FLUSH, 0, 0, 0, flags=FUA), INVALID),
    'READ of no blocks': (request(READ, 0, 0, 0), INVALID),
    'FLUSH with a range': (request(FLUSH, 0, 1, 1), INVALID),
    'READ far beyond the end': (request(READ, 0, FAR, 1), OUT_OF_RANGE),
    'READ at the last address there is': (request(READ, 0, (1 << 64) - 1, 1), OUT_OF_RANGE),
    'DISCARD that wraps around': (request(DISCARD, 0, (1 << 64) - 1, 0xffffffff), OUT_OF_RANGE),
    'WRITE_ZEROES of 16 TiB': (request(WRITE_ZEROES, 0, 0, 0xffffffff), OUT_OF_RANGE),
    'in-capsule WRITE beyond the end': (capsule_write(0, FAR, PAGE, 1), OUT_OF_RANGE),
}


def request_status(req, want):
    with connect() as c:
        c.ready(VOLUME)
        data = PAGE if req[0] == WRITE else b''
        c.send(jumbo([req], data))
        got = c.wait(0)
        assert got == want, 'status %d' % got
        c.send(jumbo([request(READ, 0x10000, key=0x10000)]))
        assert c.wait(0x10000) == OK


def refused_write_is_drained():
    """The data of a refused write is received and thrown away; what follows is still understood."""
    with connect() as c:
        c.ready(READ_ONLY_VOLUME, flags=1)
        c.send(jumbo([request(WRITE, 0, 0, 64, key=0)]))
        c.raw(frame(bytes(64 * 512), kind=DATA, key=0))
        assert c.wait(0) == READ_ONLY
        c.send(jumbo([request(WRITE_ZEROES, 1), request(DISCARD, 2), request(READ, 3, key=3)]))
        assert [c.wait(1), c.wait(2), c.wait(3)] == [READ_ONLY, READ_ONLY, OK]


def read_only_session():
    with connect() as c:
        assert c.ready(VOLUME, flags=1)['flags'] & 1
        c.send(jumbo([capsule_write(0, 0, PAGE, 1)], PAGE))
        assert c.wait(0) == READ_ONLY


TOO_LONG = 257  # blocks of 4096: one more than 1 MiB

# What leaves the session out of step: GOODBYE with PROTOCOL.
READY_PROTOCOL = {
    'another epoch': frame(jumbo([request(READ, 0)], epoch=2)),
    'no requests': frame(jumbo([], count=0)),
    'more requests than fit': frame(jumbo([request(READ, 0)], count=2)),
    'fewer requests than sent': frame(jumbo([request(READ, 0), request(READ, 1)], count=1)),
    '65 requests': frame(jumbo([request(READ, i) for i in range(65)])),
    'count 65535': frame(jumbo([request(READ, 0)], count=65535)),
    'reserved bits of a request': frame(jumbo([request(READ, 0, reserved=1)])),
    'tag beyond the queue': frame(jumbo([request(READ, 16)])),
    'tag far beyond the queue': frame(jumbo([request(READ, 0xffff)])),
    'a tag twice in one message': frame(jumbo([request(READ, 0), request(READ, 0x10000)])),
    'READ beyond the data limit': frame(jumbo([request(READ, 0, 0, TOO_LONG)])),
    'READ of 16 TiB': frame(jumbo([request(READ, 0, 0, 0xffffffff)])),
    'WRITE beyond the data limit': frame(jumbo([request(WRITE, 0, 0, TOO_LONG)])),
    'in-capsule data missing': frame(jumbo([capsule_write(0, 0, PAGE, 1)])),
    'in-capsule data too short': frame(jumbo([capsule_write(0, 0, PAGE, 1)], PAGE[:-1])),
    'in-capsule data too long': frame(jumbo([capsule_write(0, 0, PAGE, 1)], PAGE + b'x')),
    'in-capsule data elsewhere': frame(jumbo([capsule_write(0, 0, PAGE, 1, at=8)], PAGE)),
    'in-capsule data before the message': frame(jumbo([capsule_write(0, 0, PAGE, 1, nr_requests=0)], PAGE)),
    'in-capsule data of two blocks': frame(jumbo([capsule_write(0, 0, PAGE, 2)], PAGE * 2)),
    'data behind a READ': frame(jumbo([request(READ, 0)], PAGE)),
    'RESPONSE': frame(message(RESPONSE, bytes(16), count=1, epoch=1)),
    'LIST': frame(list_volumes(epoch=1)),
    'HELLO': frame(hello()),
}

# What breaks the byte stream: closed, with or without a word.
READY_STREAM = {
    'DATA nobody asked for': frame(PAGE, kind=DATA, key=3),
    'DATA for a READ': frame(jumbo([request(READ, 0, key=0)])) + frame(PAGE, kind=DATA, key=0),
    'DATA with another key': frame(jumbo([request(WRITE, 0, key=0)])) + frame(PAGE, kind=DATA, key=1),
    'DATA with NOTICE': frame(jumbo([request(WRITE, 0, key=0)])) + frame(PAGE, kind=DATA, key=0, flags=NOTICE),
    'DATA that starts late': frame(jumbo([request(WRITE, 0, key=0)])) + frame(PAGE, kind=DATA, key=0, offset=8),
    'DATA longer than the request': frame(jumbo([request(WRITE, 0, key=0)])) + frame(PAGE * 2, kind=DATA, key=0),
    'DATA of 4 GiB': frame(jumbo([request(WRITE, 0, key=0)])) + frame(PAGE, kind=DATA, key=0, length=0xffffffff),
    'DATA far away': frame(jumbo([request(WRITE, 0, key=0)])) + frame(PAGE, kind=DATA, key=0, offset=0xfffffff0),
    'message instead of DATA': frame(jumbo([request(WRITE, 0, key=0)])) + b'\xff' * 64,
    'random bytes': random.Random(2).randbytes(20000),
    'message too long': frame(bytes(69633)),
}


def ready_protocol(data):
    with connect() as c:
        c.ready(VOLUME)
        c.raw(data)
        status = c.expect_closed()
        assert status == PROTOCOL, 'GOODBYE with %s' % status


def ready_stream(data):
    with connect() as c:
        c.ready(VOLUME)
        try:
            c.raw(data)
        except Closed:
            return
        assert c.expect_closed() in (None, PROTOCOL)


def ready_truncated(data):
    for cut in (17, 40, len(data) - 1):
        with connect() as c:
            c.ready(VOLUME)
            c.raw(data[:cut])


def leaves_with_io_in_flight():
    for _ in range(20):
        with connect() as c:
            c.ready(VOLUME)
            c.send(jumbo([request(READ, i, 0, 256, key=i) for i in range(16)]))


def orderly_end():
    with connect() as c:
        c.ready(VOLUME)
        c.send(jumbo([capsule_write(0, 0, PAGE, 1)], PAGE))
        assert c.wait(0) == OK
        c.send(goodbye(epoch=1))
        assert c.expect_closed() in (None, OK)


def keepalive_when_ready():
    with connect() as c:
        c.ready(VOLUME)
        c.send(keepalive(0x1122334455667788, epoch=1))
        kind, _, epoch, body = c.expect(KEEPALIVE_REPLY)
        assert epoch == 1 and body == struct.pack('<Q', 0x1122334455667788)


def keepalive_beside_long_work():
    """6.1: the answer does not wait for what takes long."""
    with connect() as c:
        blocks = c.ready(VOLUME)['blocks']
        c.raw(frame(jumbo([request(WRITE_ZEROES, i, 0, blocks) for i in range(16)])) + frame(keepalive(1, epoch=1)))
        done = 0
        while True:
            kind, count, _, body = c.message()
            if kind == KEEPALIVE_REPLY:
                break
            assert kind == RESPONSE
            done += count
        assert done < 16, 'everything was done first'
        while done < 16:
            _, count, _, body = c.expect(RESPONSE)
            assert all(body[16 * i + 4:16 * i + 6] == bytes(2) for i in range(count))
            done += count


def tag_generations():
    """An index can be used again with any generation once answered."""
    with connect() as c:
        c.ready(VOLUME, depth=1)
        for generation in (0, 1, 0xffff, 0, 0):
            tag = generation << 16
            c.send(jumbo([request(READ, tag, key=tag)]))
            assert c.wait(tag) == OK
            assert len(c.data.pop(tag)) == BLOCK


def cases():
    for name, data in BEFORE_HELLO.items():
        yield 'first bytes: ' + name, before_hello, (data,)
    for name, data in {'HELLO': frame(hello()), 'random': random.Random(3).randbytes(100)}.items():
        yield 'cut short: ' + name, truncated, (data,)
    yield 'version 1', version, (1, 1, OK)
    yield 'versions 0 to 65535', version, (0, 65535, OK)
    yield 'version 2 only', version, (2, 2, BAD_VERSION)
    yield 'version 0 only', version, (0, 0, BAD_VERSION)
    yield 'features offered are not granted', features_not_granted, ()
    for name, msg in GREETED_PROTOCOL.items():
        yield 'after HELLO: ' + name, greeted_protocol, (msg,)
    yield 'LOGIN cut short', greeted_truncated, (login(VOLUME),)
    for name, args in LOGIN_REFUSED.items():
        yield 'refused login: ' + name, login_refused, args
    for test in (login_by_uuid, login_limits, second_login, lists, lists_at_once, write_read_capsule, write_read_streamed, mixed_jumbo,
                 byte_by_byte, refused_write_is_drained, read_only_session, leaves_with_io_in_flight, orderly_end,
                 keepalive_when_ready, keepalive_beside_long_work, tag_generations):
        yield test.__name__.replace('_', ' '), test, ()
    for name, args in REQUEST_STATUS.items():
        yield 'request: ' + name, request_status, args
    for name, data in READY_PROTOCOL.items():
        yield 'out of step: ' + name, ready_protocol, (data,)
    for name, data in READY_STREAM.items():
        yield 'broken stream: ' + name, ready_stream, (data,)
    yield 'JUMBO cut short', ready_truncated, (frame(jumbo([capsule_write(0, 0, PAGE, 1)], PAGE)),)
    yield 'feature insisted on', required_feature, ()
    for test in (digest_everything, digest_byte_by_byte, digest_missing, digest_before_reply):
        yield test.__name__.replace('_', ' '), test, ()
    for name, frames in DIGEST_DAMAGED.items():
        yield 'damaged: ' + name, digest_damaged, (frames,)
    yield 'damaged write changes nothing', digest_damaged_write, ()


def required_feature():
    with connect() as c:
        assert c.hello(required=1 << 63, offered=1 << 63)['status'] == BAD_VERSION
        c.expect_closed()
    with connect() as c:  # RDMA only
        assert c.hello(required=READ_DATA)['status'] == BAD_VERSION
        c.expect_closed()


# ---- digests, 2.1

def digest_everything():
    """Set-up, list, a write in the message, a streamed write, a read, a keep-alive."""
    data = os.urandom(4 * BLOCK)
    with connect() as c:
        assert c.hello(required=DIGEST)['features'] == DIGEST
        c.send(list_volumes())
        c.expect(LIST_REPLY)
        assert c.login(VOLUME)['status'] == OK
        c.send(jumbo([capsule_write(0, 40, PAGE, 1)], PAGE))
        assert c.wait(0) == OK
        c.send(jumbo([request(WRITE, 1, 41, 4, key=1)]))
        for at in range(0, len(data), 5000):
            c.send_frame(frame(data[at:at + 5000], kind=DATA, key=1, offset=at))
        assert c.wait(1) == OK
        c.send(jumbo([request(READ, 2, 40, 5, key=2)]))
        assert c.wait(2) == OK and c.data[2] == PAGE + data
        c.send(keepalive(7, epoch=1))
        assert c.expect(KEEPALIVE_REPLY)[3] == struct.pack('<Q', 7)


def digest_byte_by_byte():
    with connect() as c:
        c.ready(VOLUME, required=DIGEST)
        for byte in with_digests(frame(jumbo([request(READ, 3, 40, 1, key=3)]))):
            c.raw(bytes([byte]))
        assert c.wait(3) == OK and len(c.data[3]) == BLOCK


def digest_missing():
    """Frames as if nothing had been agreed on."""
    with connect() as c:
        c.hello(required=DIGEST)
        c.raw(frame(login(VOLUME)))
        assert c.expect_closed() is None


def digest_before_reply():
    """HELLO itself never carries them."""
    with connect() as c:
        c.raw(with_digests(frame(hello(required=DIGEST))))
        assert c.expect_closed() in (None, PROTOCOL)


JUMBO_WRITE = frame(jumbo([capsule_write(0, 50, PAGE, 1)], PAGE))
PULLED = frame(jumbo([request(WRITE, 0, 50, 1, key=0)]))
DIGEST_DAMAGED = {
    'header digest of a message': [with_digests(JUMBO_WRITE, header=1)],
    'payload digest of a message': [with_digests(JUMBO_WRITE, payload=1 << 31)],
    'header digest of data': [with_digests(PULLED), with_digests(frame(PAGE, kind=DATA, key=0), header=0x100)],
    'payload digest of data': [with_digests(PULLED), with_digests(frame(PAGE, kind=DATA, key=0), payload=0x100)],
    'data of a refused write': [with_digests(frame(jumbo([request(WRITE, 0, 1 << 40, 1, key=0)]))),
                                with_digests(frame(PAGE, kind=DATA, key=0), payload=1)],
    'length': [with_digests(JUMBO_WRITE).replace(JUMBO_WRITE[4:8], b'\x30\x10\x01\x00', 1)],
}


def digest_damaged(frames):
    with connect() as c:
        c.ready(VOLUME, required=DIGEST)
        for one in frames:
            c.raw(one)
        assert c.expect_closed() is None


def digest_damaged_write():
    """One bit of write data flipped, in the message and streamed: the block keeps what it had."""
    for kind in ('capsule', 'streamed'):
        with connect() as c:
            c.ready(VOLUME, required=DIGEST)
            c.send(jumbo([capsule_write(0, 60, PAGE, 1)], PAGE))
            assert c.wait(0) == OK
            other = bytes(BLOCK)
            if kind == 'capsule':
                damaged = bytearray(with_digests(frame(jumbo([capsule_write(1, 60, other, 1)], other))))
            else:
                c.send(jumbo([request(WRITE, 1, 60, 1, key=1)]))
                damaged = bytearray(with_digests(frame(other, kind=DATA, key=1)))
            damaged[-100] ^= 0x10
            c.raw(bytes(damaged))
            assert c.expect_closed() is None and not c.done
        with connect() as c:
            c.ready(VOLUME)
            c.send(jumbo([request(READ, 0, 60, 1, key=0)]))
            assert c.wait(0) == OK and c.data[0] == PAGE, kind


def main():
    nr_failed = 0
    nr = 0
    for name, test, args in cases():
        nr += 1
        try:
            test(*args)
        except Exception as e:
            nr_failed += 1
            print('not ok - %s: %s %s' % (name, type(e).__name__, e))
            if not isinstance(e, AssertionError):
                traceback.print_exc(file=sys.stdout)
    print('%d cases, %d failed' % (nr, nr_failed))
    return nr_failed != 0


sys.exit(main())
