#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""flip_proxy.py TARGET_ADDRESS TARGET_PORT up|down|none EVERY_BYTES COUNT - forwards TCP connections and damages them.

Listens on 127.0.0.1, prints its port. In one direction (up: towards the target) one bit is flipped every so many bytes of all
connections together, COUNT times in all, never in the first KiB of a connection, where HELLO has no digests. Says when the last
one is done; at SIGTERM prints how many bits were flipped."""

import selectors
import signal
import socket
import sys

TARGET = (sys.argv[1], int(sys.argv[2]))
WAY, EVERY, COUNT = sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
SPARED = 1024


class Flow:
    """One direction of one connection."""

    def __init__(self, source, sink, is_damaged):
        self.source, self.sink, self.is_damaged = source, sink, is_damaged
        self.seen = 0


class Proxy:
    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.until_next = EVERY
        self.nr_flipped = 0

    def accept(self):
        client, _ = self.listener.accept()
        try:
            target = socket.create_connection(TARGET)
        except OSError:
            client.close()
            return
        for sock in (client, target):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.selector.register(client, selectors.EVENT_READ, Flow(client, target, WAY == 'up'))
        self.selector.register(target, selectors.EVENT_READ, Flow(target, client, WAY == 'down'))

    def damage(self, flow, data):
        spared = min(max(SPARED - flow.seen, 0), len(data))
        flow.seen += len(data)
        if self.nr_flipped >= COUNT:
            return data
        if self.until_next >= len(data) - spared:
            self.until_next -= len(data) - spared
            return data
        data = bytearray(data)
        data[spared + self.until_next] ^= 1 << self.nr_flipped % 8
        self.nr_flipped += 1
        self.until_next = EVERY
        if self.nr_flipped == COUNT:
            print('done', flush=True)
        return bytes(data)

    def end(self, flow):
        for sock in (flow.source, flow.sink):
            if sock.fileno() >= 0:
                self.selector.unregister(sock)
                sock.close()

    def forward(self, flow):
        try:
            data = flow.source.recv(1 << 16)
            if not data:
                raise ConnectionResetError
            flow.sink.setblocking(True)
            flow.sink.sendall(self.damage(flow, data) if flow.is_damaged else data)
        except OSError:
            self.end(flow)

    def run(self):
        print(self.listener.getsockname()[1], flush=True)
        while True:
            for key, _ in self.selector.select():
                if key.data is None:
                    self.accept()
                elif key.data.source.fileno() >= 0:
                    self.forward(key.data)


def main():
    proxy = Proxy()

    def finish(*_):
        print('%d flipped' % proxy.nr_flipped, flush=True)
        sys.exit(0)

    signal.signal(signal.SIGTERM, finish)
    proxy.run()


main()
