"""Write the schema of a dataset where the next reading finds it."""

from __future__ import annotations

import os
from pathlib import Path

from tamis.data.dataset import Dataset
from tamis.data.formats import format_by_ending
from tamis.data.hive import is_hive_folder
from tamis.data.source_files import is_url, own_schema_file, schema_places
from tamis.errors import FormatError, SettingError
from tamis.schema import SCHEMA_FILE, Schema


def write_schema_beside(dataset: Dataset, schema: Schema, *, overwrite: bool = False) -> Path:
    """Write a schema beside the data, whole or not at all; where it lies comes back.

    It is `schema.json` in the folder of the files. A single file that shares its folder with others gets
    `<name>.schema.json`, since the others are other tables.

    Raises:
        FormatError: there is one already.
        SettingError: the rows are no files on this machine, or lie too far apart to share a schema.
    """
    place = _place(dataset)
    if place.exists() and not overwrite:
        raise FormatError(
            f"{place}: there is a schema already. Correct it by hand, or ask to overwrite it "
            "(--overwrite), which keeps its tags and adds to columns without any."
        )
    fresh = place.with_name(f".{place.name}.new-{os.getpid()}")
    try:
        schema.save(fresh)
        fresh.replace(place)
    finally:
        fresh.unlink(missing_ok=True)
    return place


def _place(dataset: Dataset) -> Path:
    files = dataset.origin
    if not files or any(map(is_url, files)):
        where = "a frame" if not files else files[0]
        raise SettingError(
            f"{where}: a schema can be written only beside files on this machine. Save it with Schema.save and give "
            "it to Dataset(..., schema=)."
        )
    first = Path(files[0]).absolute()
    if len(files) == 1 and first.is_file() and _shares_folder(first):
        return own_schema_file(first)
    folders = [str(Path(file).absolute() if Path(file).is_dir() else Path(file).absolute().parent) for file in files]
    common = Path(os.path.commonpath(folders))
    while is_hive_folder(common.name):  # one day so far, others to come
        common = common.parent
    if common / SCHEMA_FILE not in schema_places(files):
        raise SettingError(
            f"{common}: the files below lie too deep to find a {SCHEMA_FILE} here. Give one of the folders in it."
        )
    return common / SCHEMA_FILE


def _shares_folder(file: Path) -> bool:
    return any(other != file and other.is_file() and format_by_ending(other.name) for other in file.parent.iterdir())
