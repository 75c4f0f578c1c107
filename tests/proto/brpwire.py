# SPDX-License-Identifier: BSD-2-Clause
"""BRP messages as raw bytes, written from docs/protocol.md and from nothing else, so that a mistake in the C codec cannot hide
in its own tests. Python's standard library only."""

import socket
import struct
import uuid

HELLO, HELLO_REPLY, LOGIN, LOGIN_REPLY, LIST, LIST_REPLY = 1, 2, 3, 4, 5, 6
JUMBO, RESPONSE, KEEPALIVE, KEEPALIVE_REPLY, EVENT, GOODBYE = 7, 8, 9, 10, 11, 12
READ, WRITE, WRITE_ZEROES, DISCARD, FLUSH = 1, 2, 3, 4, 5
FUA, IN_CAPSULE = 1, 2
(OK, IO_ERROR, OUT_OF_RANGE, INVALID, NOT_SUPPORTED, READ_ONLY, NO_SPACE, NO_RESOURCES, NO_VOLUME, BAD_VERSION,
 STALE_EPOCH, DENIED, GONE, BUSY, SHUTTING_DOWN, PROTOCOL) = range(16)

MESSAGE, DATA = 1, 2
NOTICE = 1
DIGEST, READ_DATA = 1, 2


def _crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82f63b78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC_TABLE = _crc_table()


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 0xff]
    return crc ^ 0xffffffff


class Closed(Exception):
    """The target closed the connection."""


def frame(body, kind=MESSAGE, flags=0, reserved=0, length=None, key=0, offset=0):
    """2.1"""
    return struct.pack('<BBHIII', kind, flags, reserved, len(body) if length is None else length, key, offset) + body


def with_digests(one_frame, header=0, payload=0):
    """A frame() with its digests, each xored with what is to be wrong with it."""
    return (one_frame[:16] + struct.pack('<II', crc32c(one_frame[:16]) ^ header, crc32c(one_frame[16:]) ^ payload)
            + one_frame[16:])


def message(kind, body, count=0, epoch=0, flags=0, length=None, reserved=0):
    """3"""
    return struct.pack('<BBHIII', kind, flags, count, 16 + len(body) if length is None else length, epoch,
                       reserved) + body


def hello(low=1, high=1, offered=0, required=0, magic=b'BRPHELLO', tail=bytes(16), **kw):
    return message(HELLO, struct.pack('<8sHHIQQ', magic, low, high, 0, offered, required) + tail, **kw)


def login(volume='vol', host=None, session=None, epoch=1, index=0, queues=1, depth=16, keepalive=0, flags=0,
          volume_uuid=bytes(16), name=None, host_name=b'raw', tail=bytes(8), **kw):
    name = volume.encode() if name is None else name
    return message(LOGIN, (host or uuid.uuid4().bytes) + (session or uuid.uuid4().bytes)
                   + struct.pack('<QHHIII', epoch, index, queues, depth, keepalive, flags) + volume_uuid
                   + name.ljust(128, b'\0') + host_name.ljust(64, b'\0') + tail, **kw)


def list_volumes(first=0, tail=bytes(12), **kw):
    return message(LIST, struct.pack('<I', first) + tail, **kw)


def keepalive(sequence=0, epoch=0, **kw):
    return message(KEEPALIVE, struct.pack('<Q', sequence), epoch=epoch, **kw)


def goodbye(status=OK, text=b'', epoch=0, **kw):
    return message(GOODBYE, struct.pack('<H6x', status) + text.ljust(104, b'\0'), epoch=epoch, **kw)


def request(op, tag, lba=0, blocks=1, flags=0, key=0, addr=0, reserved=0):
    """5.1"""
    return struct.pack('<BBHIQIIQ', op, flags, reserved, tag, lba, blocks, key, addr)


def jumbo(requests, data=b'', epoch=1, count=None, **kw):
    return message(JUMBO, b''.join(requests) + data, count=len(requests) if count is None else count, epoch=epoch, **kw)


def capsule_write(tag, lba, data, blocks, nr_requests=1, at=0, **kw):
    """A write whose data starts `at` bytes into the in-capsule part of a message of nr_requests requests."""
    return request(WRITE, tag, lba, blocks, flags=IN_CAPSULE | kw.pop('more_flags', 0),
                   addr=16 + 32 * nr_requests + at, **kw)


