"""Files with covariates → the values of one region, or why they are refused.

They are read as strictly as loads are, by a layout: of a column beside the loads by that of the
file of loads, of ``<REGION>_weather.csv`` by ``covariates.weather``.

Legend: ``N`` rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from gridcast.covariates.values import ISSUED, TIME, Covariates, sorted_covariates
from gridcast.errors import Fault, RegionRefusedError
from gridcast.layouts.hours import phase_of
from gridcast.layouts.instants import Instants, RowLabels, begin_of_intervals
from gridcast.layouts.labels import read_labels
from gridcast.layouts.numbers import read_loads
from gridcast.layouts.places import column_of
from gridcast.layouts.reading import rows_that_are_read, times_of
from gridcast.layouts.region_names import listed, region_called
from gridcast.layouts.tables import FileRefusedError, Table, as_numpy, read_table
from gridcast.readings.quarantine import raw_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gridcast.config import CovariatesConfig, LayoutConfig, RegionIngestion
    from gridcast.layouts.reading import File

_HOUR, _MINUTES_OF_AN_HOUR = 3600, 60
_SHOWN = 40
_WORDS = r"(?i)^(true|false)$"
WEATHER = "_weather.csv"  # how files end that have the covariates of a region


def is_weather(name: str) -> bool:
    """Whether a file of that name has covariates, and no loads."""
    return name.lower().endswith(WEATHER)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be read of a region: column by covariate, how labels are meant, where issues are.

    ``setting`` is the section that says so, for messages.
    """

    region: str
    columns: Mapping[str, str]
    reading: RegionIngestion
    issued_column: str | None
    setting: str

    @property
    def layout(self) -> LayoutConfig:
        """How the file lies."""
        return self.reading.layout


def asked_of_weather(region: str, config: CovariatesConfig, reading: RegionIngestion) -> Asked:
    """Of ``<REGION>_weather.csv``; ``reading`` is of the region's loads, and tells its zone."""
    own = config.weather
    columns = {n: each.column_of(n, region) for n, each in config.of_source("weather").items()}
    update = {"label": own.label, "layout": own.layout()}
    return Asked(
        region, columns, reading.model_copy(update=update), own.issued_column, "covariates.weather"
    )


def asked_of_load_file(
    region: str, config: CovariatesConfig, reading: RegionIngestion, layout: LayoutConfig
) -> Asked:
    """Of the file of loads, which is read by ``layout``."""
    columns = {n: each.column_of(n, region) for n, each in config.of_source("load_file").items()}
    reading = reading.model_copy(update={"layout": layout})
    return Asked(region, columns, reading, None, "ingestion.layout")


def read_covariates(files: Sequence[File], asked: Asked) -> Covariates:
    """The values of a region, file after file; of intervals within an hour their mean.

    Raises:
        RegionRefusedError: with one fault a kind, naming file, line and column.
    """
    try:
        parts = [_Rows.of(file, table, asked) for file in files
                 if len((table := _table_of(file, asked)).lines_N)]  # fmt: skip
    except FileRefusedError as error:
        raise RegionRefusedError(asked.region, error.faults, rows=error.faults) from None
    if not parts:
        reason = f"found no row of {asked.region}, expected some ({asked.setting})"
        raise RegionRefusedError(asked.region, [Fault(files[0].path, 1, 1, "empty", reason)])
    faults = [fault for part in parts for fault in part.faults()]
    frame = pd.concat([part.frame() for part in parts], ignore_index=True)
    faults = faults or list(_repeated(frame, parts, asked))
    if faults:
        raise RegionRefusedError(asked.region, faults, rows=faults)
    frame = frame.drop_duplicates([TIME, ISSUED]).drop(columns=["part", "row"])
    return sorted_covariates(_hourly(frame, asked))


