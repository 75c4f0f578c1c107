#!/usr/bin/env python3
"""Files that were fsynced, and whether they are still there.

fsync-writer.py write DIR RECORD    writes files, fsyncs each and its directory, and then notes name and checksum in
                                    RECORD, which lies elsewhere; until an error, or SIGTERM
fsync-writer.py verify DIR RECORD   every file that was noted is there, with what was noted or something newer

Files are new, or replace an older one by rename. "try" is noted before, "done" after everything was fsynced.
"""
import hashlib
import os
import random
import sys


def note(record, word, name, digest):
    record.write(f"{word} {name} {digest}\n")
    record.flush()


def write_file(directory, record, name, number):
    data = os.urandom(random.randint(1, 48 * 1024))
    digest = hashlib.sha256(data).hexdigest()
    path = os.path.join(directory, name)
    note(record, "try", name, digest)
    fd = os.open(f"{path}.{number}", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view):]
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(f"{path}.{number}", path)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    note(record, "done", name, digest)


def write(directory, path):
    with open(path, "a+", encoding="ascii") as record:
        record.seek(0)
        first = sum(1 for _ in record)
        for number in range(first, first + 1000000):
            write_file(directory, record, f"f{random.randrange(200):03}", number)


def accepted(path):
    """name -> the digests it may have: the one that was noted last as done, and what was tried since."""
    files = {}
    with open(path, encoding="ascii") as record:
        for line in record:
            word, name, digest = line.split()
            if word == "done":
                files[name] = [digest]
            elif name in files:
                files[name].append(digest)
    return files


def verify(directory, path):
    files = accepted(path)
    wrong = 0
    for name, digests in sorted(files.items()):
        try:
            with open(os.path.join(directory, name), "rb") as file:
                found = hashlib.sha256(file.read()).hexdigest()
        except OSError as error:
            found = str(error)
        if found not in digests:
            wrong += 1
            print(f"{name}: fsynced as {digests[0]}, is {found}")
    print(f"{len(files)} fsynced files, {wrong} wrong")
    return 1 if wrong or not files else 0


def main():
    what, directory, path = sys.argv[1:]
    if what == "verify":
        return verify(directory, path)
    try:
        write(directory, path)
    except OSError as error:
        print(f"ended by: {error}")
    return 0


sys.exit(main())
