#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""identity.py ADDRESS PORT VOLUME... - what the target says of itself and of each volume, as hexadecimal: 'run ID', then
'VOLUME uuid ID', 'VOLUME generation ID', 'VOLUME boot ID'."""

import sys

from brpwire import *  # noqa: F403


def main(address, port, *volumes):
    with Conn(address, port) as c:
        print('run', c.hello()['boot_id'].hex())
    for volume in volumes:
        with Conn(address, port) as c:
            reply = c.ready(volume)
        for field in 'uuid', 'generation', 'boot_id':
            print(volume, field.removesuffix('_id'), reply[field].hex())


main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
