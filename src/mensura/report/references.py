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
    "10.1002/mrm.22522": (
        "Cox EF, Gowland PA. Simultaneous quantification of T2 and T′2 using a combined gradient echo-spin "
        "echo sequence at ultrahigh field. Magn Reson Med 2010;64:1440–1445."
    ),
    "10.1007/s10334-008-0104-8": (
        "Wright PJ, Mougin OE, Totman JJ, et al. Water proton T1 measurements in brain tissue at 7, 3, and "
        "1.5 T using IR-EPI, IR-TSE, and MPRAGE: results and optimization. MAGMA 2008;21:121–130."
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
    "10.1002/mrm.21728": (
        "Robson PM, Grant AK, Madhuranthakam AJ, Lattanzi R, Sodickson DK, McKenzie CA. Comprehensive "
        "quantification of signal-to-noise ratio and g-factor for image-based and k-space-based "
        "parallel imaging reconstructions. Magn Reson Med 2008;60:895–907."
    ),
    "10.1002/mrm.22334": (
        "Wharton S, Schäfer A, Bowtell R. Susceptibility mapping in the human brain using threshold- "
        "based k-space division. Magn Reson Med 2010;63:1292–1304."
    ),
    "10.1002/mrm.24765": (
        "Sun H, Wilman AH. Background field removal using spherical mean value filtering and Tikhonov "
        "regularization. Magn Reson Med 2014;71:1151–1157."
    ),
    "10.1002/mrm.24998": (
        "Wen Y, Zhou D, Liu T, Spincemaille P, Wang Y. An iterative spherical mean value method for "
        "background field removal in MRI. Magn Reson Med 2014;72:1065–1071."
    ),
    "10.1002/mrm.26331": (
        "Liu Z, Kee Y, Zhou D, Wang Y, Spincemaille P. Preconditioned total field inversion (TFI) "
        "method for quantitative susceptibility mapping. Magn Reson Med 2017;78:303–315."
    ),
    "10.1002/mrm.27483": (
        "Milovic C, Bilgic B, Zhao B, Langkammer C, Tejos C, Acosta-Cabronero J. Weak-harmonic "
        "regularization for quantitative susceptibility mapping. Magn Reson Med 2019;81:1399–1411."
    ),
    "10.1002/mrm.28957": (
        "Milovic C, Lambert M, Langkammer C, Bredies K, Irarrazaval P, Tejos C. Streaking artifact "
        "suppression of quantitative susceptibility mapping reconstructions via L1-norm data fidelity "
        "optimization (L1-QSM). Magn Reson Med 2022;87:457–473."
    ),
    "10.1002/mrm.29218": (
        "Lambert M, Tejos C, Langkammer C, Milovic C. Hybrid data fidelity term approach for "
        "quantitative susceptibility mapping. Magn Reson Med 2022;88:962–972."
    ),
    "10.1002/nbm.3056": (
        "Li W, Avram AV, Wu B, Xiao X, Liu C. Integrated Laplacian-based phase unwrapping and "
        "background phase removal for quantitative susceptibility mapping. NMR Biomed "
        "2014;27:219–227."
    ),
    "10.1002/nbm.3383": (
        "Wei H, Dibb R, Zhou Y, et al. Streaking artifact reduction for quantitative susceptibility "
        "mapping of sources with large dynamic range. NMR Biomed 2015;28:1294–1303."
    ),
    "10.1002/nbm.4271": (
        "Polak D, Chatnuntawech I, Yoon J, et al. Nonlinear dipole inversion (NDI) enables robust "
        "quantitative susceptibility mapping (QSM). NMR Biomed 2020;33:e4271."
    ),
    "10.1016/j.neuroimage.2014.12.043": (
        "Li W, Wang N, Yu F, et al. A method for estimating and removing streaking artifacts in "
        "quantitative susceptibility mapping. NeuroImage 2015;108:111–122."
    ),
    "10.1016/j.neuroimage.2015.02.041": (
        "Langkammer C, Bredies K, Poser BA, et al. Fast quantitative susceptibility mapping using 3D "
        "EPI and total generalized variation. NeuroImage 2015;111:622–630."
    ),
    "10.1016/j.neuroimage.2017.11.018": (
        "Kames C, Wiggermann V, Rauscher A. Rapid two-step dipole inversion for susceptibility "
        "mapping with sparsity priors. NeuroImage 2018;167:276–283."
    ),
    "10.1137/090769521": (
        "Bredies K, Kunisch K, Pock T. Total generalized variation. SIAM J Imaging Sci 2010;3:492–526."
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