class Conn:
    """One TCP connection."""

    def __init__(self, address, port, timeout=8, rcvbuf=0):
        self.sock = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(timeout)
        self.sock.connect((address, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.has_digest = False  # set by hello()
        self.data = {}  # key -> bytes pushed so far
        self.done = {}  # tag -> status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def raw(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise Closed from None

    def send(self, msg):
        self.send_frame(frame(msg))

    def send_frame(self, one_frame):
        self.raw(with_digests(one_frame) if self.has_digest else one_frame)

    def exactly(self, n):
        got = b''
        while len(got) < n:
            try:
                part = self.sock.recv(n - len(got))
            except ConnectionResetError:
                raise Closed from None
            if not part:
                raise Closed
            got += part
        return got

    def frame(self):
        """-> (type, flags, key, offset, body)"""
        header = self.exactly(16)
        kind, flags, reserved, length, key, offset = struct.unpack('<BBHIII', header)
        assert reserved == 0 and length > 0, 'reserved or empty frame'
        digests = struct.unpack('<II', self.exactly(8)) if self.has_digest else None
        body = self.exactly(length)
        assert digests in (None, (crc32c(header), crc32c(body))), 'wrong digest'
        return kind, flags, key, offset, body

    def message(self):
        """The next message; DATA frames before it are put into self.data, notices into self.done."""
        while True:
            kind, flags, key, offset, body = self.frame()
            if kind == DATA:
                have = self.data.setdefault(key, b'')
                assert offset == len(have), 'gap in pushed data'
                self.data[key] = have + body
                if flags & NOTICE:
                    self.done[key] = OK
                    return NOTICE, 0, 0, b''
                continue
            assert kind == MESSAGE and flags == 0 and key == 0 and offset == 0, 'bad MESSAGE frame'
            mtype, mflags, count, length, epoch, reserved = struct.unpack('<BBHIII', body[:16])
            assert length == len(body) and mflags == 0 and reserved == 0, 'bad message header'
            return mtype, count, epoch, body[16:]

    def expect(self, kind):
        got = self.message()
        assert got[0] == kind, 'message of type %d, expected %d' % (got[0], kind)
        return got

    def expect_closed(self):
        """Reads on until the target closes; the status of a GOODBYE on the way, or None."""
        status = None
        try:
            while True:
                kind, _, _, body = self.message()
                if kind == GOODBYE and status is None:
                    status = struct.unpack('<H', body[:2])[0]
        except Closed:
            return status
        except socket.timeout:
            raise AssertionError('the target keeps the connection open') from None

    def hello(self, **kw):
        self.send(hello(**kw))
        body = self.expect(HELLO_REPLY)[3]
        assert body[:8] == b'BRPHELLO'
        status, version, max_message, features = struct.unpack('<HHIQ', body[8:24])
        self.has_digest = bool(features & DIGEST)
        return {'status': status, 'version': version, 'max_message': max_message, 'features': features,
                'boot_id': body[24:40]}

    def login(self, *args, **kw):
        self.send(login(*args, **kw))
        return self.login_reply()

    def login_reply(self):
        body = self.expect(LOGIN_REPLY)[3]
        status, max_requests, depth = struct.unpack('<HHI', body[:8])
        size, block, transfer, in_capsule, flags, cache = struct.unpack('<QIIIIB', body[48:73])
        epoch, = struct.unpack('<Q', body[80:88])
        return {'status': status, 'max_requests': max_requests, 'depth': depth, 'uuid': body[8:24],
                'generation': body[24:32], 'boot_id': body[32:48], 'blocks': size, 'block': block, 'transfer': transfer,
                'in_capsule': in_capsule, 'flags': flags, 'cache': cache, 'epoch': epoch,
                'reason': body[112:240].rstrip(b'\0').decode()}

    def ready(self, *args, required=0, **kw):
        reply = self.hello(required=required)
        assert reply['status'] == OK and reply['features'] == required
        reply = self.login(*args, **kw)
        assert reply['status'] == OK, 'login: %(status)d %(reason)s' % reply
        return reply

    def wait(self, tag):
        """Status of the request with this tag."""
        while tag not in self.done:
            kind, count, _, body = self.message()
            if kind == RESPONSE:
                assert 1 <= count <= 64 and len(body) == 16 * count
                for i in range(count):
                    one, status, zero = struct.unpack('<IH10s', body[16 * i:16 * i + 16])
                    assert zero == bytes(10) and one not in self.done
                    self.done[one] = status
            else:
                assert kind == NOTICE, 'message of type %d while waiting' % kind
        return self.done.pop(tag)
