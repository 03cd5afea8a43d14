"""A stand-in for the hub."""

import shutil
from pathlib import Path

from huggingface_hub import HfApi


class FolderHub(HfApi):
    """A hub whose repositories are folders."""

    def __init__(self, root: Path) -> None:
        super().__init__(endpoint="http://127.0.0.1:9", token=False)
        self.root = root
        self.commits = 0

    def create_repo(self, repo_id, **settings):
        (self.root / repo_id).mkdir(parents=True, exist_ok=True)
        return type("Url", (), {"repo_id": repo_id})()

    def snapshot_download(self, repo_id, *, local_dir, **settings):
        shutil.copytree(self.root / repo_id, local_dir, dirs_exist_ok=True)
        return str(local_dir)

    def create_commit(self, repo_id, *, operations, **settings):
        for operation in operations:
            target = self.root / repo_id / operation.path_in_repo
            target.parent.mkdir(parents=True, exist_ok=True)
            with operation.as_file() as file:
                target.write_bytes(file.read())
        self.commits += 1
