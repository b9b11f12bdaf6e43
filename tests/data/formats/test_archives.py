"""Archives are built here, byte by byte where no tool would build them."""

import bz2
import gzip
import io
import lzma
import random
import stat
import tarfile
import tracemalloc
import zipfile

import pytest

from robustft.data.formats.archives import listing, nested, nested_listing, read
from robustft.errors import IntegrityError

FILES = {
    "d/b.txt": b"second",
    "d/a.bin": random.Random(0).randbytes(2500).hex().encode(),
    "empty": b"",
    "block": bytes(range(256)) * 2,
}
COMPRESS = {"plain": bytes, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
KINDS = [*COMPRESS, "zip", "zip stored"]


def tar_of(files=FILES, *, format=tarfile.PAX_FORMAT, extra=()):
    """Return a tar of a folder, the files and further headers."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        folder = tarfile.TarInfo("d")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in extra:
            tar.addfile(info)
    return buffer.getvalue()


def zip_of(files=FILES, *, compression=zipfile.ZIP_DEFLATED, modes=None):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr(zipfile.ZipInfo("d/"), b"")
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.create_system, info.compress_type = 3, compression
            info.external_attr = (modes or {}).get(name, stat.S_IFREG | 0o644) << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def packed(kind, files=FILES):
    if kind.startswith("zip"):
        return zip_of(files, compression=zipfile.ZIP_STORED if "stored" in kind else zipfile.ZIP_DEFLATED)
    return COMPRESS[kind](tar_of(files))


@pytest.fixture
def stored(tmp_path):
    def store(data):
        path = tmp_path / "toy.download"  # downloads have no telling names
        path.write_bytes(data)
        return path

    return store


# -- what archives hold -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_names_and_contents_in_order(stored, kind):
    path = stored(packed(kind))
    assert list(read(path)) == list(FILES.items())
    assert list(listing(path)) == list(FILES)


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_names_beyond_ascii(stored, format):
    files = {f"{'a' * 60}/{'b' * 60}.jpg": b"long", "übung.jpg": b"umlaut"}
    assert dict(read(stored(tar_of(files, format=format)))) == files


def test_a_tar_older_than_its_magic_bytes_is_known_by_its_checksum(stored):
    """The header of Unix version 7: no `ustar`."""
    block = bytearray(tar_of({"x": b"abc"})[512:1024])
    block[257:512] = bytes(255)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    path = stored(bytes(block) + b"abc".ljust(512, b"\0") + bytes(1024))
    assert list(read(path)) == [("x", b"abc")]


@pytest.mark.parametrize("kind", KINDS)
def test_only_wanted_members_are_yielded_in_the_archives_order(stored, kind):
    path = stored(packed(kind))
    assert [name for name, _ in read(path, ["empty", "d/b.txt"])] == ["d/b.txt", "empty"]
    assert list(read(path, [])) == []


def test_reading_ends_with_the_last_wanted_member(stored):
    """What comes after is not even looked at: here it is garbage."""
    data = tar_of()
    listed = listing(stored(data))
    path = stored(data[: 512 * 3] + b"garbage" * 1000)
    assert list(read(path, ["d/b.txt"], listed=listed)) == [("d/b.txt", b"second")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_wanted_member_that_is_not_there_is_named(stored, kind):
    with pytest.raises(IntegrityError, match="lacks a file") as error:
        list(read(stored(packed(kind)), ["empty", "d/c.txt", "d/d.txt"]))
    assert "d/c.txt and 1 more" in str(error.value)


def test_a_leading_dot_is_no_part_of_a_name(stored):
    path = stored(tar_of({"./d/x": b"1", "./y": b"2"}))
    assert list(read(path)) == [("d/x", b"1"), ("y", b"2")]
    assert list(listing(path)) == ["d/x", "y"]


@pytest.mark.parametrize("kind", KINDS)
def test_of_two_members_with_one_name_the_last_counts_as_after_extracting(stored, kind):
    """The first one was read, which `tar -r` had meant to replace."""
    first, second = tar_of({"x": b"old", "y": b"2"}), tar_of({"x": b"new"})
    both = first[: 512 * 5] + second[512:]  # without the zeros, and without the second folder
    if kind.startswith("zip"):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in (("x", b"old"), ("y", b"2"), ("z", b"new")):
                archive.writestr(name, data)
        path = stored(buffer.getvalue().replace(b"z", b"x"))  # zipfile warns of a second x
    else:
        path = stored(COMPRESS[kind](both))
    assert list(read(path)) == [("y", b"2"), ("x", b"new")]
    assert list(read(path, ["x"])) == [("x", b"new")]


def test_a_hard_link_is_another_name_of_its_file(stored):
    """De-duplicated copies were left out without a word."""
    link = tarfile.TarInfo("copy")
    link.type, link.linkname = tarfile.LNKTYPE, "./d/b.txt"
    path = stored(tar_of(extra=[link]))
    assert list(read(path))[:2] == [("d/b.txt", b"second"), ("copy", b"second")]
    assert list(read(path, ["copy"])) == [("copy", b"second")]


@pytest.mark.parametrize(
    ("target", "message"), [("gone", "has no file before it"), ("/etc/passwd", "an absolute name")]
)
def test_a_hard_link_to_nothing_or_out_of_the_archive_is_refused(stored, target, message):
    link = tarfile.TarInfo("copy")
    link.type, link.linkname = tarfile.LNKTYPE, target
    with pytest.raises(IntegrityError, match=message):
        listing(stored(tar_of(extra=[link])))


def test_no_more_than_one_member_is_in_memory(stored):
    """Eight members of 4 MB; a list of them all would be 32 MB."""
    path = stored(gzip.compress(tar_of({f"{n}": bytes(4 << 20) for n in range(8)}), compresslevel=1))
    tracemalloc.start()
    for _, data in read(path):
        assert len(data) == 4 << 20
        del data
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20


def test_the_headers_of_members_that_are_gone_are_not_kept(stored):
    """An archive may have a million members; tarfile alone would keep all their headers."""
    path = stored(b"".join(tarfile.TarInfo(f"{n}").tobuf() for n in range(3000)) + bytes(1024))
    listed = listing(path)
    tracemalloc.start()
    assert sum(1 for _ in read(path, listed=listed)) == 3000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_500_000  # the numbers of what is wanted; tarfile would keep 6 MB


# -- archives inside archives -----------------------------------------------------------------------------------------

INNER = {"one.tar": tar_of({"1/a": b"1a", "1/b": b"1b"}), "notes.txt": b"no archive", "two.tar": tar_of({"2": b"2"})}


def everything(path):
    return [(name, list(inside)) for name, inside in nested(path)]


@pytest.mark.parametrize("outer", KINDS)
@pytest.mark.parametrize("inner", KINDS)
def test_an_archive_inside_an_archive_of_any_kinds(stored, outer, inner):
    files = {"a/x": packed(inner, {"p": b"1", "q": b"2"}), "notes": b"no archive", "y": packed(inner, {"p": b"3"})}
    path = stored(packed(outer, files))
    assert everything(path) == [("a/x", [("p", b"1"), ("q", b"2")]), ("y", [("p", b"3")])]
    assert {name: list(inner) for name, inner in nested_listing(path).items()} == {"a/x": ["p", "q"], "y": ["p"]}


@pytest.mark.parametrize("kind", KINDS)
def test_inner_archives_that_are_not_read_to_their_end_disturb_nothing(stored, kind):
    seen = []
    for name, inside in nested(stored(packed(kind, INNER))):
        seen.append((name, next(inside) if name == "one.tar" else list(inside)))
    assert seen == [("one.tar", ("1/a", b"1a")), ("two.tar", [("2", b"2")])]
    assert [name for name, _ in nested(stored(packed(kind, INNER)))] == ["one.tar", "two.tar"]


def test_an_inner_tar_without_the_zeros_at_its_end_is_whole(stored):
    """Its size stands in the outer archive; some tools leave the zeros away."""
    bare = tar_of({"x": b"abc"})[: 512 * 3]
    assert everything(stored(tar_of({"i.tar": bare}))) == [("i.tar", [("x", b"abc")])]


def test_a_damaged_inner_archive_is_named_with_the_outer(stored):
    broken = bytearray(INNER["one.tar"])
    broken[512 * 3 : 512 * 3 + 8] = b"garbage!"  # the header of the second file
    path = stored(tar_of({"one.tar": bytes(broken)}))
    with pytest.raises(IntegrityError, match="cut off or damaged") as error:
        everything(path)
    assert f"{path}: one.tar" in str(error.value)


# -- members that are refused -----------------------------------------------------------------------------------------


def refused(path, what, name):
    for reader in (listing, lambda path: list(read(path)), lambda path: list(read(path, ["d/b.txt", "empty"]))):
        with pytest.raises(IntegrityError, match=f"a member of an archive {what}") as error:
            reader(path)
        assert name in str(error.value)
        assert str(path) in str(error.value)


HOSTILE = {
    "/etc/passwd": "has an absolute name",
    "C:/x": "has an absolute name",
    "c:x": "has an absolute name",
    "\\x": "has an absolute name",
    "\\\\host\\x": "has an absolute name",
    "../x": "has a name that leads out of its folder",
    "d/../../x": "has a name that leads out of its folder",
    "d\\..\\x": "has a name that leads out of its folder",
    "d/..": "has a name that leads out of its folder",
}


@pytest.mark.parametrize("kind", ["plain", "gz", "zip"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_leads_elsewhere_refuses_the_archive(stored, kind, name):
    refused(stored(packed(kind, {name: b"", **FILES})), HOSTILE[name], name)


@pytest.mark.parametrize("kind", ["plain", "zip"])
def test_names_that_only_look_like_it_are_fine(stored, kind):
    files = {"a..b/..c": b"1", "d/x:y": b"2", "...": b"3", "a\\b": b"4"}
    assert dict(read(stored(packed(kind, files)))) == files


def left_out(path):
    assert list(read(path)) == list(FILES.items())
    assert list(listing(path)) == list(FILES)
    with pytest.raises(IntegrityError, match="lacks a file"):
        list(read(path, ["odd"]))


@pytest.mark.parametrize("type", [tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_what_is_no_regular_file_of_a_tar_is_left_out(stored, type):
    info = tarfile.TarInfo("odd")
    info.type, info.linkname = type, "d/b.txt"
    left_out(stored(tar_of(extra=[info])))


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_what_is_no_regular_file_of_a_zip_is_left_out(stored, mode):
    left_out(stored(zip_of({"odd": b"d/b.txt", **FILES}, modes={"odd": mode | 0o777})))


def test_a_zip_that_was_not_made_on_unix_says_nothing_of_types(stored):
    """There the bits where Unix keeps them mean something else."""
    data = bytearray(zip_of({"x": b"abc"}, modes={"x": stat.S_IFLNK}))
    data[data.rindex(b"PK\x01\x02") + 5] = 0  # made by: MS-DOS
    assert list(read(stored(bytes(data)))) == [("x", b"abc")]


@pytest.mark.parametrize("name", ["/odd", "../odd"])
def test_the_name_of_a_link_is_checked_too(stored, name):
    info = tarfile.TarInfo(name)
    info.type = tarfile.SYMTYPE
    refused(stored(tar_of({}, extra=[info])), HOSTILE["/etc/passwd" if name == "/odd" else "../x"], name)


def test_an_encrypted_member_is_told(stored):
    data = bytearray(zip_of({"x": b"abc"}, compression=zipfile.ZIP_STORED))
    entry = data.rindex(b"PK\x01\x02")  # the flags are bytes 8 and 9 of the directory's entry
    data[entry + 8] |= 1
    with pytest.raises(IntegrityError, match="is encrypted"):
        list(read(stored(bytes(data))))


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_above_the_limit_is_refused_before_it_is_read(stored, kind):
    path = stored(packed(kind, {"x": bytes(1001)}))
    assert [len(data) for _, data in read(path, limit_bytes=1001)] == [1001]
    with pytest.raises(IntegrityError, match="has 1001 bytes, more than the limit of 1000"):
        list(read(path, limit_bytes=1000))
    inner = stored(packed(kind, {"i": packed("gz", {"x": bytes(1001)})}))
    with pytest.raises(IntegrityError, match="more than the limit of 1000"):
        [list(inside) for _, inside in nested(inner, limit_bytes=1000)]


def test_a_bomb_is_refused_without_being_unpacked(stored):
    """A header that announces 100 GB, and a compressed header of names of 5 GB."""
    huge = tarfile.TarInfo("huge")
    huge.size = 100 << 30
    with pytest.raises(IntegrityError, match="cut off or damaged"):
        list(read(stored(gzip.compress(huge.tobuf() + bytes(10240)))))
    names = tarfile.TarInfo("names")
    names.type, names.size = tarfile.XHDTYPE, 5 << 30
    with pytest.raises(IntegrityError, match=f"a header asks for {5 << 30} bytes"):
        list(read(stored(gzip.compress(names.tobuf() + bytes(10240)))))


# -- archives that are cut off or damaged -----------------------------------------------------------------------------


def outcome(path):
    """Return what reading gives, None for an IntegrityError; anything else is raised."""
    try:
        return list(read(path))
    except IntegrityError:
        return None


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_cut_off_anywhere_is_never_taken_for_a_shorter_one(stored, kind):
    data, whole = packed(kind), list(FILES.items())
    lengths = range(0, len(data), 97) if kind != "plain" else [*range(0, len(data), 256)]
    results = [outcome(stored(data[:length])) for length in lengths]
    assert [] not in results
    # Of a plain tar all is there once the first block of zeros is.
    assert {result is None or result == whole for result in results} == {True}
    assert (results[-1] == whole) == (kind == "plain")


@pytest.mark.parametrize("kind", KINDS)
def test_damage_anywhere_raises_nothing_but_an_integrity_error(stored, kind):
    """A plain tar has no checksum of its contents, so only the kind of error is held there."""
    data, whole, draws = packed(kind), list(FILES.items()), random.Random(0)
    for _ in range(150):
        damaged = bytearray(data)
        damaged[draws.randrange(len(data))] ^= 1 << draws.randrange(8)
        result = outcome(stored(bytes(damaged)))
        if kind in ("gz", "bz2", "xz"):
            assert result in (None, whole)


def test_a_damaged_header_in_the_middle_is_not_the_end_of_the_list(stored):
    """The standard library's tarfile ends there without a word."""
    data = bytearray(tar_of())
    data[512 * 3] ^= 1  # the first letter of the second file's name, so that the header's checksum is wrong
    path = stored(bytes(data))
    with tarfile.open(path) as tar:
        assert len(tar.getnames()) == 2
    with pytest.raises(IntegrityError, match="cut off or damaged"):
        listing(path)


def test_a_tar_cut_off_between_two_members_is_noticed(stored):
    path = stored(tar_of()[: 512 * 3])
    with pytest.raises(IntegrityError, match="0 bytes that are no header where the archive should end"):
        listing(path)


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_a_compressed_tar_with_a_wrong_checksum_is_noticed_although_every_member_was_read(stored, kind):
    data = bytearray(packed(kind))
    position = {"gz": -8, "bz2": -5, "xz": -20}[kind]
    data[position] ^= 0xFF
    assert outcome(stored(bytes(data))) is None


def test_a_zip_with_a_damaged_name_or_an_unknown_compression_is_an_integrity_error(stored):
    data = zip_of({"übung": b"abc"}, compression=zipfile.ZIP_STORED)
    position = data.rindex("übung".encode())
    assert outcome(stored(data[:position] + b"\xff" + data[position + 1 :])) is None
    unknown = bytearray(data)
    unknown[8] = unknown[data.rindex(b"PK\x01\x02") + 10] = 99  # the method, in the member's header and the directory
    assert outcome(stored(bytes(unknown))) is None


@pytest.mark.parametrize("data", [b"", b"<!DOCTYPE html>", bytes(10240), gzip.compress(b"no tar"), b"PK"], ids=range(5))
def test_what_is_no_archive_is_told_with_its_first_bytes(stored, data):
    with pytest.raises(IntegrityError, match="cut off or damaged") as error:
        listing(stored(data))
    assert "delete it and run snakemake, which fetches it again" in str(error.value)


def test_a_large_member_that_is_passed_over_stops_nobody(stored):
    """STL-10's class names lie behind 2.8 GB of unlabelled images."""
    path = stored(tar_of({"large": bytes(5000), "small": b"names"}))
    assert list(read(path, ["small"], limit_bytes=4999)) == [("small", b"names")]
    with pytest.raises(IntegrityError, match="more than the limit of 4999"):
        list(read(path, ["large"], limit_bytes=4999))
