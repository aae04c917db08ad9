"""What a search for the nearest images costs: milliseconds a query, and how many rows are read in full.

    python benchmarks/neighbours.py [--n 500000] [--d 1024] [--queries 50] [--features FILE.npz]

With --features, rows are drawn from a file of `lesionlab embed`, each mixed from two of its rows and noise, so that they have its
structure; without it, from a plane of 64 dimensions with noise. The same queries are answered by a product with all rows.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from lesionlab.inference.feature_files import read_features
from lesionlab.inference.neighbours import NeighbourIndex, neighbour_index, unit_rows


def main() -> None:
    """Print the time to build, and of a query by the index and by a product with all rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=500_000)
    parser.add_argument("--d", type=int, default=1024)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--features", type=Path)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    rows = drawn(random, options.n, options.d, options.features)
    start = time.perf_counter()
    index = neighbour_index(rows)
    print(f"{len(rows):,} x {rows.shape[1]}: built in {time.perf_counter() - start:.1f} s")
    plain, times = NeighbourIndex(index.rows), []
    shares = []
    for row in random.choice(len(rows), options.queries, replace=False):
        query = rows[row]
        start = time.perf_counter()
        found, _ = index.nearest(query, 10)
        middle = time.perf_counter()
        expected, _ = plain.nearest(query, 10)
        times.append((middle - start, time.perf_counter() - middle))
        chosen = None if index.directions is None else index._candidates(unit_rows(query[None])[0], 10)
        shares.append(1.0 if chosen is None else len(chosen) / len(rows))
        if set(found) != set(expected):
            print(f"row {row}: {sorted(found)} by the index, {sorted(expected)} by all")
    ours, all_ = (1000 * statistics.median(column) for column in zip(*times, strict=True))
    print(
        f"a query: {ours:.1f} ms (median), by a product with all rows {all_:.1f} ms; read in full {np.median(shares):.2%}"
    )


def drawn(random: np.random.Generator, n: int, d: int, file: Path | None) -> np.ndarray:
    """Rows to search: float32 (n, d)."""
    rows = np.empty((n, d), np.float32)
    source = read_features(file).features[:, :d] if file else None
    basis = random.normal(size=(64, d)).astype(np.float32)
    for at in range(0, n, 20_000):
        part = rows[at : at + 20_000]
        noise = random.normal(size=part.shape).astype(np.float32)
        if source is None:
            part[:] = random.normal(size=(len(part), 64)).astype(np.float32) @ basis + noise
        else:
            a, b = random.choice(len(source), (2, len(part)))
            share = random.uniform(0, 1, (len(part), 1)).astype(np.float32)
            part[:] = share * source[a] + (1 - share) * source[b] + 0.02 * source.std() * noise
    return rows


if __name__ == "__main__":
    main()
