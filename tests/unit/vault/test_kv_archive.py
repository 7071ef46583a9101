"""The past on disk comes back by its places, and leaves nothing behind."""

import errno
import os
import stat
from pathlib import Path

import pytest
import torch

from engramos.errors import BlobError, ConfigError, InvalidInputError
from engramos.vault.kv_archive import DiskArchive

torch.set_num_threads(1)
ALL = torch.arange(40).expand(2, -1)


def stretch(tokens: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return (
        torch.randn(2, tokens, 8, generator=random).to(dtype),
        torch.randn(2, tokens, 4, generator=random).to(dtype),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_tokens_come_back_bit_by_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    parts = [stretch(size, size, dtype) for size in (1, 30, 9)]
    with DiskArchive(tmp_path) as archive:
        for number, (keys, values) in enumerate(parts):
            archive.append(keys, values)
            if not number:
                archive.gather(torch.zeros(2, 1, dtype=torch.int64))  # a map that the next stretch outgrows
        found = archive.gather(ALL)
        for side, held in zip(zip(*parts, strict=True), found, strict=True):
            assert torch.equal(torch.cat(side, dim=1), held)
        places = torch.tensor([[39, 0, -1], [7, 7, 8]])
        keys, values = archive.gather(places)
        whole = torch.cat([one[0] for one in parts], dim=1)
        assert torch.equal(keys[0, :2], whole[0, [39, 0]])
        assert torch.equal(keys[1], whole[1, [7, 7, 8]])
        assert not keys[0, 2].any()
        assert not values[0, 2].any()
        assert archive.num_bytes == archive.path.stat().st_size == 40 * 2 * 12 * keys.element_size()


def test_int8_is_within_half_a_step_and_zeros_stay_zeros(tmp_path: Path) -> None:
    keys, values = stretch(40)
    keys[0, 3] = 0
    with DiskArchive(tmp_path, "int8") as archive:
        archive.append(keys, values)
        for side, found in zip((keys, values), archive.gather(ALL), strict=True):
            step = side.abs().amax(-1, keepdim=True) / 127
            assert bool(((side - found).abs() <= step * 0.5001).all())
        assert not archive.gather(torch.tensor([[3], [3]]))[0][0].any()
        assert archive.num_bytes == 40 * 2 * (8 + 4 + 4 + 4)


def test_the_file_is_its_owners_alone_and_gone_after_closing(tmp_path: Path) -> None:
    archive = DiskArchive(tmp_path / "new" / "folder")
    archive.append(*stretch(3))
    assert stat.S_IMODE(archive.path.stat().st_mode) == 0o600
    archive.gather(torch.zeros(2, 1, dtype=torch.int64))
    archive.close()
    archive.close()
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    for call in (lambda: archive.append(*stretch(3)), lambda: archive.gather(ALL)):
        with pytest.raises(InvalidInputError, match="is closed"):
            call()


def test_two_archives_in_one_folder_do_not_meet(tmp_path: Path) -> None:
    with DiskArchive(tmp_path) as one, DiskArchive(tmp_path) as other:
        one.append(*stretch(4, 1))
        other.append(*stretch(4, 2))
        places = torch.arange(4).expand(2, -1)
        assert torch.equal(one.gather(places)[0], stretch(4, 1)[0])
        assert torch.equal(other.gather(places)[0], stretch(4, 2)[0])


class FullAfter:
    """A file on a disk that takes so many bytes more."""

    def __init__(self, file, room: int) -> None:
        self._file, self.room = file, room

    def write(self, data: memoryview) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = self._file.write(data[: self.room])
        self.room -= count
        return count

    def __getattr__(self, name: str):
        return getattr(self._file, name)


def test_a_full_disk_is_called_so_and_the_unfinished_tail_is_no_part_of_the_archive(tmp_path: Path) -> None:
    with DiskArchive(tmp_path) as archive:
        archive.append(*stretch(4, 1))
        size = archive.path.stat().st_size
        file = archive._file
        archive._file = FullAfter(file, 100)
        with pytest.raises(BlobError, match="the disk is full; free some space"):
            archive.append(*stretch(30, 2))
        archive._file = file
        assert archive.num_tokens == 4
        assert archive.path.stat().st_size == size
        archive.append(*stretch(5, 3))
        keys, _ = archive.gather(torch.arange(9).expand(2, -1))
        assert torch.equal(keys, torch.cat((stretch(4, 1)[0], stretch(5, 3)[0]), dim=1))


def test_a_file_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    with DiskArchive(tmp_path) as archive:
        archive.append(*stretch(40))
        os.truncate(archive.path, 100)
        with pytest.raises(BlobError, match="has 100 bytes and had 3840"):
            archive.gather(ALL)


def test_wrong_requests_are_refused_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="same, int8"):
        DiskArchive(tmp_path, "int9")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BlobError, match="making an archive"):
        DiskArchive(tmp_path / "file")
    with DiskArchive(tmp_path) as archive:
        with pytest.raises(InvalidInputError, match="append a stretch"):
            archive.gather(ALL)
        with pytest.raises(InvalidInputError, match="float64"):
            archive.append(*stretch(2, dtype=torch.float64))
        archive.append(*stretch(2))
        with pytest.raises(InvalidInputError, match="an archive of its own"):
            archive.append(*(one[:1] for one in stretch(2)))
        with pytest.raises(InvalidInputError, match="place 39 is not in an archive of 2 tokens"):
            archive.gather(ALL)
