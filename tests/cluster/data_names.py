"""Prints the names of items.bin or users.bin, one a line, id 0 first: python3 data_names.py FILE"""
import struct
import sys


def names_of(path):
    """The names as bytes, by id."""
    data = open(path, "rb").read()
    n_offsets, n_bytes = struct.unpack_from("<2Q", data, 24)
    offsets = struct.unpack_from(f"<{n_offsets}Q", data, 64)
    names = data[64 + (8 * n_offsets + 63) // 64 * 64 :]
    return [names[first : end - 1] for first, end in zip(offsets, offsets[1:])]


if __name__ == "__main__":
    for name in names_of(sys.argv[1]):
        print(name.decode())
