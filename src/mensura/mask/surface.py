"""A triangulated surface that grows until it meets the edge of the brain (all lengths in mm)."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from mensura.scan import BoolArray, FloatArray

Points = NDArray[np.float64]
Indices = NDArray[np.int32]

RADIUS_MIN, RADIUS_MAX = 3.33, 10.0
"""Radii of curvature (mm) that are smoothed strongly, and hardly at all."""
DEEP, SHALLOW = 20, 10
"""How far beneath a vertex the darkest and the brightest point are sought, mm."""


@dataclass(frozen=True)
class Mesh:
    """A closed surface: `vertices` (n, 3), `faces` (m, 3), and `rings` (n, 6): the neighbours of each vertex.

    The twelve corners of the icosahedron have five neighbours; their rings repeat the last one.
    """

    vertices: Points
    faces: Indices
    rings: Indices


def icosphere(subdivisions: int) -> Mesh:
    """Number of subdivisions → the unit sphere made of 20·4ⁿ nearly equal triangles."""
    vertices, faces = _icosahedron()
    for _ in range(subdivisions):
        vertices, faces = _subdivide(vertices, faces)
        vertices = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    return Mesh(vertices, faces, _rings(len(vertices), faces))


def refine(mesh: Mesh) -> Mesh:
    """Mesh → the same surface with every triangle cut into four."""
    vertices, faces = _subdivide(mesh.vertices, mesh.faces)
    return Mesh(vertices, faces, _rings(len(vertices), faces))


def _icosahedron() -> tuple[Points, Indices]:
    g = (1 + 5**0.5) / 2
    corners = [(s, t * g, 0.0) for s in (-1, 1) for t in (-1, 1)]
    vertices = np.array([np.roll(c, r) for r in range(3) for c in corners]) / np.hypot(1, g)
    near = np.linalg.norm(vertices[:, None] - vertices[None], axis=2) < 1.1
    faces = []
    for a in range(12):
        for b in range(a + 1, 12):
            for c in range(b + 1, 12):
                if near[a, b] and near[b, c] and near[a, c]:
                    outward = np.linalg.det(vertices[[a, b, c]]) > 0
                    faces.append((a, b, c) if outward else (a, c, b))
    return vertices, np.array(faces, dtype=np.int32)


def _subdivide(vertices: Points, faces: Indices) -> tuple[Points, Indices]:
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    unique, inverse = np.unique(edges, axis=0, return_inverse=True)
    ab, bc, ca = inverse.reshape(3, -1) + len(vertices)
    a, b, c = faces.T
    parts = [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
    middle = vertices[unique].mean(axis=1)
    return np.concatenate([vertices, middle]), np.concatenate([np.stack(p, 1) for p in parts]).astype(
        np.int32
    )


def _rings(count: int, faces: Indices) -> Indices:
    neighbours: list[set[int]] = [set() for _ in range(count)]
    for a, b, c in faces.tolist():
        neighbours[a] |= {b, c}
        neighbours[b] |= {a, c}
        neighbours[c] |= {a, b}
    rows = [sorted(found) for found in neighbours]
    return np.array([row + row[-1:] * (6 - len(row)) for row in rows], dtype=np.int32)


@numba.njit(cache=True)
def _sample(image: FloatArray, x: float, y: float, z: float) -> float:
    """Trilinear value at a position in voxels; zero beyond the volume."""
    i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    if i < 0 or j < 0 or k < 0 or i > image.shape[0] - 2 or j > image.shape[1] - 2 or k > image.shape[2] - 2:
        return 0.0
    u, v, w = x - i, y - j, z - k
    low = (1 - v) * ((1 - w) * image[i, j, k] + w * image[i, j, k + 1]) + v * (
        (1 - w) * image[i, j + 1, k] + w * image[i, j + 1, k + 1]
    )
    high = (1 - v) * ((1 - w) * image[i + 1, j, k] + w * image[i + 1, j, k + 1]) + v * (
        (1 - w) * image[i + 1, j + 1, k] + w * image[i + 1, j + 1, k + 1]
    )
    return float((1 - u) * low + u * high)


@numba.njit(cache=True)
def _normals(x: Points, faces: Indices) -> tuple[Points, float]:
    """Outward unit normals at the vertices, and the mean length of an edge."""
    normals = np.zeros_like(x)
    length = 0.0
    for f in range(faces.shape[0]):
        a, b, c = faces[f]
        u0, u1, u2 = x[b, 0] - x[a, 0], x[b, 1] - x[a, 1], x[b, 2] - x[a, 2]
        v0, v1, v2 = x[c, 0] - x[a, 0], x[c, 1] - x[a, 1], x[c, 2] - x[a, 2]
        length += np.sqrt(u0 * u0 + u1 * u1 + u2 * u2)
        for p in (a, b, c):
            normals[p, 0] += u1 * v2 - u2 * v1
            normals[p, 1] += u2 * v0 - u0 * v2
            normals[p, 2] += u0 * v1 - u1 * v0
    for n in range(x.shape[0]):
        norm = np.sqrt(normals[n, 0] ** 2 + normals[n, 1] ** 2 + normals[n, 2] ** 2) + 1e-12
        for axis in range(3):
            normals[n, axis] /= norm
    return normals, length / faces.shape[0]


def grow(
    mesh: Mesh,
    image: FloatArray,
    voxel_size: tuple[float, float, float],
    levels: tuple[float, float, float],
    fraction: float,
    iterations: int = 200,
) -> Mesh:
    """Mesh (mm from the first voxel's centre) → the mesh grown to the edge of the brain.

    Each vertex moves by the sum of three displacements (Smith 2002, 10.1002/hbm.10062): half of the
    tangential way to the mean of its neighbours; a part of the normal way that grows with the curvature; and
    0.05·l·f₃ along the normal, l being the mean length of an edge. f₃ = 2(I_min − t_l)/(I_max − t_2) compares
    the darkest point within 20 mm beneath the vertex with the threshold t_l = (I_max − t_2)·`fraction` + t_2;
    I_max is the brightest point within 10 mm. `levels` are (t_2, t, t_m): background, threshold, typical
    brain; I_min is kept within t_2 and t_m, I_max within t and t_m. All vertices move at once.
    """
    vertices = mesh.vertices
    for _ in range(iterations):
        normals, length = _normals(vertices, mesh.faces)
        vertices = _moved((vertices, normals, mesh.rings), length, image, (voxel_size, levels, fraction))
    return Mesh(vertices, mesh.faces, mesh.rings)


@numba.njit(cache=True)
def _moved(
    mesh: tuple[Points, Points, Indices],
    length: float,
    image: FloatArray,
    setting: tuple[tuple[float, float, float], tuple[float, float, float], float],
) -> Points:
    """The vertices after one iteration of `grow`."""
    x, normals, rings = mesh
    voxel_size, (t2, t, tm), fraction = setting
    centre = (1 / RADIUS_MIN + 1 / RADIUS_MAX) / 2
    slope = 6 / (1 / RADIUS_MIN - 1 / RADIUS_MAX)
    out = np.empty_like(x)
    for n in range(x.shape[0]):
        members = 5 if rings[n, 5] == rings[n, 4] else 6
        s0, s1, s2 = -x[n, 0], -x[n, 1], -x[n, 2]
        for m in range(members):
            p = rings[n, m]
            s0 += x[p, 0] / members
            s1 += x[p, 1] / members
            s2 += x[p, 2] / members
        along = s0 * normals[n, 0] + s1 * normals[n, 1] + s2 * normals[n, 2]
        smooth = 0.5 * (1 + np.tanh(slope * (2 * abs(along) / (length * length) - centre)))
        darkest, brightest = tm, t
        for step in range(DEEP + 1):
            value = _sample(
                image,
                (x[n, 0] - step * normals[n, 0]) / voxel_size[0],
                (x[n, 1] - step * normals[n, 1]) / voxel_size[1],
                (x[n, 2] - step * normals[n, 2]) / voxel_size[2],
            )
            darkest = min(darkest, value)
            if step <= SHALLOW:
                brightest = max(brightest, value)
        darkest, brightest = max(t2, darkest), min(tm, brightest)
        push = 0.1 * length * ((darkest - t2) / max(brightest - t2, 1e-12) - fraction)
        outward = (smooth - 0.5) * along + push
        out[n, 0] = x[n, 0] + 0.5 * s0 + outward * normals[n, 0]
        out[n, 1] = x[n, 1] + 0.5 * s1 + outward * normals[n, 1]
        out[n, 2] = x[n, 2] + 0.5 * s2 + outward * normals[n, 2]
    return out


def inside(mesh: Mesh, shape: tuple[int, int, int], voxel_size: tuple[float, float, float]) -> BoolArray:
    """Mesh (mm from the first voxel's centre) → the voxels whose centres it encloses (winding number ≠ 0)."""
    turns: NDArray[np.int8] = np.zeros((shape[0], shape[1], shape[2] + 1), dtype=np.int8)
    _crossings(mesh.vertices / np.array(voxel_size), mesh.faces, turns)
    enclosed: BoolArray = np.cumsum(turns[:, :, :-1], axis=2, dtype=np.int8) != 0
    return enclosed


@numba.njit(cache=True)
def _crossings(x: Points, faces: Indices, turns: NDArray[np.int8]) -> None:
    """Add ±1 where the column of voxels (i, j) enters or leaves the surface.

    A column meets a triangle if an odd number of the projected edges lie beside it; an edge is always
    computed from its lower to its higher vertex, so that the two triangles it joins agree to the last bit.
    """
    for f in range(faces.shape[0]):
        a, b, c = faces[f]
        area = np.cross(x[b] - x[a], x[c] - x[a])
        if area[2] == 0:
            continue
        sign = -1 if area[2] > 0 else 1
        for j in range(
            max(0, int(np.ceil(min(x[a, 1], x[b, 1], x[c, 1])))),
            min(turns.shape[1] - 1, int(np.floor(max(x[a, 1], x[b, 1], x[c, 1])))) + 1,
        ):
            for i in range(
                max(0, int(np.ceil(min(x[a, 0], x[b, 0], x[c, 0])))),
                min(turns.shape[0] - 1, int(np.floor(max(x[a, 0], x[b, 0], x[c, 0])))) + 1,
            ):
                beside = 0
                for p, q in ((a, b), (b, c), (c, a)):
                    lo, hi = min(p, q), max(p, q)
                    if (x[lo, 1] > j) != (x[hi, 1] > j):
                        share = (j - x[lo, 1]) / (x[hi, 1] - x[lo, 1])
                        beside += i < x[lo, 0] + share * (x[hi, 0] - x[lo, 0])
                if beside % 2 == 1:
                    z = x[a, 2] - (area[0] * (i - x[a, 0]) + area[1] * (j - x[a, 1])) / area[2]
                    k = min(max(0, int(np.ceil(z))), turns.shape[2] - 1)
                    turns[i, j, k] += sign
