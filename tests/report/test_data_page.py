"""The data report: what it shows is in the figures, and nothing is fetched or run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gridcast.errors import Fault
from gridcast.readings.records import DataRecord
from gridcast.report.data_figures import _Axes, _ticks, draw_calendar, draw_profiles, draw_stretch
from gridcast.report.data_page import (
    MOST_STRETCHES,
    Changes,
    DataFacts,
    RegionChange,
    data_report_html,
    data_report_markdown,
    overview,
    shown_stretches,
)
from gridcast.report.data_profile import RegionProfile, profile_region
from tests.builders.html_pages import Page
from tests.builders.values import make_config, make_load, make_load_frame

SCRIPT = "<script>alert(1)</script>"
SNAPSHOT = "0123456789abcdef"
FAULT = Fault(
    "data/AEP_hourly.csv", 1203, 21, "load_text", "found the load '13x4', expected a load in MW", 3
)
PAGE = Path("artifacts/data-report/pjm/index.html")


def make_profile(
    region: str = "AEP",
    *,
    num: int = 24 * 400,
    missing: Sequence[int] = (),
    flags: Mapping[int, str] | None = None,
) -> RegionProfile:
    frame = make_load_frame(make_load(num), missing=missing, flags=flags or {})
    frame["source_line"] = np.arange(2, len(frame) + 2)
    config = make_config()
    return profile_region(
        frame,
        region=region,
        timezone=config.ingestion.timezone,
        rules=config.rules.default.repaired,
    )


def make_facts(*profiles: RegionProfile, **more: object) -> DataFacts:
    facts = DataFacts(
        run_id="run-1",
        dataset="pjm",
        snapshot=SNAPSHOT,
        timezone="America/New_York",
        data=DataRecord(folder="data/pjm", kind="real", skipped={"notes.txt": "no CSV"}),
        profiles=profiles or (make_profile(),),
        refused={},
        changes=None,
    )
    return replace(facts, **more)  # type: ignore[arg-type]


def page_of(facts: DataFacts) -> Page:
    return Page(data_report_html(facts))


# -- the page ------------------------------------------------------------------------------------


def test_the_page_is_well_formed_and_every_table_header_has_a_scope() -> None:
    facts = make_facts(
        make_profile(missing=[50], flags={60: "zero"}),
        refused={"DOM": [FAULT]},
        changes=Changes(since="ab", regions={"AEP": RegionChange(1, 2, 3)}),
    )
    page = page_of(facts)
    assert page.open == []
    assert {header.get("scope") for header in page.of("th")} == {"col", "row"}


def test_nothing_is_loaded_from_elsewhere_and_no_script_is_there() -> None:
    html = data_report_html(make_facts(make_profile(flags={60: "zero"})))
    assert not re.search(r"<script|<link|src=|href=|url\(|@import|https?:", html)
    assert "default-src 'none'" in html


def test_what_comes_from_files_is_escaped() -> None:
    facts = make_facts(
        dataset=SCRIPT,
        data=DataRecord(folder=SCRIPT, kind="real", skipped={SCRIPT: SCRIPT}),
        refused={SCRIPT: [replace(FAULT, file=SCRIPT, reason=SCRIPT)]},
        profiles=[make_profile(SCRIPT, flags={60: SCRIPT})],
    )
    html = data_report_html(facts)
    assert SCRIPT not in html
    assert html.count("&lt;script&gt;") > 8


def test_a_refused_region_stands_above_everything_else_with_line_and_column() -> None:
    text = page_of(make_facts(refused={"DOM": [FAULT]})).text
    for shown in ("Refused: DOM", FAULT.file, "1203", "21", FAULT.reason):
        assert -1 < text.index(shown) < text.index("Coverage")


def test_without_a_refusal_nothing_is_said_of_one() -> None:
    assert "Refused" not in page_of(make_facts()).text
    assert "refused" not in overview(make_facts())


def test_a_page_without_any_published_region_tells_of_the_refusals() -> None:
    text = page_of(make_facts(profiles=(), refused={"DOM": [FAULT]})).text
    assert "No region was published, 1 refused." in text
    assert "Coverage" not in text


def test_synthetic_data_are_said_to_be_so() -> None:
    data = DataRecord(folder="x", kind="synthetic")
    assert "Synthetic data." in page_of(make_facts(data=data)).text
    assert "Synthetic data." not in page_of(make_facts()).text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(None, "This is the first snapshot", id="first"),
        pytest.param(
            Changes(since="ab", regions={}), "Nothing changed since snapshot ab", id="same"
        ),
        pytest.param(
            Changes(since=SNAPSHOT, regions={}), "the snapshot is the one before", id="again"
        ),
        pytest.param(
            Changes(since="ab", regions={"AEP": RegionChange(2400, 0, 7)}), "2,400", id="changed"
        ),
    ],
)
def test_what_changed_since_the_snapshot_before_is_told(
    changes: Changes | None, expected: str
) -> None:
    assert expected in page_of(make_facts(changes=changes)).text


def test_the_overview_counts_over_all_regions() -> None:
    profiles = [
        make_profile("A", missing=[5], flags={9: "zero"}),
        make_profile("B", missing=[7, 8]),
    ]
    assert overview(make_facts(*profiles, refused={"DOM": [FAULT]})) == (
        "2 regions published, 1 refused: 19,197 hourly readings, January 2017 to February 2018. "
        "3 hours missing (0.016 %), 1 reading flagged as doubtful; for 4 hours models are given a "
        "repaired load."
    )


def test_the_first_stretch_of_each_region_is_shown_before_any_second_and_so_many_in_all() -> None:
    many = make_profile("A", flags=dict.fromkeys(range(200, 9000, 200), "flat"))
    few = make_profile("B", flags={300: "flat", 600: "flat"})
    shown = [region for region, _ in shown_stretches([many, few])]
    assert len(shown) == MOST_STRETCHES
    assert shown.count("B") == 2
    assert "Only a part is shown: 24 pictures" in page_of(make_facts(many, few)).text
    assert "Only a part is shown" not in page_of(make_facts(few)).text


def test_the_short_form_is_a_table_with_a_row_a_region_and_its_refusals() -> None:
    changes = Changes(since="ab", regions={"A": RegionChange(24, 1, 2)})
    profiles = [make_profile("A", missing=[5]), make_profile("B_C")]
    lines = data_report_markdown(
        make_facts(*profiles, changes=changes, refused={"DOM": [FAULT]}), PAGE
    ).splitlines()
    assert "| A | 9,599 | 1 | 0 | 1 | 24 | 1 | 2 | 0 |" in lines
    assert "| B\\_C | 9,600 | 0 | 0 | 0 | 0 | 0 | 0 | 0 |" in lines
    assert any(line.startswith("- **ERROR data/AEP") and ":1203:21:" in line for line in lines)
    assert {line.count("|") for line in lines if line.startswith("|")} == {10}


# -- the drawings --------------------------------------------------------------------------------


def test_a_calendar_marks_the_weeks_that_are_not_whole_and_tells_their_counts() -> None:
    year = 24 * 365
    profile = make_profile(missing=[*range(1010, 1040), year], flags={3000: "zero"})
    drawing = draw_calendar(profile)
    titles = re.findall(r"<title>(.*?)</title>", drawing)
    assert titles == [
        "week from 2017-02-12: 30 missing, 0 flagged, 3 repaired",
        "week from 2017-04-30: 0 missing, 1 flagged, 1 repaired",
        "week from 2018-01-01: 1 missing, 0 flagged, 1 repaired",
    ]
    kinds = [kind for kind in re.findall(r'class="([a-z0-9-]+)"', drawing) if kind != "covered"]
    assert [kinds.count(kind) for kind in ("missing-3", "missing-1", "flagged", "repaired")] == [
        1, 1, 1, 3,
    ]  # fmt: skip
    assert drawing.count('class="covered"') == 2


@pytest.mark.parametrize("num", [24 * 400, 30, 1])
def test_profiles_of_a_short_series_say_where_nothing_was_read(num: int) -> None:
    drawing = draw_profiles(make_profile(num=num))
    assert "nan" not in drawing
    assert drawing.count("no readings") == {24 * 400: 0, 30: 3, 1: 5}[num]


def test_a_stretch_breaks_its_line_at_a_gap_and_crosses_each_flagged_reading() -> None:
    [stretch] = make_profile(missing=[480], flags={500: "zero", 510: "zero"}).stretches
    drawing = draw_stretch("AEP", stretch)
    line, mark = (
        re.findall(rf'<path class="{kind}" d="(.*?)"', drawing) for kind in ("line", "mark")
    )
    assert [path.count("M") for path in (*line, *mark)] == [2, 2]
    assert "nan" not in drawing


def test_a_drawing_tells_in_words_what_is_to_be_seen() -> None:
    profile = make_profile(missing=[480], flags={500: "zero"})
    drawings = [
        draw_calendar(profile),
        draw_profiles(profile),
        draw_stretch("AEP", profile.stretches[0]),
    ]
    labels = [re.findall(r'role="img" aria-label="(.*?)"', drawing) for drawing in drawings]
    assert all(len(each) == 1 and len(each[0]) > 50 for each in labels)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        pytest.param(0.0, 10.0, [0.0, 5.0, 10.0], id="tens"),
        pytest.param(903.0, 3531.0, [1000.0, 2000.0, 3000.0], id="thousands"),
        pytest.param(-0.5, 0.5, [-0.4, -0.2, 0.0, 0.2, 0.4], id="below_zero"),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert _ticks(low, high, most=5 if low < 0 else 4) == pytest.approx(expected)


def test_axes_put_the_lowest_value_at_the_bottom_left() -> None:
    axes = _Axes(10, 20, 100, 50, (0, 4), (1000, 2000))
    assert axes.points([0, 4], np.array([1000.0, 2000.0])) == "10.0 70.0L110.0 20.0"
