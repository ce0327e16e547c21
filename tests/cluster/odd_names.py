"""Names that are hard on text formats.

odd_names.py ratings IN OUT   rewrites a ratings file: some items get names of spaces, quotes, backslashes, separators
odd_names.py patch DATA_DIR   puts bytes that prepare refuses into a prepared set's names, whose checksum is made to fit
"""
import csv
import json
import pathlib
import sys

# by the last two digits of the plain name: two items of each domain get each of them
SUFFIXES = {
    "01": " with two  spaces",
    "02": "\u00a0no-break\u3000ideographic",
    "03": "\\x41 and a \\ backslash \\x5c\\xzz",
    "04": ", \"quoted\" 'twice'",
    "05": "\u2028line\u2029separators\u0085",
    "06": "naïve 日本 \U0001f600",
    "07": " ends with a space ",
}
# a plain name of ten bytes -> ten bytes
PATCHED = {b"08": b"\tTAB\nNL\r\xff\xfe", b"09": b"\xed\xa0\x80\xc0\xaf\xf5\x80 \x7f\x01", b"10": b"\\x09\\x5c\\\\"}


def rewrite(source, target):
    with open(source, newline="") as rows, open(target, "w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        for user, item, *rest in csv.reader(rows):
            writer.writerow([user, item + SUFFIXES.get(item[-2:], ""), *rest])


def patch(data_dir):
    import xxhash

    path = pathlib.Path(data_dir)
    names, manifest = path / "items.bin", path / "manifest.json"
    bytes_before = names.read_bytes()
    before = xxhash.xxh3_64_hexdigest(bytes_before)
    text = manifest.read_text()
    assert before in text
    head, *all_names = bytes_before.split(b"\0BC000000")  # ten bytes each, as synth gives them
    for i, name in enumerate(all_names):
        all_names[i] = b"BC000000" + name
        if name[:2] in PATCHED and name[2:3] == b"\0":
            all_names[i] = PATCHED[name[:2]] + name[2:]
    bytes_after = b"\0".join([head, *all_names])
    assert len(bytes_after) == len(bytes_before) != 0 and bytes_after != bytes_before
    names.write_bytes(bytes_after)
    manifest.write_text(text.replace(before, xxhash.xxh3_64_hexdigest(bytes_after)))


if __name__ == "__main__":
    {"ratings": rewrite, "patch": patch}[sys.argv[1]](*sys.argv[2:])
