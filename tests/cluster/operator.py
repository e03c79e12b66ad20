"""Somebody with a shell who does what docs/operations.md says."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.cluster.cluster import Cluster
from tests.support.paths import ROOT
from tests.support.procedures import sections

PAGE = sections(ROOT / "docs/operations.md")
LONG = 1000  # s, for what restarts every container, three times


class Operator:
    """Somebody with a shell. ``folder``: where the commands leave their files."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster, self.folder = cluster, folder
        self._files = [str(ROOT / "deploy/compose.yml")]

    def add_file(self, text: str) -> None:
        """Adds a Compose file of their own."""
        path = self.folder / "my.yml"
        path.write_text(text)
        self._files.append(str(path))

    def remove_file(self) -> None:
        del self._files[1:]

    def sh(self, script: str) -> str:
        """What a script prints. An AssertionError with that where a command fails."""
        for theirs, ours in (
            ("export COMPOSE_FILE=deploy/compose.yml\n", ""),
            ("scripts/", f"{ROOT}/scripts/"),
            ("https://localhost:8443", self._cluster.url),
            (" --follow", ""),
            ("tools bash ", "tools true "),
            ("run --rm ", "run --rm --no-TTY "),
        ):
            script = script.replace(theirs, ours)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self._cluster.environment | {"COMPOSE_FILE": ":".join(self._files)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONG,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}"
        return done.stdout
