"""One split for all: every galaxy is in `train`, `val` or `test` (80 / 5 / 15 %), in every catalogue the same.

The split is a seeded hash of the galaxy's cell on the sky, or of its id where no position is known, so catalogues made
apart mostly agree by construction; where they must agree (same galaxy in two sets), `like` hands splits down. In: a
`Catalog`. Out: the same with column `split`.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from galaxysd.catalog.catalog import Catalog
from galaxysd.catalog.sky import chord, directions, nearest_within
from galaxysd.errors import InputError

SHARES = {"train": 0.80, "val": 0.05, "test": 0.15}
GROUP_ARCSEC = 30.0  # closer galaxies show up in each other's image frame
SAME_ARCSEC = 2.0  # closer entries of two catalogues are one galaxy
CELL_DEG = 0.1  # much wider than position errors, much narrower than a survey


def assign_splits(
    catalog: Catalog, seed: int, like: Sequence[Catalog] = (), aliases: pl.DataFrame | None = None
) -> Catalog:
    """Give every galaxy its split; independent of the order of rows.

    Galaxies within 30 arcsec of each other, directly or through others, stay together. A galaxy that a catalogue of
    `like` has already split keeps that split, and so does the rest of its group: by id or alias first, then by the
    nearest position within 30 arcsec.

    Args:
        catalog: N galaxies; a `split` they already have is replaced.
        seed: of the hash; use one for all catalogues of a project.
        like: catalogues already split.
        aliases: two text columns with names of the same galaxy. A name is an id or the stem of an image file.

    Raises:
        InputError: a catalogue of `like` has no splits, the `like` catalogues contradict each other, or `aliases` does
            not have two columns.
    """
    for other in like:
        _require_splits(other)
    check_disjoint(like)
    if aliases is not None and aliases.width != 2:
        raise InputError(f"aliases: expected two columns of galaxy names, found {aliases.width}")
    frame = catalog.frame.select("id", "file", "ra", "dec").with_columns(_cells().alias("cell"))
    placed = frame["ra"].is_not_null() & frame["dec"].is_not_null()
    group = _groups(frame, placed)
    # the member with the smallest cell name speaks for its group, so that neither rows nor catalogues matter
    frame = frame.with_columns(group=pl.Series(group)).with_columns(cell=pl.col("cell").min().over("group"))
    names = frame["cell"].unique()
    hashed = pl.DataFrame({"cell": names, "hashed": [_hash(seed, name) for name in names]})
    frame = frame.join(hashed, on="cell", how="left", maintain_order="left")
    if like:
        known = pl.concat([other.frame.select("id", "file", "ra", "dec", "split") for other in like])
        frame = frame.with_columns(own=_handed_down(frame, known, aliases))
        first = pl.col("own").sort_by("id").drop_nulls().first().over("group")
        frame = frame.with_columns(hashed=pl.coalesce("own", first, "hashed"))
    return catalog.with_frame(catalog.frame.with_columns(split=frame["hashed"]))


def check_disjoint(catalogs: Sequence[Catalog]) -> None:
    """The same galaxy (same survey and id, or positions within 2 arcsec) has the same split in all catalogues.

    Raises:
        InputError: naming galaxies that do not, or a catalogue without splits.
    """
    for catalog in catalogs:
        _require_splits(catalog)
    if not catalogs:
        return
    frame = pl.concat(
        catalog.frame.select("id", "ra", "dec", "split").with_columns(survey=pl.lit(catalog.survey))
        for catalog in catalogs
    )
    torn = frame.filter(pl.col("split").n_unique().over("survey", "id") > 1)
    if torn.height:
        ids = torn["id"].unique(maintain_order=True)
        splits = " and ".join(torn.filter(pl.col("id") == ids[0])["split"].unique(maintain_order=True))
        raise InputError(f"splits: {len(ids)} galaxies are in two splits at once, e.g. {ids[0]!r} in {splits}")
    placed = frame.drop_nulls(["ra", "dec"])
    pairs = _pairs(placed, SAME_ARCSEC)
    split = placed["split"].to_numpy()
    torn_pairs = pairs[split[pairs[:, 0]] != split[pairs[:, 1]]]
    if len(torn_pairs):
        (one, two), ids = sorted(torn_pairs[0]), placed["id"]
        raise InputError(
            f"splits: {len(torn_pairs)} pairs of entries within {SAME_ARCSEC:g} arcsec are in different splits, e.g. "
            f"{ids[int(one)]!r} in {split[one]} and {ids[int(two)]!r} in {split[two]}"
        )


def _require_splits(catalog: Catalog) -> None:
    if "split" not in catalog.frame.columns or catalog.frame["split"].null_count():
        raise InputError(f"splits: catalogue of survey {catalog.survey!r} has galaxies without a split")


def _cells() -> pl.Expr:
    """Name of a galaxy's cell: bands of declination cut into cells of about equal area, or its id without position."""
    band = ((pl.col("dec") + 90) / CELL_DEG).floor()
    middle = ((band + 0.5) * CELL_DEG - 90).radians()
    number = (360 / CELL_DEG * middle.cos()).ceil()
    cell = (pl.col("ra") % 360 / 360 * number).floor()
    name = pl.format("sky {} {}", band.cast(pl.Int64), cell.cast(pl.Int64))
    return pl.coalesce(name, pl.format("id {}", pl.col("id")))


