"""One truth, written as twelve publishers lay it out; by plain loops, as an oracle of the readers.

The truth is hours in UTC with loads in MW, of two regions.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

HOUR = timedelta(hours=1)
Truth = dict[datetime, float]  # start of the hour in UTC, MW
LOAD = 12_000.0


@dataclass(frozen=True)
class Written:
    """A file, and what each of its regions is called here."""

    name: str
    text: str
    regions: tuple[str, ...]
    encoding: str = "utf-8"

    @property
    def content(self) -> bytes:
        return self.text.encode(self.encoding)


def make_truth(region: int = 0) -> Truth:
    """Hours around the clock changes of 2024 in America, Europe, Australia; no two loads alike."""
    spans = (
        (datetime(2024, 3, 9, tzinfo=UTC), datetime(2024, 4, 9, tzinfo=UTC)),
        (datetime(2024, 10, 4, tzinfo=UTC), datetime(2024, 11, 6, tzinfo=UTC)),
    )
    hours = [first + n * HOUR for first, end in spans for n in range((end - first) // HOUR)]
    return {hour: LOAD + 1000 * region + number for number, hour in enumerate(hours)}


def steps(truth: Truth, minutes: int) -> Iterator[tuple[datetime, float]]:
    """Intervals of each hour whose mean is the hour's load."""
    num = 60 // minutes
    for hour, load in truth.items():
        for number in range(num):
            yield hour + number * timedelta(minutes=minutes), load + 10 * (number - (num - 1) / 2)


def whole_days(truth: Truth, zone: ZoneInfo) -> Truth:
    """Only the hours of local days that are whole: what publishers write."""
    return {
        hour: load
        for hour, load in truth.items()
        if all(
            (end := midnight(hour, zone) + timedelta(days=days)).astimezone(UTC) in truth
            or end.astimezone(UTC) - HOUR in truth
            for days in (0, 1)
        )
    }


def midnight(hour: datetime, zone: ZoneInfo) -> datetime:
    """The beginning of the local day."""
    return hour.astimezone(zone).replace(hour=0, minute=0, fold=0)


def entsoe() -> Written:
    lines = ['"Time (UTC)","Day-ahead Total Load Forecast [MW]","Actual Total Load [MW]"']
    for hour, load in make_truth().items():
        span = f"{hour:%d.%m.%Y %H:%M} - {hour + HOUR:%d.%m.%Y %H:%M}"
        lines.append(f'"{span}","{load + 7:.0f}","{load:.1f}"')
    lines.append('"01.12.2024 00:00 - 01.12.2024 01:00","1","n/e"')
    return Written("AT_2024.csv", "\n".join(lines), ("AT",))


def eia930() -> Written:
    times = "Local Time at End of Hour,UTC Time at End of Hour"
    lines = [f"Balancing Authority,Data Date,{times},Demand (MW)"]
    for number, name in enumerate(("PJM", "MISO")):
        for hour, load in make_truth(number).items():
            end = hour + HOUR
            local = end.astimezone(ZoneInfo("America/New_York"))
            lines.append(f'{name},{local:%m/%d/%Y},{_us(local)},{_us(end)},"{load:,.0f}"')
    return Written("EIA930_BALANCE_2024_Jan_Jun.csv", "\r\n".join(lines) + "\r\n", ("PJM", "MISO"))


def _us(time: datetime) -> str:
    return f"{time.month}/{time.day}/{time.year} {time:%I:%M:%S %p}"


def eia_api() -> Written:
    lines = ["period,respondent,respondent-name,type,type-name,value,value-units"]
    for number, name in enumerate(("PJM", "ISNE")):
        for hour, load in reversed(make_truth(number).items()):
            for kind, shown in (("D", load), ("DF", load - 5)):
                period = f"{hour + HOUR:%Y-%m-%dT%H}"
                lines.append(f"{period},{name},Name,{kind},Demand,{shown:.0f},megawatthours")
    return Written("region-data.csv", "\n".join(lines) + "\n", ("PJM", "ISNE"))


def ercot() -> Written:
    zone = ZoneInfo("America/Chicago")
    lines = ["Hour Ending,COAST,EAST,Remark"]
    truths = [make_truth(number) for number in (0, 1)]
    for hour in truths[0]:
        begin = hour.astimezone(zone)
        label = f"{begin:%m/%d/%Y} {begin.hour + 1:02d}:00{' DST' if begin.fold else ''}"
        lines.append(label + "".join(f',"{truth[hour]:,.2f}"' for truth in truths) + ",")
    return Written("Native_Load_2024.csv", "\n".join(lines) + "\n", ("COAST", "EAST"))


def aemo() -> Written:
    market = timedelta(hours=10)
    lines = ["REGION,SETTLEMENTDATE,TOTALDEMAND,RRP,PERIODTYPE"]
    for number, name in enumerate(("VIC1", "NSW1")):
        for begin, load in steps(make_truth(number), 5):
            label = begin + timedelta(minutes=5) + market
            lines.append(f"{name},{label:%Y/%m/%d %H:%M:%S},{load:.2f},55.1,TRADE")
    return Written("PRICE_AND_DEMAND_202403_VIC1.csv", "\n".join(lines), ("VIC1", "NSW1"))


def pjm_data_miner() -> Written:
    lines = ["datetime_beginning_utc,datetime_beginning_ept,nerc_region,load_area,mw,is_verified"]
    for number, name in enumerate(("AEP", "DOM")):
        for hour, load in make_truth(number).items():
            local = hour.astimezone(ZoneInfo("America/New_York"))
            lines.append(f"{_us(hour)},{_us(local)},RFC,{name},{load:.3f},True")
    return Written("hrl_load_metered.csv", "\ufeff" + "\n".join(lines), ("AEP", "DOM"))


