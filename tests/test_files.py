"""Files in and out: refused cleanly, written whole or not at all."""

import io
import os
import stat
from pathlib import Path

import pytest

from kvplace import files
from kvplace.errors import InputError
from kvplace.files import read_text, write_atomic
from kvplace.formats.plan import io as plan_io
from kvplace.formats.plan.io import read_plan
from kvplace.formats.read import read


def fault_of(call, *arguments, **options):
    with pytest.raises(InputError) as caught:
        call(*arguments, **options)
    assert len(caught.value.faults) == 1
    return str(caught.value.faults[0])


def test_what_cannot_be_read_is_refused_with_a_sentence(tmp_path, monkeypatch):
    assert fault_of(read, tmp_path / "none.yaml") == "there is no such file"
    assert fault_of(read_plan, tmp_path / "none.json") == "there is no such file"
    assert fault_of(read, tmp_path) == "this is a directory; name a file in it"
    path = tmp_path / "f.yaml"
    path.write_bytes(b"")
    assert fault_of(read, path) == "this file is empty"
    path.write_bytes(b" \n\t\n")
    assert fault_of(read, path) == "this file is empty"
    path.write_bytes(b"a: 1\nb: \xff\n")
    assert fault_of(read, path) == "line 2: the byte 0xFF is not UTF-8; save the file as UTF-8"
    assert fault_of(read, "a\0b").startswith("this file cannot be read: ")
    assert fault_of(read, "x" * 5000) == "this file cannot be read: file name too long"
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 2**20)
    path.write_bytes(b"#" * (2**20 + 1))
    assert fault_of(read, path) == "this file is larger than 1 MiB, the most that is read"
    assert "larger" not in fault_of(read_plan, path)  # a plan of many models is
    monkeypatch.setattr(plan_io, "MAX_ROWS_BYTES", 2**20)
    assert fault_of(read_plan, path) == "this file is larger than 1 MiB, the most that is read"


@pytest.mark.parametrize(
    ("begin", "told"),
    [(b"PK\x03\x04", "Excel"), (b"\x1f\x8b", "gzip"), (b"PAR1", "Parquet"), (b"GGUF", "GGUF"),
     (b"%PDF-1.7", "PDF"), ("nodes: 1".encode("utf-16"), "UTF-16"),
     ("nodes: 1".encode("utf-16-le"), "UTF-16"), ("nodes: 1".encode("utf-16-be"), "UTF-16"),
     ("nodes: 1".encode("utf-32"), "UTF-32")],
)  # fmt: skip
def test_a_file_that_is_no_text_is_named_as_what_it_is(begin, told, tmp_path):
    (tmp_path / "fleet.yaml").write_bytes(begin + b"\x00rest")
    assert told in fault_of(read, tmp_path / "fleet.yaml")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_text("x")
    path.chmod(0)
    assert fault_of(read, path) == "this file may not be read; check its permissions"


def test_permission_errors_of_the_system_become_a_sentence(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    expected = "this file may not be read; check its permissions"
    assert fault_of(read_text, tmp_path / "f") == expected


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"\xef\xbb\xbfa")
    assert read_text(path) == "a"


def test_gpus_go_with_a_table_and_only_with_it(tmp_path):
    table = tmp_path / "m.csv"
    table.write_text("name\n")
    assert fault_of(read, table) == (
        "a models table needs its GPUs too: --gpus 8x80GiB, or gpus='8x80GiB' in Python"
    )
    expected = (
        "a fleet file names its GPUs itself; --gpus is for a table of models, whose name ends in "
        ".csv or .parquet"
    )
    assert fault_of(read, tmp_path / "f.yaml", gpus="1x80GiB") == expected


def test_a_file_is_written_whole_and_keeps_its_permissions(tmp_path):
    path = tmp_path / "out.json"
    write_atomic(path, "one é\n")
    assert path.read_bytes() == "one é\n".encode()
    path.chmod(0o640)
    write_atomic(path, "two\n")
    assert path.read_text() == "two\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_has_the_permissions_of_the_process(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomic(tmp_path / "new", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


def test_a_link_is_followed(tmp_path):
    target = tmp_path / "target"
    target.write_text("old")
    link = tmp_path / "link"
    link.symlink_to(target)
    write_atomic(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_failure_leaves_the_earlier_file(tmp_path, monkeypatch):
    path = tmp_path / "out.json"
    path.write_text("old")

    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    expected = "this file cannot be written: no space left on device"
    assert fault_of(write_atomic, path, "new") == expected
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_refused_with_a_sentence(tmp_path):
    assert fault_of(write_atomic, tmp_path, "x") == "this is a directory; name a file in it"
    missing = tmp_path / "no" / "out"
    expected = f"this file cannot be written: there is no directory {missing.parent}"
    assert fault_of(write_atomic, missing, "x") == expected


def test_a_device_is_written_straight_to():
    write_atomic(os.devnull, "x")
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize("lacks", ["the flag", "the file system", "links"])
def test_a_file_is_written_whole_where_files_need_a_name(lacks, tmp_path, monkeypatch):
    path = tmp_path / "out.json"
    path.write_text("old")
    if lacks == "the flag":
        monkeypatch.delattr("os.O_TMPFILE", raising=False)
    elif lacks == "links":
        monkeypatch.setattr("os.link", lambda *_, **__: (_ for _ in ()).throw(OSError(1, "no")))
    else:
        opened = os.open

        def refuse(name, *rest):
            if Path(name) == tmp_path:
                raise OSError(95, "Operation not supported")
            return opened(name, *rest)

        monkeypatch.setattr("os.open", refuse)
    write_atomic(path, lambda: iter(("n", "ew")))
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_that_leads_to_itself_is_not_replaced(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.symlink_to(two)
    two.symlink_to(one)
    with pytest.raises(InputError, match="leads to itself"):
        write_atomic(one, "x")
    assert one.is_symlink()


def test_a_directory_named_like_a_table_is_refused(tmp_path):
    (tmp_path / "models.parquet").mkdir()
    with pytest.raises(InputError, match="this is a directory"):
        read(tmp_path / "models.parquet", gpus="2x80GiB")


def test_the_longest_name_that_a_file_may_have_is_written(tmp_path):
    path = tmp_path / ("x" * 250 + ".json")
    write_atomic(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_working_directory_that_is_gone_is_no_foreign_exception(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert "this file cannot be written: no such file" in fault_of(write_atomic, "x.json", "new")
    monkeypatch.chdir(tmp_path)


def test_what_python_gives_in_place_of_a_text_or_a_list_is_named(tmp_path):
    assert fault_of(read, io.BytesIO(b"models: []")) == "open this file as text; it gives bytes"
    fleet = {"schema": "kvplace.fleet/v1", "nodes": "1xH100", "models": ({},)}
    assert fault_of(read, fleet).startswith("models: must be a list, not of the type tuple; write")
