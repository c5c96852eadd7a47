"""Chooses where blobs lie, by what stands in ``blobs``. Only a bucket needs something installed."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from toolrunner.runner.jobs.blob_places import BucketPlace, FolderPlace, endpoint_of, place_of
from toolrunner.runner.jobs.blobs import Blobs
from toolrunner.runner.jobs.files import KINDS
from toolrunner.runner.jobs.folder_blobs import FolderBlobs
from toolrunner.runner.settings.settings import Settings, SettingsError

_MISSING = (
    "a bucket needs obstore, which is not installed: "
    'pip install "toolrunner-sandbox[cluster]", or in a clone: pip install ".[cluster]"'
)


def check_usable(text: str) -> None:
    """Raise ValueError where what stands in ``blobs`` cannot be used here; nobody is asked."""
    place = place_of(text)
    if isinstance(place, BucketPlace):
        if importlib.util.find_spec("obstore") is None:
            raise ValueError(_MISSING)
        endpoint_of(place, os.environ)


def open_blobs(text: str, state: Path) -> Blobs | None:
    """Return the blobs of a place; ``None`` for those of the state folder.

    ``state``: where files lie on their way to a run. Raises ValueError as ``check_usable``.
    """
    check_usable(text)
    place = place_of(text)
    if isinstance(place, FolderPlace):
        return FolderBlobs(place.folder, KINDS)
    if isinstance(place, BucketPlace):
        # Only here: who has no bucket imports nothing of it.
        from toolrunner.runner.jobs.s3_blobs import S3Blobs  # noqa: PLC0415

        return S3Blobs(place, state)
    return None


def blobs_of(settings: Settings) -> Blobs | None:
    """Return the blobs that ``blobs`` names; ``None`` for those of the state folder.

    Raises SettingsError where they cannot be used here.
    """
    try:
        return open_blobs(settings.blobs, settings.kept_state())
    except ValueError as error:
        message = f"blobs: {error}"
        raise SettingsError(message) from None