def _hash(seed: int, name: str) -> str:
    """Split of a cell: where its hash falls on the line from 0 to 1."""
    digest = hashlib.blake2b(f"{seed} {name}".encode(), digest_size=8).digest()
    place = int.from_bytes(digest, "big") / 2**64
    if place < SHARES["train"]:
        return "train"
    return "val" if place < SHARES["train"] + SHARES["val"] else "test"


def _directions(frame: pl.DataFrame) -> npt.NDArray[np.float64]:
    return directions(frame["ra"], frame["dec"])


def _pairs(frame: pl.DataFrame, arcsec: float) -> npt.NDArray[np.intp]:
    """Row numbers `[P, 2]` of entries that close, enough of them to connect every group.

    Entries at one and the same position are chained rather than paired each with each, so that a table full of one
    position stays small.
    """
    if frame.height == 0:
        return np.empty((0, 2), dtype=np.intp)
    order = np.lexsort((frame["dec"].to_numpy(), frame["ra"].to_numpy()))
    positions = frame.select("ra", "dec").to_numpy()[order]
    same = (positions[1:] == positions[:-1]).all(axis=1)  # as the entry before
    first = order[np.concatenate([[True], ~same])]
    between = first[cKDTree(_directions(frame)[first]).query_pairs(chord(arcsec), output_type="ndarray")]
    return np.concatenate([between, np.stack([order[:-1][same], order[1:][same]], axis=1)])


def _groups(frame: pl.DataFrame, placed: pl.Series) -> npt.NDArray[np.intp]:
    """Number of the group each galaxy belongs to `[N]`; galaxies without position are groups of their own."""
    pairs = placed.arg_true().to_numpy()[_pairs(frame.filter(placed), GROUP_ARCSEC)]
    graph = coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(frame.height, frame.height))
    return connected_components(graph, directed=False)[1].astype(np.intp)  # type: ignore[no-any-return]


def _handed_down(frame: pl.DataFrame, known: pl.DataFrame, aliases: pl.DataFrame | None) -> pl.Series:
    """The split each galaxy of `frame` has in `known`, null where it is new."""
    by_id = dict(zip(known["id"], known["split"], strict=True))
    by_name = dict(known.select(_stem(), "split").drop_nulls().iter_rows()) | by_id
    pairs = [] if aliases is None else list(aliases.cast(pl.String).drop_nulls().iter_rows())
    forward, backward = dict(pairs), {two: one for one, two in pairs}

    def known_split(galaxy: str, stem: str | None) -> str | None:
        others = (direction.get(name) for direction in (forward, backward) for name in (galaxy, stem))
        return by_id.get(galaxy) or next((by_name[other] for other in others if other in by_name), None)

    own = [known_split(galaxy, stem) for galaxy, stem in frame.select("id", _stem()).iter_rows()]
    named = pl.Series("own", own, dtype=pl.String)
    return named.zip_with(named.is_not_null(), _nearest(frame, known.drop_nulls(["ra", "dec"])))


def _nearest(frame: pl.DataFrame, known: pl.DataFrame) -> pl.Series:
    """Split of the nearest known position within 30 arcsec `[N]`, null where there is none."""
    placed = frame.with_row_index().drop_nulls(["ra", "dec"])
    if placed.height == 0 or known.height == 0:
        return pl.Series([None], dtype=pl.String).new_from_index(0, frame.height)
    index, found = nearest_within(_directions(placed), _directions(known), GROUP_ARCSEC)
    splits = np.full(frame.height, None, dtype=object)
    splits[placed["index"].to_numpy()[found]] = known["split"].to_numpy()[index[found]]
    return pl.Series(splits.tolist(), dtype=pl.String)


def _stem() -> pl.Expr:
    """The image's file name without its ending."""
    return pl.col("file").str.replace(r"\.[A-Za-z]+$", "").alias("stem")
