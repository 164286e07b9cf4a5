"""Citations: what a DOI of the tables of methods stands for in a list of references."""

from __future__ import annotations

import re
from typing import Any

CITATIONS: dict[str, str] = {
    "10.1002/hbm.10062": (
        "Smith SM. Fast robust automated brain extraction. Hum Brain Mapp 2002;17:143–155."
    ),
    "10.1002/jmri.24365": (
        "Bilgic B, Chatnuntawech I, Fan AP, et al. Fast image reconstruction with L2-regularization. J "
        "Magn Reson Imaging 2014;40:181–191."
    ),
    "10.1002/mrm.22135": (
        "Shmueli K, de Zwart JA, van Gelderen P, et al. Magnetic susceptibility mapping of brain tissue "
        "in vivo using MRI phase data. Magn Reson Med 2009;62:1510–1522."
    ),
    "10.1002/mrm.23000": (
        "Wu B, Li W, Guidon A, Liu C. Whole brain susceptibility mapping using compressed sensing. Magn "
        "Reson Med 2012;67:137–147."
    ),
    "10.1002/mrm.24272": (
        "Liu T, Wisnieff C, Lou M, et al. Nonlinear formulation of the magnetic field to source "
        "relationship for robust quantitative susceptibility mapping. Magn Reson Med 2013;69:467–476."
    ),
    "10.1002/mrm.25029": (
        "Bilgic B, Fan AP, Polimeni JR, et al. Fast quantitative susceptibility mapping with "
        "L1-regularization and automatic parameter selection. Magn Reson Med 2014;72:1444–1459."
    ),
    "10.1002/mrm.25137": (
        "Pei M, Nguyen TD, Thimmappa ND, et al. Algorithm for fast monoexponential fitting based on "
        "Auto-Regression on Linear Operations (ARLO) of data. Magn Reson Med 2015;73:843–850."
    ),
    "10.1002/mrm.26946": (
        "Liu Z, Spincemaille P, Yao Y, Zhang Y, Wang Y. MEDI+0: morphology enabled dipole inversion with "
        "automatic uniform cerebrospinal fluid zero reference for quantitative susceptibility mapping. "
        "Magn Reson Med 2018;79:2795–2803."
    ),
    "10.1002/mrm.26963": (
        "Eckstein K, Dymerska B, Bachrata B, et al. Computationally efficient combination of "
        "multi-channel phase data from multi-echo acquisitions (ASPIRE). Magn Reson Med "
        "2018;79:2996–3006."
    ),
    "10.1002/mrm.27073": (
        "Milovic C, Bilgic B, Zhao B, Acosta-Cabronero J, Tejos C. Fast nonlinear susceptibility "
        "inversion with variational regularization. Magn Reson Med 2018;80:814–821."
    ),
    "10.1002/mrm.28563": (
        "Dymerska B, Eckstein K, Bachrata B, et al. Phase unwrapping with a rapid opensource minimum "
        "spanning tree algorithm (ROMEO). Magn Reson Med 2021;85:2294–2308."
    ),
    "10.1002/mrm.30006": (
        "QSM Consensus Organization Committee, Bilgic B, Costagli M, et al. Recommended implementation of "
        "quantitative susceptibility mapping for clinical research in the brain: a consensus of the ISMRM "
        "electro-magnetic tissue properties study group. Magn Reson Med 2024;91:1834–1862."
    ),
    "10.1002/nbm.1670": (
        "Liu T, Khalidov I, de Rochefort L, et al. A novel background field removal method for MRI using "
        "projection onto dipole fields (PDF). NMR Biomed 2011;24:1129–1136."
    ),
    "10.1002/nbm.3064": (
        "Zhou D, Liu T, Spincemaille P, Wang Y. Background field removal by solving the Laplacian "
        "boundary value problem. NMR Biomed 2014;27:312–319."
    ),
    "10.1002/nbm.3570": (
        "Chatnuntawech I, McDaniel P, Cauley SF, et al. Single-step quantitative susceptibility mapping "
        "with variational penalties. NMR Biomed 2017;30:e3570."
    ),
    "10.1002/nbm.3601": (
        "Robinson SD, Bredies K, Khabipova D, Dymerska B, Marques JP, Schweser F. An illustrated "
        "comparison of processing methods for MR phase imaging and QSM: combining array coil signals and "
        "phase unwrapping. NMR Biomed 2017;30:e3601."
    ),
    "10.1016/j.neuroimage.2010.10.070": (
        "Schweser F, Deistung A, Lehr BW, Reichenbach JR. Quantitative imaging of intrinsic magnetic "
        "tissue properties using MRI signal phase: an approach to in vivo brain iron metabolism? "
        "NeuroImage 2011;54:2789–2807."
    ),
    "10.1016/j.neuroimage.2010.11.088": (
        "Li W, Wu B, Liu C. Quantitative susceptibility mapping of human brain reflects spatial variation "
        "in tissue composition. NeuroImage 2011;55:1645–1656."
    ),
    "10.1016/j.neuroimage.2011.08.082": (
        "Liu J, Liu T, de Rochefort L, et al. Morphology enabled dipole inversion for quantitative "
        "susceptibility mapping using structural consistency between the magnitude image and the "
        "susceptibility map. NeuroImage 2012;59:2560–2568."
    ),
    "10.1109/TMI.2009.2023787": (
        "Kressler B, de Rochefort L, Liu T, et al. Nonlinear regularization for per voxel estimation of "
        "magnetic susceptibility distributions from MRI field maps. IEEE Trans Med Imaging 2010;29:273–281."
    ),
    "10.1109/TSMC.1978.4310039": (
        "Ridler TW, Calvard S. Picture thresholding using an iterative selection method. IEEE Trans Syst "
        "Man Cybern 1978;8:630–632."
    ),
    "10.1364/OL.28.001194": (
        "Schofield MA, Zhu Y. Fast phase unwrapping algorithm for interferometric applications. Opt Lett "
        "2003;28:1194–1196."
    ),
}

DOI = re.compile(r"10\.\d{4,9}/[^\s,;\"<>]+")


def dois(reference: Any) -> list[str]:
    """A sidecar's EstimationReference (text, link or list) → the DOIs in it, in order, each once."""
    text = " ".join(map(str, reference)) if isinstance(reference, list | tuple) else str(reference or "")
    return list(dict.fromkeys(found.rstrip(".)") for found in DOI.findall(text)))


def citation(doi: str) -> str:
    """A DOI → its citation; empty for one that is not listed here (the DOI itself is printed in any case)."""
    return CITATIONS.get(doi, "")
