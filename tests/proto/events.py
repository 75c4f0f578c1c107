#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""events.py ADDRESS PORT VOLUME [write] - logs in and prints what the target says by itself, a line each, until it closes:
'ready BLOCKS', 'resized BLOCKS' (then 'read-last STATUS': the last block is read), 'removed', 'going-down', 'goodbye STATUS',
'closed'. With 'write' a block is written at once and its answer printed when it comes: 'written STATUS'."""

import struct
import sys

from brpwire import *  # noqa: F403

RESIZED, REMOVED, GOING_DOWN = 1, 2, 3


def say(*words):
    print(*words, flush=True)


def on_event(c, body):
    kind, blocks = struct.unpack('<H6xQ', body[:16])
    if kind == RESIZED:
        say('resized', blocks)
        c.send(jumbo([request(READ, 1, blocks - 1, 1, key=1)]))
    else:
        say({REMOVED: 'removed', GOING_DOWN: 'going-down'}.get(kind, kind))


def listen(c):
    while True:
        kind, count, _, body = c.message()
        if kind == EVENT:
            on_event(c, body)
        elif kind == GOODBYE:
            say('goodbye', *struct.unpack('<H', body[:2]))
        elif kind == NOTICE:
            say('read-last', c.done.pop(1))
            c.data.clear()
        elif kind == RESPONSE:
            for i in range(count):
                tag, status = struct.unpack('<IH', body[16 * i:16 * i + 6])
                say({0: 'written', 1: 'read-last'}[tag], status)


def main(address, port, volume, what=None):
    with Conn(address, port, timeout=120) as c:
        reply = c.ready(volume)
        say('ready', reply['blocks'])
        if what == 'write':
            data = bytes(reply['block'])
            c.send(jumbo([capsule_write(0, 0, data, 1)], data))
        try:
            listen(c)
        except Closed:
            say('closed')


main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
