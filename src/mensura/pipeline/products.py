"""What the steps leave on disk: one table, the artifacts of each step with the file that holds them."""

from __future__ import annotations

from collections.abc import Mapping

from mensura.pipeline.record import Product

Table = Mapping[str, Mapping[str, Product]]


def _field(desc: str, description: str) -> Product:
    """A field map: Hz on disk, ppm inside."""
    return Product("fieldmap", "Hz", description, desc=desc, inside="ppm")


def _mask(desc: str, description: str) -> Product:
    return Product("mask", "1", description, desc=desc, mask=True, skull_stripped=False)


UNREFERENCED = Product("Chimap", "ppm", "Susceptibility before its zero was set", desc="unreferenced")

PRODUCTS: Table = {
    "combine": {
        "combined_magnitude": Product(
            suffix="MEGRE",
            unit="arbitrary",
            description="Root sum of squares of the magnitude over the echoes",
            part="mag",
            desc="combined",
            skull_stripped=False,
        )
    },
    "mask": {"mask": _mask("brain", "Voxels that the maps are made in")},
    "unwrap": {
        "unwrapped_phase": Product(
            suffix="MEGRE",
            unit="rad",
            description="Phase without wraps, consistent over the echoes",
            part="phase",
            desc="unwrapped",
        )
    },
    "field": {
        "total_field": _field("total", "Deviation of the field from B0"),
        "field_std": _field("noise", "Noise of the total field, which the inversion weighs it with"),
        "field_error": _field("std", "Standard deviation of the total field, all errors together"),
        "residual": Product("fieldmap", "1", "Relative residual of the fit over the echoes", desc="residual"),
    },
    "background": {
        "local_field": _field("local", "Field of the sources inside the mask"),
        "mask": _mask("local", "Voxels that have a susceptibility value"),
    },
    "dipole": {"chi": UNREFERENCED},
    "background+dipole": {"chi": UNREFERENCED},
    "explained field": {
        "local_field": _field(
            "local", "Field of the susceptibility map: what it explains of the total field"
        ),
        "mask": _mask("local", "Voxels that have a susceptibility value"),
    },
    "prior share": {
        "prior_share": Product(
            "Chimap",
            "1",
            "Share of the local energy that the data hardly tell and the prior filled in",
            "prior",
        )
    },
    "reference": {"chi": Product("Chimap", "ppm", "Magnetic susceptibility")},
    "uncertainty": {
        "chi_std": Product("Chimap", "ppm", "Standard deviation of the magnetic susceptibility", desc="std")
    },
    "r2star": {
        "r2star": Product("R2starmap", "1/s", "Effective transverse relaxation rate"),
        "r2star_std": Product("R2starmap", "1/s", "Standard deviation of R2*", desc="std"),
        "status": Product("R2starmap", "1", "0 where the fit succeeded, else why it did not", desc="status"),
        "t2star": Product("T2starmap", "s", "Effective transverse relaxation time, 1/R2*; NaN above 2.5 s"),
    },
}

SERIES: Mapping[str, Product] = {
    "chi": Product("Chimap", "ppm", "Magnetic susceptibility, mean over time"),
    "chi_series": Product("Chimap", "ppm", "Magnetic susceptibility, volume by volume", desc="series"),
    "temporal_sd": Product(
        "Chimap", "ppm", "Standard deviation of the magnetic susceptibility over time", desc="temporalstd"
    ),
    "mask": _mask("brain", "Voxels that the maps are made in"),
}
"""What a time series leaves beside the maps of its first volume."""

IGNORED = (
    "*.html",
    "*_fieldmap.*",
    "*_desc-combined_*",
    "*_desc-unwrapped_*",
    "**/first-volume",
    "**/func/*map.*",
)
"""What BIDS has no name for where it lies: fields without a magnitude, and beside χ; all echoes in one file; maps of a
series over time."""
