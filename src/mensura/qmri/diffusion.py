"""Diffusion-weighted images → the apparent diffusion coefficient, and the diffusion tensor by way of dipy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mensura.fit import Parameter, SignalModel, Status, fit_voxels
from mensura.methods import Tunable
from mensura.qmri import equations
from mensura.qmri.choices import Likelihood, Loss, Noise, known_noise
from mensura.qmri.estimates import Estimates
from mensura.scan import FloatArray, ScanError

Doubles = NDArray[np.float64]
Gradients = tuple[Doubles, Doubles]
"""b-values (m) and unit vectors (m, 3)."""

ADC, S0 = "model-monoexponential_param-adc_dwimap", "model-monoexponential_param-s0_dwimap"
FA, MD, AD, RD = (f"model-DTI_param-{name}_dwimap" for name in ("fa", "md", "ad", "rd"))
UNWEIGHTED = 50.0
"""s/mm²; images below count as without diffusion weighting, and need no direction."""
ALIKE = 0.05
"""b-values that differ by less than this share of themselves are one shell."""
OUTLIER = 3.0
"""Residuals beyond this many times the noise are those that RESTORE leaves out."""
CHUNK = 20_000
"""Voxels whose tensors are fitted at a time."""
SLOWEST, FASTEST = 1e-5, 1e-2
"""Bounds of the diffusion coefficient, mm²/s: free water at 37 °C has 3e-3."""
Largest = Annotated[
    float, Tunable("s/mm²", "images beyond are left out (but never all): there diffusion is not Gaussian")
]


def _decay(b: Any, s0: Any, adc: Any) -> Any:
    return equations.exponential_decay(b, s0, adc)


DECAY = SignalModel(
    "diffusion", _decay,
    (Parameter("s0", "arbitrary", linear=True), Parameter("adc", "mm²/s", SLOWEST, FASTEST, starts=32)),
    "10.1148/radiology.161.2.3763909",
)  # fmt: skip


def apparent_diffusion(
    signals: FloatArray,
    b_values: Sequence[float],
    *,
    largest: Largest = 1500.0,
    noise: Noise = 0.0,
    loss: Loss = "none",
    likelihood: Likelihood = "gaussian",
) -> Estimates:
    """Signals (n, m), b-values (s/mm²) → ADC (mm²/s) and S0, each with its error; S0 e^{−b·ADC}.

    Images of one b-value enter as their geometric mean, so that those of evenly spread directions (three at right
    angles, say) give a third of the tensor's trace. Le Bihan et al. 1986, doi:10.1148/radiology.161.2.3763909.
    Raises ScanError for fewer than two b-values.
    """
    values, data = _checked(signals, b_values)
    shells, chosen = _shells(values), counted(values, largest)
    kinds = np.unique(shells[chosen])
    if kinds.size < 2:
        raise ScanError(
            f"ADC needs two b-values, but all are {values[0]:g} s/mm²; give the image without weighting too"
        )
    members = [np.flatnonzero(chosen & (shells == kind)) for kind in kinds]
    means = np.stack([_geometric_mean(data[:, which].astype(np.float64)) for which in members], axis=1)
    points = np.array([values[which].mean() for which in members])
    weights = np.array([float(which.size) for which in members])
    fit = fit_voxels(
        DECAY, points, means, weights=weights, noise=known_noise(noise), loss=loss, likelihood=likelihood
    )
    return Estimates.of(fit, **{ADC: 1, S0: 0})


def diffusion_tensor(
    signals: FloatArray,
    b_values: Sequence[float],
    *,
    b_vectors: Annotated[
        tuple[float, ...], Tunable("1", "all x, then all y, then all z, as FSL's bvec file")
    ],
    largest: Largest = 1500.0,
    method: Annotated[
        Literal["weighted", "restore"],
        Tunable("", "restore leaves corrupted points out, and needs the noise"),
    ] = "weighted",
    noise: Noise = 0.0,
) -> Estimates:
    """Signals (n, m), b-values (s/mm²), unit vectors → FA (1), MD, AD and RD (mm²/s), each with its error.

    log S = log S0 − b gᵀDg, weighted by the squares of the signals that a first fit predicts; errors to first order,
    for the noise given, or that the residuals show. The vectors are in the image's axes, as FSL has them; none of
    these maps depends on how the axes are turned or mirrored. A tensor that is not positive has no value.
    Basser et al. 1994, doi:10.1006/jmrb.1994.1037; RESTORE: Chang et al. 2005, doi:10.1002/mrm.20426; errors:
    Koay et al. 2007, doi:10.1109/TMI.2007.897415. Fitted by dipy. Raises ScanError for too few directions.
    """
    values, data = _checked(signals, b_values)
    vectors = directions(values, b_vectors)
    chosen = counted(values, largest)
    gradients = values[chosen], vectors[chosen]
    how = method, known_noise(noise)
    if how == ("restore", None):
        raise ScanError("RESTORE tells corrupted points by the noise; give its standard deviation (--noise)")
    design_of(*gradients)
    parts = [
        _part(data[at : at + CHUNK, chosen], gradients, how) for at in range(0, max(len(data), 1), CHUNK)
    ]
    maps = {
        name: tuple(np.concatenate([part.maps[name][i] for part in parts]) for i in (0, 1))
        for name in (FA, MD, AD, RD)
    }
    return Estimates.closed(np.concatenate([part.status for part in parts]), **maps)  # type: ignore[arg-type]


def _part(data: Any, gradients: Gradients, how: tuple[str, float | None]) -> Estimates:
    """The tensors' measures in some of the voxels."""
    data, (method, sigma) = np.ascontiguousarray(data, np.float64), how
    design, limit = design_of(*gradients)
    good = np.isfinite(data).all(axis=1) & (data > 0).any(axis=1)
    tensor, s0 = np.full((len(data), 3, 3), np.nan), np.full(len(data), np.nan)
    if good.any():
        tensor[good], s0[good] = _fitted(gradients, data[good], method, sigma)
    lowest = np.linalg.eigvalsh(np.where(good[:, None, None], tensor, 0.0))[:, 0]
    impossible = (lowest <= 1.01 * limit) | (np.trace(tensor, axis1=1, axis2=2) > 3 * FASTEST)
    status = np.where(good, np.where(impossible, Status.OUT_OF_BOUNDS, Status.OK), Status.NO_SIGNAL)
    cut = OUTLIER if method == "restore" else np.inf
    return _measures(status.astype(np.uint8), tensor, _covariance(design, data, (tensor, s0), (sigma, cut)))