def nyiso() -> Written:
    lines = ['"Time Stamp","Time Zone","Name","PTID","Integrated Load"']
    truths = {"CAPITL": make_truth(0), "N.Y.C.": make_truth(1)}
    for hour in truths["CAPITL"]:
        local = hour.astimezone(ZoneInfo("America/New_York"))
        for name, truth in truths.items():
            stamp = f'"{local:%m/%d/%Y %H:%M:%S}","{local.tzname()}"'
            lines.append(f'{stamp},"{name}",61757,{truth[hour]:.4f}')
    return Written("20240310palIntegrated.csv", "\n".join(lines), ("CAPITL", "N_Y_C"))


def isone() -> Written:
    lines = ['"C","Hourly System Load Report"', '"C","Filename: rt.csv"', '"C","Most recent"',
             '"C","Currency: USD"', '"H","Date","Hour Ending","Total Load"',
             '"H","Date","HE","MW"']  # fmt: skip
    for hour, load in make_truth().items():
        begin = hour.astimezone(ZoneInfo("America/New_York"))
        ending = f"{begin.hour + 1:02d}{'X' if begin.fold else ''}"
        lines.append(f'"D","{begin:%m/%d/%Y}","{ending}","{load:.1f}"')
    lines.append('"T","1536"')
    name = "rt_hourlysysload_20240309_20241106.csv"
    return Written(name, "\n".join(lines) + "\n", ("ISONE",))


def opsd() -> Written:
    ours = [f"{name}_load_actual_entsoe_transparency" for name in ("DE", "DE_50hertz")]
    lines = [f"utc_timestamp,cet_cest_timestamp,{ours[0]},{ours[1]},DE_solar_generation_actual"]
    truths = [make_truth(number) for number in (0, 1)]
    for hour in truths[0]:
        local = hour.astimezone(ZoneInfo("Europe/Berlin"))
        loads = ",".join(f"{truth[hour]:.2f}" for truth in truths)
        lines.append(f"{hour:%Y-%m-%dT%H:%M:%SZ},{local.isoformat()},{loads},")
    return Written("time_series_60min_singleindex.csv", "\n".join(lines), ("DE", "DE_50hertz"))


def elexon() -> Written:
    zone, number, day = ZoneInfo("Europe/London"), 0, ""
    lines = ["SETTLEMENT_DATE,SETTLEMENT_PERIOD,ND,TSD"]
    for begin, load in steps(whole_days(make_truth(), zone), 30):
        today = f"{begin.astimezone(zone):%d-%b-%Y}".upper()
        number = number + 1 if today == day else 1
        day = today
        lines.append(f"{today},{number},{load:.1f},{load + 600:.1f}")
    return Written("demanddata_2024.csv", "\n".join(lines), ("GB",))


def smart_meter() -> Written:
    lines = ["meter,stamp,kWh,quality"]
    for number, name in enumerate(("Zähler-1", "Zähler-2")):
        for begin, load in steps(make_truth(number), 15):
            local = begin.astimezone(ZoneInfo("Europe/Berlin"))
            lines.append(f"{name},{local.isoformat()},{load * 1000 / 4:.3f},ok")
    return Written("export.csv", "\n".join(lines), ("Zaehler_1", "Zaehler_2"))


def warehouse() -> Written:
    lines = ["Zeit;Nord (kW);Süd (kW);Bemerkung"]
    truths = [make_truth(number) for number in (0, 1)]
    for hour in truths[0]:
        end = (hour + HOUR).astimezone(ZoneInfo("Europe/Berlin"))
        loads = [f"{1000 * truth[hour]:,.1f}".translate(_GERMAN) for truth in truths]
        lines.append(f"{end:%d.%m.%Y %H:%M};{loads[0]};{loads[1]};ok")
    return Written("lastgang.csv", "\n".join(lines), ("Nord", "Sued"), encoding="cp1252")


def make_workbook(rows: list[list[str | float]]) -> bytes:
    """The least of an .xlsx: one sheet, the first column in the format of times."""

    def cell(value: str | float, column: int) -> str:
        if isinstance(value, str):
            return f'<c t="inlineStr"><is><t>{value}</t></is></c>'
        return f'<c s="{1 if column == 0 else 0}"><v>{value!r}</v></c>'

    body = "".join(
        f"<row>{''.join(cell(value, column) for column, value in enumerate(row))}</row>"
        for row in rows
    )
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"/>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        '<sheet name="Sheet1" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="r1" Type="{office}/worksheet" Target="worksheets/sheet1.xml"/>'
        "</Relationships>",
        "xl/styles.xml": f'<styleSheet xmlns="{main}"><cellXfs><xf numFmtId="0"/>'
        '<xf numFmtId="22"/></cellXfs></styleSheet>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{body}</sheetData>'
        "</worksheet>",
    }  # fmt: skip
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as book:
        for name, text in parts.items():
            book.writestr(name, f'<?xml version="1.0"?>{text}')
    return file.getvalue()


_GERMAN = str.maketrans(",.", ".,")
LAYOUTS: dict[str, Callable[[], Written]] = {
    write.__name__: write
    for write in (entsoe, eia930, eia_api, ercot, aemo, pjm_data_miner, nyiso, isone, opsd, elexon,
                  smart_meter, warehouse)
}  # fmt: skip