def _table_of(file: File, asked: Asked) -> Table:
    """The rows of the region."""
    layout = asked.layout
    table = read_table(file.content, file=file.path, layout=layout)
    others = (layout.period_column, layout.winter_column, layout.region_column)
    for name in (*layout.time_columns, *asked.columns.values(), *filter(None, others)):
        if table.names.count(name) != 1:
            found = f"the columns {listed(table.names)}, expected {name!r} among them, once"
            raise FileRefusedError(
                [Fault(file.path, 1, 1, "header", f"found {found} (covariates.columns)")]
            )
    table = rows_that_are_read(table, layout)
    if layout.region_column is not None:
        names = table.column(layout.region_column)
        own = [n for n in pc.unique(names).to_pylist() if region_called(n, layout) == asked.region]
        table = table.take(as_numpy(pc.is_in(names, value_set=pa.array(own, pa.string()))))
    return table


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of one file, and what is wrong with them."""

    file: File
    table: Table
    asked: Asked
    label_text: pa.Array
    is_label_N: np.ndarray
    instants: Instants
    issued_N: np.ndarray  # datetime64[s], UTC; NaT: not told
    is_issue_N: np.ndarray  # whether the cell is empty or a time
    values: Mapping[str, np.ndarray]
    is_wrong: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, file: File, table: Table, asked: Asked) -> _Rows:
        times = times_of(table, asked.layout)
        labels = times.labels
        is_label_N = ~np.isnat(labels.label_N)
        instants = begin_of_intervals(
            RowLabels(np.where(is_label_N, labels.label_N, np.datetime64(0, "s")), labels.offset_N,
                      labels.is_second_N, times.is_winter_N, times.period_N), asked.reading,
        )  # fmt: skip
        issued_N, is_issue_N = _issued(table, asked)
        read = {name: _values(table, column, asked) for name, column in asked.columns.items()}
        return cls(
            file, table, asked, labels.text, is_label_N, instants, issued_N, is_issue_N,
            {name: value_N for name, (value_N, _) in read.items()},
            {name: is_wrong_N for name, (_, is_wrong_N) in read.items()},
        )  # fmt: skip

    def faults(self) -> Iterator[Fault]:
        """The first of each kind, with their number."""
        instants, layout, time = self.instants, self.asked.layout, self.asked.layout.time_columns[0]
        setting, is_label_N = self.asked.setting, self.is_label_N
        is_placed_N = ~(instants.is_off_step_N | instants.is_never_N | instants.is_unzoned_N
                        | instants.is_no_period_N)  # fmt: skip
        yield from self._fault("label", ~is_label_N, time,
                               f"expected one like the format ({setting}.time_format)")  # fmt: skip
        expected = (
            f"expected an interval of {layout.step_minutes} minutes that its clock showed "
            f"({setting}: time_zone is {layout.time_zone}, of {self.asked.reading.timezone})"
        )
        yield from self._fault("label_time", is_label_N & ~is_placed_N, time, expected)
        if self.asked.issued_column in self.table.names:
            yield from self._fault("issued", ~self.is_issue_N, str(self.asked.issued_column),
                                   "expected an ISO time, or nothing")  # fmt: skip
        for name, is_wrong_N in self.is_wrong.items():
            expected = f"expected a number, or a mark of {setting}.missing"
            yield from self._fault(f"value_{name}", is_wrong_N, self.asked.columns[name], expected)

    def _fault(
        self, kind: str, is_wrong_N: np.ndarray, column: str, expected: str
    ) -> Iterator[Fault]:
        rows = np.flatnonzero(is_wrong_N)
        if len(rows):
            yield self.fault_at(int(rows[0]), kind, column, expected, count=len(rows))

    def fault_at(self, row: int, kind: str, column: str, expected: str, *, count: int = 1) -> Fault:
        """A fault of a row's cell, with file, line and column."""
        cell, line = self.table.names.index(column), int(self.table.lines_N[row])
        text = self.table.column(column)[row].as_py()
        place = cell + 1
        if self.asked.layout.kind == "csv":
            (whole,) = raw_lines(self.file.content, [line])
            place = column_of(whole, cell, self.asked.layout.separator)
        found = repr(text[:_SHOWN]) if text else "an empty cell"
        reason = f"found {found} in the column {column!r}, {expected}"
        return Fault(self.file.path, line, place, kind, reason, count)

    def frame(self) -> pd.DataFrame:
        """A row a row: times (UTC) and values; where it stands."""
        return pd.DataFrame(
            {
                TIME: _in_utc(self.instants.start_N), ISSUED: _in_utc(self.issued_N), **self.values,
                "part": self.file.path, "row": np.arange(len(self.issued_N)),
            }
        )  # fmt: skip


