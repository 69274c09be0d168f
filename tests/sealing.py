"""Checksums of a changed bundle written anew, as somebody who hands over a folder could."""

import hashlib
from pathlib import Path

from tamis.folders import MANIFEST, read_json, write_json


def seal(folder: Path) -> None:
    """Write the checksums of the manifests in and below the folder, the innermost first."""
    for manifest in sorted(folder.rglob(MANIFEST), key=lambda file: -len(file.parts)):
        content = read_json(manifest)
        files = [file for file in content["files"] if (manifest.parent / file).is_file()]
        sums = {name: hashlib.sha256((manifest.parent / name).read_bytes()).hexdigest() for name in files}
        write_json(manifest, {**content, "files": sums})
