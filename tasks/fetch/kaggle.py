"""Fetch a Kaggle data set: kagglehub speaks to Kaggle, unpacking is ours and has limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gridcast.errors import FetchError, UsageError
from tasks.fetch.kaggle_private import limit_waiting
from tasks.fetch.marker import Origin, now
from tasks.fetch.unpacking import require_empty, unpack_archive
from tasks.runs.storage import temporary_sibling

if TYPE_CHECKING:
    from pathlib import Path

    from gridcast.config import ArchivesConfig
    from gridcast.readings.archive_members import Unpacking

KAGGLE_DATASET = "robikscube/hourly-energy-consumption"
_CHUNK = 1024 * 1024
_BY_HAND = "or download the archive by hand and `gridcast fetch archive` it"


def fetch_kaggle(dataset: str, folder: Path, *, limits: ArchivesConfig) -> Unpacking:
    """Download the data set's archive, check it, and unpack its regional CSVs to ``folder``.

    Raises:
        UsageError: kagglehub is not installed, the data set's name is none, Kaggle wants
            credentials or has no such data set, the folder is not empty, the archive is refused.
        FetchError: Kaggle did not give a whole answer.
    """
    require_empty(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with temporary_sibling(folder.with_name(f"{folder.name}.download")) as archive:
        name = _download(dataset, archive, most_bytes=limits.max_bytes)
        origin = Origin(source="kaggle", name=name, fetched_at=now())
        return unpack_archive(archive, folder, limits=limits, origin=origin)


def _download(dataset: str, archive: Path, *, most_bytes: int) -> str:
    """Write the archive's bytes; the data set's name with the version that came."""
    try:
        import requests
        from kagglehub.clients import build_kaggle_client
        from kagglehub.handle import parse_dataset_handle
    except ImportError:
        where, found = "gridcast fetch kaggle", "no kagglehub"
        expected = f"it installed (pip install 'kagglehub>=1.0'), {_BY_HAND}"
        raise UsageError(where, found=found, expected=expected) from None
    try:
        handle = parse_dataset_handle(dataset)
    except ValueError:
        where, expected = "--dataset", f"owner/name, such as {KAGGLE_DATASET}"
        raise UsageError(where, found=repr(dataset[:80]), expected=expected) from None
    try:
        with build_kaggle_client() as client:
            limit_waiting(client)
            if not handle.is_versioned():
                handle = handle.with_version(_current_version(client, handle))
            _save(_answer(client, handle), archive, dataset, most_bytes=most_bytes)
    except requests.HTTPError as error:
        raise _refusal(dataset, error) from None
    except requests.RequestException as error:
        found = f"no whole answer from Kaggle ({type(error).__name__})"
        expected = f"a network that reaches it; try again, {_BY_HAND}"
        raise FetchError(dataset, found=found, expected=expected) from None
    return f"{handle.owner}/{handle.dataset} version {handle.version}"


def _current_version(client: Any, handle: Any) -> int:  # noqa: ANN401
    from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetRequest

    request = ApiGetDatasetRequest()
    request.owner_slug, request.dataset_slug = handle.owner, handle.dataset
    return int(client.datasets.dataset_api_client.get_dataset(request).current_version_number)


def _answer(client: Any, handle: Any) -> Any:  # noqa: ANN401
    """The whole data set as one archive, streamed."""
    from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest

    request = ApiDownloadDatasetRequest()
    request.owner_slug, request.dataset_slug = handle.owner, handle.dataset
    request.dataset_version_number = handle.version
    return client.datasets.dataset_api_client.download_dataset(request)


def _save(answer: Any, archive: Path, dataset: str, *, most_bytes: int) -> None:  # noqa: ANN401
    left = most_bytes
    with answer, archive.open("wb") as file:
        for chunk in answer.iter_content(_CHUNK):
            left -= len(chunk)
            if left < 0:
                expected = f"at most {most_bytes / 1e6:,.0f} MB (archives.max_bytes)"
                raise UsageError(dataset, found="a larger download", expected=expected)
            file.write(chunk)


def _refusal(dataset: str, error: Any) -> UsageError | FetchError:  # noqa: ANN401
    status = error.response.status_code if error.response is not None else 0
    if status in (401, 403):
        expected = (
            "credentials that Kaggle takes for it: KAGGLE_API_TOKEN, or KAGGLE_USERNAME and "
            f"KAGGLE_KEY, or ~/.kaggle/kaggle.json; {_BY_HAND}"
        )
        return UsageError(dataset, found=f"{status} from Kaggle", expected=expected)
    if status == 404:  # noqa: PLR2004
        expected = f"a data set of Kaggle's, such as {KAGGLE_DATASET}"
        return UsageError(dataset, found="404 from Kaggle", expected=expected)
    expected = f"200; try again, {_BY_HAND}"
    return FetchError(dataset, found=f"{status} from Kaggle", expected=expected)
