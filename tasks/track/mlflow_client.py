"""The way to MLflow: its address, its client, and the files that it keeps of one of its runs."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from gridcast.errors import TrackingError
from tasks.runs.storage import publishing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

    from gridcast.config import TrackingConfig

LINEAGE_TAG = "lineage_sha256"
LATEST = "_latest"  # ends the tags that a later run with the same model may change
_ENVIRONMENT = "MLFLOW_TRACKING_URI"
_SECONDS_FOR_A_LOCK = 5.0  # of another process on MLflow's own database: its server's last moments


def tracking_uri(artifacts: Path, config: TrackingConfig | None = None) -> str:
    """The MLflow server: ``tracking.uri``, else ``MLFLOW_TRACKING_URI``, else SQLite here."""
    chosen = (config.uri if config else None) or os.environ.get(_ENVIRONMENT)
    return chosen or f"sqlite:///{own_database(artifacts)}"


def own_database(artifacts: Path) -> Path:
    """Where MLflow's SQLite is if no server is named."""
    return artifacts / "mlflow" / "mlflow.db"


def create_database(database: Path) -> None:
    """MLflow's tables in a new file, all of them: MLflow makes them one by one.

    A process that is killed meanwhile would leave some, which no later one could add to.
    """
    from mlflow import MlflowClient

    _say_little()
    with TemporaryDirectory(prefix="gridcast-mlflow-") as folder:
        made = Path(folder) / database.name
        MlflowClient(f"sqlite:///{made}").search_experiments(max_results=1)
        with publishing(database) as unfinished:
            shutil.copyfile(made, unfinished)


def open_client(uri: str) -> MlflowClient:
    """A client of that server, which is from now on the one of this process."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    _say_little()
    mlflow.set_tracking_uri(uri)
    return mlflow.MlflowClient()


def _say_little() -> None:
    for name in ("alembic", "mlflow"):  # their INFO lines are for whoever runs a server
        logging.getLogger(name).setLevel(logging.WARNING)


def require_usable(database: Path) -> None:
    """Refuse MLflow's own database where it is broken, or locked for longer than a moment.

    MLflow itself would try again for minutes.

    Raises:
        TrackingError: it is one or the other.
    """
    uri = f"sqlite:///{database}"
    try:
        with closing(sqlite3.connect(database, timeout=_SECONDS_FOR_A_LOCK)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            connection.rollback()
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise TrackingError(uri, str(found))


@contextmanager
def told_as_tracking_error(uri: str) -> Iterator[None]:
    """Whatever way MLflow has of not taking something, as the one error.

    Raises:
        TrackingError: in one line, without a password.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        secret = urlsplit(uri).netloc.rpartition("@")[0]
        reason = str(error).replace(secret, "***") if secret else str(error)
        raise TrackingError(uri_shown(uri), reason or type(error).__name__) from error


def uri_shown(uri: str) -> str:
    """The address as people may see it: without a password."""
    user, at, _ = urlsplit(uri).netloc.rpartition("@")
    return uri.replace(user + at, "", 1)


def written_uri(uri: str, artifacts: Path) -> str:
    """The address as a record may hold it: without a password, and fit for a moved folder."""
    return uri_shown(uri).replace(str(artifacts), "{artifacts}")


def read_uri(written: str, artifacts: Path) -> str:
    """The address of a record. ``MLFLOW_TRACKING_URI`` adds the password if it names the same."""
    own = os.environ.get(_ENVIRONMENT, "")
    if own and written_uri(own, artifacts) == written:
        return own
    return written.replace("{artifacts}", str(artifacts))


def kept_files(client: MlflowClient, found: MlflowRun) -> dict[str, Path]:
    """All files of a run and of the models that it logged, by ``runs:/`` and ``models:/`` address.

    What lies on another machine is downloaded to a temporary folder.
    """
    roots = {f"runs:/{found.info.run_id}": found.info.artifact_uri}
    for output in found.outputs.model_outputs if found.outputs else ():
        model = client.get_logged_model(output.model_id)
        roots[f"models:/{model.model_id}"] = model.artifact_location
    files = {}
    for address, location in roots.items():
        folder = local_folder(location) or _downloaded(location)
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            files[f"{address}/{path.relative_to(folder).as_posix()}"] = path
    return files


def find_run(client: MlflowClient, name: str) -> MlflowRun:
    """The run of that id, or the one that made ``models:/name/version``, ``@alias`` or ``m-...``.

    Raises:
        MlflowException: there is none.
    """
    if not name.startswith("models:/"):
        return client.get_run(name)
    model, _, alias = name.removeprefix("models:/").partition("@")
    model, _, number = model.partition("/")
    model_id: str | None = model
    if alias or number:
        version = (
            client.get_model_version_by_alias(model, alias)
            if alias
            else client.get_model_version(model, number)
        )
        if version.run_id:
            return client.get_run(version.run_id)
        model_id = version.model_id
    return client.get_run(str(client.get_logged_model(str(model_id)).source_run_id))


def mlflow_parts(found: MlflowRun) -> dict[str, Any]:
    """What must not change of a run that has ended: without what later runs and people may add."""
    tags = {
        name: value
        for name, value in found.data.tags.items()
        if not name.startswith("mlflow.") and not name.endswith(LATEST) and name != LINEAGE_TAG
    }
    return {"tags": tags, "params": found.data.params, "metrics": found.data.metrics}


def local_folder(location: str) -> Path | None:
    """The folder of an artifact location on this machine, or None."""
    parts = urlsplit(location)
    return Path(unquote(parts.path)) if parts.scheme in {"", "file"} else None


def download(address: str) -> Path:
    """What stands at a ``runs:/`` or ``models:/m-...`` address, as a path on this machine."""
    from mlflow import MlflowClient

    if not address.startswith("models:/"):
        return _downloaded(address)
    model_id, _, rest = address.removeprefix("models:/").partition("/")
    location = MlflowClient().get_logged_model(model_id).artifact_location
    if folder := local_folder(location):
        return folder / rest
    return _downloaded(f"{location}/{rest}".rstrip("/"))


def _downloaded(address: str) -> Path:
    """A folder or a file of an artifact's address; of a whole run ``runs:/`` is no such."""
    from mlflow.artifacts import download_artifacts

    return Path(download_artifacts(artifact_uri=address))
