"""The log of a process on disk."""

from pathlib import Path

from babygun.dev.log_file import LogFile


def test_log_file_keeps_the_current_and_the_one_before(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log", most_bytes=20)
    for number in range(12):
        log.write(f"line {number:02}")
    log.close()
    log.write("too late")
    kept = (tmp_path / "log.1").read_text() + (tmp_path / "log").read_text()
    assert kept.splitlines() == [f"line {number:02}" for number in range(9, 12)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1"]
