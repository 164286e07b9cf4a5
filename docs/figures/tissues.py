"""`python docs/figures/tissues.py`: writes the table of tissues into docs/tissues.md, as it stands in the code."""

from __future__ import annotations

from pathlib import Path

from mensura.phantom.tissues import TISSUES, Label, at_field, names, properties

PAGE = Path(__file__).resolve().parents[1] / "tissues.md"
BEGIN, END = "<!-- table: docs/figures/tissues.py -->", "<!-- end of table -->"
HEAD = (
    "label",
    "tissue",
    "χ⁺",
    "χ⁻",
    "χ",
    "texture",
    "PD",
    "T1 (ms)",
    "T2 (ms)",
    "R2* (1/s)",
    "fat (%)",
    "MT (%)",
    "Ktrans (1/min)",
    "ve",
    "vp",
    "sources",
)
L = Label
SOURCES: dict[Label, str] = {
    **dict.fromkeys(Label, "e"),
    L.AIR: "–",
    L.MUSCLE: "9, 21, e",
    L.FAT: "10, e",
    L.MARROW: "10, e",
    L.CSF: "1, 2, 11, 12",
    **dict.fromkeys((L.CORTEX, L.WHITE_MATTER), "1–6, 13, 14"),
    **dict.fromkeys((L.CAUDATE, L.PUTAMEN), "1–3, 5–8, 14, e"),
    **dict.fromkeys((L.PALLIDUM, L.RED_NUCLEUS, L.SUBSTANTIA_NIGRA, L.THALAMUS), "1, 2, 7, 8, e"),
    L.DENTATE: "2, 7, 8, e",
    **dict.fromkeys((L.CORPUS_CALLOSUM, L.BRAINSTEM, L.CEREBELLAR_WHITE, L.CEREBELLAR_CORTEX), "1, e"),
    **dict.fromkeys((L.VEIN, L.SINUS), "1, 15–18"),
    L.ARTERY: "15, 16, 18",
    L.MS_PLAQUE: "19, e",
    L.PLAQUE_RIM: "19, 20, e",
    L.TUMOUR: "22, e",
    L.LIVER: "10, 23–26",
    **dict.fromkeys((L.SPLEEN, L.VERTEBRA), "10, e"),
    L.LUNG: "27, e",
}
"""Label → which of the page's sources its values come from; e: estimated."""


def table() -> str:
    """The table of tissues in Markdown; relaxation at 1.5, 3 and 7 T."""
    rule = "|".join(["---"] * len(HEAD))
    return "\n".join([f"| {' | '.join(HEAD)} |", f"|{rule}|", *(_row(label) for label in Label)])


def _row(label: Label) -> str:
    tissue = TISSUES[label]
    r2star = {b: properties("r2star", {label: tissue}, b)[label] for b in (1.5, 3.0, 7.0)}
    cells = [
        *(str(int(label)), names()[label]),
        *(f"{v:.3f}" for v in (tissue.chi_plus, tissue.chi_minus, tissue.chi, tissue.texture)),
        f"{tissue.density:.2f}",
        *(
            " / ".join(_short(1e3 * at_field(values, b)) for b in (1.5, 3.0, 7.0))
            for values in (tissue.t1, tissue.t2)
        ),
        " / ".join(_short(float(rate)) for rate in r2star.values()),
        *(_or_dash(100 * v) for v in (tissue.fat_fraction, tissue.mt_saturation)),
        *(_or_dash(v) for v in (tissue.ktrans * 60, tissue.ve, tissue.vp)),
        SOURCES[label],
    ]
    return f"| {' | '.join(cells)} |"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _or_dash(value: float) -> str:
    return f"{value:.3g}" if value else "–"


def main() -> None:
    """Puts the table between the marks of the page."""
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}")


if __name__ == "__main__":
    main()