def _in_utc(times_N: np.ndarray) -> pd.Series[pd.Timestamp]:
    return pd.Series(pd.DatetimeIndex(times_N.astype("datetime64[us]"), tz="UTC"))


def _issued(table: Table, asked: Asked) -> tuple[np.ndarray, np.ndarray]:
    """When each row was issued, and whether its cell says so or is empty."""
    num = len(table.lines_N)
    if asked.issued_column is None or asked.issued_column not in table.names:
        return np.full(num, np.datetime64("NaT"), "datetime64[s]"), np.ones(num, dtype=bool)
    text = table.column(asked.issued_column)
    update = {"time_format": "iso", "second_hour_mark": None, "interval_mark": None}
    labels = read_labels(text, asked.layout.model_copy(update=update))
    offset_N = np.nan_to_num(labels.offset_N).astype("int64").astype("timedelta64[s]")
    is_empty_N = as_numpy(pc.equal(text, ""))
    return labels.label_N - offset_N, ~np.isnat(labels.label_N) | is_empty_N


def _values(table: Table, column: str, asked: Asked) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of a column (true and false are 1 and 0), and where a cell is none."""
    text = table.column(column)
    is_word = pc.match_substring_regex(text, _WORDS)
    as_number = pc.if_else(pc.equal(pc.utf8_lower(text), "true"), "1", "0")
    numbers = read_loads(
        pc.if_else(is_word, as_number, text), asked.layout.model_copy(update={"unit": "MW"})
    )
    return numbers.load_mw_N, numbers.is_wrong_N


def _repeated(frame: pd.DataFrame, parts: Sequence[_Rows], asked: Asked) -> Iterator[Fault]:
    """Hours that stand twice with the same issue time; of two files equal ones may."""
    again = frame.duplicated([TIME, ISSUED], keep="first")
    if not again.any():
        return
    is_equal = frame.duplicated([TIME, ISSUED, *asked.columns], keep="first")
    is_same_file = frame.duplicated([TIME, ISSUED, "part"], keep="first")
    wrong = np.flatnonzero((again & ~(is_equal & ~is_same_file)).to_numpy())
    if not len(wrong):
        return
    row = frame.iloc[wrong[0]]
    same = (frame[TIME] == row[TIME]) & (
        (frame[ISSUED] == row[ISSUED]) | (frame[ISSUED].isna() & pd.isna(row[ISSUED]))
    )
    first = frame[same].iloc[0]
    by_path = {part.file.path: part for part in parts}
    line = int(by_path[first["part"]].table.lines_N[first["row"]])
    expected = f"whose hour stands in line {line} too, with the same issue time; expected it once"
    yield by_path[row["part"]].fault_at(
        int(row["row"]), "duplicate_value", asked.layout.time_columns[0], expected, count=len(wrong)
    )


def _hourly(frame: pd.DataFrame, asked: Asked) -> pd.DataFrame:
    """The mean of the intervals of each hour and issue, where enough of them have a value."""
    per_hour = _MINUTES_OF_AN_HOUR // asked.layout.step_minutes
    if per_hour == 1:
        return frame
    seconds_N = frame[TIME].dt.tz_localize(None).to_numpy().astype("datetime64[s]").astype("int64")
    phase = phase_of(np.sort(seconds_N), asked.reading)
    hour_N = (seconds_N - phase) // _HOUR * _HOUR + phase
    by_hour = frame.assign(**{TIME: _in_utc(hour_N.astype("datetime64[s]"))}).groupby(
        [TIME, ISSUED], dropna=False
    )
    names = list(asked.columns)
    mean, count = by_hour[names].mean(), by_hour[names].count()
    enough = np.ceil(asked.layout.fewest_share * per_hour - 1e-9)
    return mean.where(count >= enough).reset_index()