def determined(b_values: Sequence[float], b_vectors: Sequence[float], largest: float = 1500.0) -> bool:
    """b-values (s/mm²) and directions (as FSL's) → whether they tell a tensor. ScanError for what are no directions.

    Weighted images without a direction (vector 0) are means over directions, which tell none.
    """
    values, numbers = np.asarray(b_values, np.float64), np.asarray(b_vectors, np.float64)
    if (
        numbers.size == 3 * values.size
        and (~numbers.reshape(3, -1)[:, values > UNWEIGHTED].any(axis=0)).any()
    ):
        return False
    chosen, vectors = counted(values, largest), directions(values, b_vectors)
    try:
        design_of(values[chosen], vectors[chosen])
    except ScanError:
        return False
    return True


def _checked(signals: FloatArray, b_values: Sequence[float]) -> tuple[Doubles, NDArray[Any]]:
    values, data = np.asarray(b_values, np.float64), np.asarray(signals)
    if data.shape[1] != values.size:
        raise ScanError(f"there are {data.shape[1]} images but {values.size} b-values; give one for each")
    if not np.isfinite(values).all() or values.min(initial=0) < 0 or values.max(initial=0) < UNWEIGHTED:
        raise ScanError(
            f"b-values from {values.min():g} to {values.max():g} cannot be meant; give them in s/mm²"
        )
    return values, data


def _shells(values: Doubles) -> Doubles:
    """b-values → the smallest of those that are alike; 0 for those that count as unweighted."""
    shells = np.zeros_like(values)
    for one in np.argsort(values):
        if values[one] > UNWEIGHTED:
            below = shells[(shells > 0) & (shells >= values[one] * (1 - ALIKE))]
            shells[one] = below.min() if below.size else values[one]
    return shells


def counted(values: Doubles, largest: float) -> NDArray[np.bool_]:
    """b-values (s/mm²) → which images a fit takes: those up to the largest, and the lowest shell in any case."""
    shells = _shells(values)
    chosen: NDArray[np.bool_] = shells <= max(largest, float(shells[shells > 0].min(initial=np.inf)))
    return chosen


def _geometric_mean(data: Doubles) -> Doubles:
    if data.shape[1] == 1:
        return data[:, 0]
    positive: NDArray[np.bool_] = np.all(data > 0, axis=1)
    logarithm = np.log(np.where(positive[:, None], data, 1))
    mean: Doubles = np.where(positive, np.exp(logarithm.mean(axis=1)), data.mean(axis=1))
    return mean


def directions(values: Doubles, b_vectors: Sequence[float]) -> Doubles:
    """FSL's numbers → a unit vector for each image (m, 3), 0 where there is no weighting."""
    numbers = np.asarray(b_vectors, np.float64)
    if numbers.size != 3 * values.size:
        raise ScanError(
            f"there are {values.size} images but {numbers.size} components of directions; give three for each, "
            "all x, then all y, then all z"
        )
    vectors = numbers.reshape(3, -1).T.copy()
    weighted = values > UNWEIGHTED
    length: Doubles = np.linalg.norm(vectors, axis=1)
    wrong = np.flatnonzero(weighted & ~(np.abs(length - 1) < 0.05))
    if wrong.size:
        raise ScanError(
            f"the direction of image {wrong[0] + 1} has the length {length[wrong[0]]:.3g}, not 1; a bvec file has "
            "three rows (x, y, z) and a column for each image"
        )
    vectors[weighted] /= length[weighted, None]
    vectors[~weighted] = 0
    return vectors


