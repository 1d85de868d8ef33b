"""Print a table as a person reads it: `python -m meddiff.show results/table_5_2.csv`."""

import sys
from pathlib import Path

import pandas as pd

TITLES = {"ssim": "SSIM", "ms_ssim": "MS-SSIM"}


def show(path: Path) -> str:
    """Return a table as text: Table 5.2 in the study's shape, others as they stand."""
    table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    if "metric" not in table:
        return table.dropna(axis="columns", how="all").to_string(index=False)
    head = table.iloc[0]
    text = (
        f"{path.name}: data {head['data']}, scale {head['scale']}, protocol {head['protocol']}, "
        f"seed {head['seed']}; FID against {_first(table['reference'])} images\n\n"
    )
    table["column"] = [
        TITLES.get(metric) or f"FID {extractor}" + ("" if pd.isna(size) else f" ({size:.0f}-d)")
        for metric, extractor, size in table[["metric", "extractor", "dimension"]].itertuples(
            index=False
        )
    ]
    table["cell"] = [
        "-" if pd.isna(value) else f"{value:.4g}" + ("" if pd.isna(std) else f" ± {std:.2f}")
        for value, std in table[["value", "std"]].itertuples(index=False)
    ]
    wide = table.pivot(index=["class", "images"], columns="column", values="cell").fillna("")
    columns = sorted(map(str, wide.columns), key=lambda name: (name.startswith("FID"), name[::-1]))
    wide = wide[columns]
    order = {"synthetic": 0, "real": 1, "noise": 2}
    wide = wide.sort_index(key=lambda level: level.map(order) if level.name == "images" else level)
    text += wide.rename_axis(columns=None).to_string()
    notes = table.dropna(subset=["note"])[["extractor", "note"]].drop_duplicates()
    return text + "".join(f"\n{name}: {note}" for name, note in notes.itertuples(index=False))


def _first(column: "pd.Series[str]") -> str:
    return next((value for value in column.dropna() if value), "no")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(show(Path(name)))