def design_of(values: Doubles, vectors: Doubles) -> tuple[Doubles, float]:
    """X of log S = X·(Dxx, Dyy, Dzz, Dxy, Dxz, Dyz, log S0), and the least eigenvalue that dipy tells.

    ScanError for too few directions.
    """
    x, y, z = vectors.T
    products = np.stack([x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z], axis=1)
    design = np.concatenate([-values[:, None] * products, np.ones((len(values), 1))], axis=1)
    scaled = design / np.maximum(np.abs(design).max(axis=0), 1e-300)
    if np.linalg.matrix_rank(scaled, tol=1e-3) < 7:
        raise ScanError(
            "a tensor needs six directions that differ, and an image without weighting or a second b-value; "
            "fit apparent_diffusion instead"
        )
    return design, 1e-6 / -float(design[:, :6].min())


def _fitted(gradients: Gradients, data: Doubles, method: str, sigma: float | None) -> tuple[Doubles, Doubles]:
    """Tensors (n, 3, 3) and S0 (n) by dipy. ScanError where dipy is not there."""
    try:
        from dipy.core.gradients import gradient_table
        from dipy.reconst.dti import TensorModel
    except ImportError:
        raise ScanError('diffusion tensors are fitted by dipy; pip install "mensura[diffusion]"') from None
    values, vectors = gradients
    table = gradient_table(values, bvecs=vectors, b0_threshold=UNWEIGHTED)
    how: dict[str, Any] = (
        {"fit_method": "RESTORE", "sigma": sigma} if method == "restore" else {"fit_method": "WLS"}
    )
    with np.errstate(all="ignore"):
        fit = TensorModel(table, return_S0_hat=True, **how).fit(data)  # type: ignore[no-untyped-call]
    return np.asarray(fit.quadratic_form, np.float64), np.asarray(fit.S0_hat, np.float64).reshape(len(data))


def _covariance(
    design: Doubles, data: Doubles, found: tuple[Doubles, Doubles], noise: tuple[float | None, float]
) -> Doubles:
    """Covariance (n, 6, 6) of the tensors' elements, for the noise given, or as the residuals show it."""
    (tensor, s0), (sigma, cut) = found, noise
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = np.moveaxis(tensor, 0, -1)
    elements = np.stack([xx, yy, zz, xy, xz, yz, np.log(np.where(s0 > 0, s0, np.nan))], axis=1)
    with np.errstate(all="ignore"):
        predicted = np.exp(elements @ design.T)
    residual = data - predicted
    counts = np.abs(residual) <= cut * (sigma or 1)
    usable = np.isfinite(predicted).all(axis=1) & (predicted.max(axis=1, initial=0) > 0)
    weights = np.where(usable[:, None], np.square(predicted) * counts, 1.0)
    scale = np.abs(design).max(axis=0)
    products = np.einsum("mi,mj->mij", design / scale, design / scale)
    normal = (weights @ products.reshape(len(design), 49)).reshape(-1, 7, 7)
    normal += 1e-12 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(7)
    inverse = np.linalg.inv(normal) / np.outer(scale, scale)
    freedom = data.shape[1] - 7
    own = np.sum(np.square(residual), axis=1) / freedom if freedom > 0 else np.full(len(data), np.nan)
    variance = own if sigma is None else np.full(len(data), sigma**2)
    covariance: Doubles = np.where(usable, variance, np.nan)[:, None, None] * inverse[:, :6, :6]
    return covariance


def _measures(status: NDArray[np.uint8], tensor: Doubles, covariance: Doubles) -> Estimates:
    """FA, MD, AD and RD of tensors, with errors to first order."""
    safe = np.where((status == Status.OK)[:, None, None], tensor, np.diag([3e-3, 2e-3, 1e-3]))
    eigenvalues, eigenvectors = np.linalg.eigh(safe)
    principal = eigenvectors[:, :, 2]
    third = np.broadcast_to(np.eye(3) / 3, safe.shape)
    along = np.einsum("ni,nj->nij", principal, principal)
    mean = eigenvalues.mean(axis=1)
    apart, size = safe - 3 * mean[:, None, None] * third, np.einsum("nij,nij->n", safe, safe)
    spread = np.einsum("nij,nij->n", apart, apart)
    anisotropy = np.sqrt(1.5 * spread / size)
    slope = 1.5 * (apart / size[:, None, None] - (spread / size**2)[:, None, None] * safe)
    slope /= np.maximum(anisotropy, 1e-6)[:, None, None]
    maps = {
        FA: (anisotropy, slope),
        MD: (mean, third),
        AD: (eigenvalues[:, 2], along),
        RD: (eigenvalues[:, :2].mean(axis=1), (3 * third - along) / 2),
    }
    return Estimates.closed(status, **{n: (v, _error(by, covariance)) for n, (v, by) in maps.items()})


def _error(slope: Doubles, covariance: Doubles) -> Doubles:
    """∂f/∂D (n, 3, 3) and the covariance of D's six elements → standard deviation of f."""
    row, column = np.array([0, 1, 2, 0, 0, 1]), np.array([0, 1, 2, 1, 2, 2])
    by = slope[:, row, column] * np.array([1, 1, 1, 2, 2, 2])
    error: Doubles = np.sqrt(np.maximum(np.einsum("ni,nij,nj->n", by, covariance, by), 0))
    return error
