"""Weights on their way out of a machine with a narrow door: small files, written every minute, joined elsewhere.

    DIR/pieces/flow-0007.json         what the set is (`PieceSet`), written last
    DIR/pieces/flow-0007-1of2.bin     the first 14 MB of the averaged weights of the stage, fp16 safetensors
    DIR/pieces/flow-0007-2of2.bin     the rest

A set replaces the one before it only when it is whole, so there is always one to take. `join` makes a model folder of
the newest whole set of each stage.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from galaxysd.diffusion.autoencoder import Autoencoder, AutoencoderSettings
from galaxysd.diffusion.card import model_card
from galaxysd.diffusion.denoiser import GalaxyDenoiser
from galaxysd.diffusion.folder import ModelRecord, save_model
from galaxysd.diffusion.grain import GrainNetwork, GrainSettings
from galaxysd.diffusion.network import NetworkSettings
from galaxysd.errors import InputError
from galaxysd.io import read_json, write_atomically
from galaxysd.settings import Settings

LIMIT = 14_000_000  # bytes of a piece


class PieceSet(Settings):
    """What a set of pieces is."""

    stage: str
    number: int = Field(ge=0)
    parts: int = Field(ge=1)
    sha256: str = Field(description="of the joined parts")
    network: dict[str, Any] = Field(description="settings of the network")
    spread: float = Field(default=1.0, gt=0, description="of the latents, see ModelConfig")
    autoencoder: str | None = Field(default=None, description="sha256 of the set of the autoencoder it was trained on")
    record: ModelRecord = Field(description="of a model with this stage alone")


def write_pieces(
    folder: Path,
    stage: str,
    number: int,
    weights: dict[str, Tensor],
    *,
    network: Settings,
    record: ModelRecord,
    spread: float = 1.0,
    autoencoder: str | None = None,
) -> str:
    """Write a set and delete the one before.

    Args:
        folder: the folder of the run; the set goes to `pieces` in it.
        stage: autoencoder, flow or grain.
        number: counts the sets of a stage.
        weights: by the names of the network's state.
        network: settings of the network.
        record: of a model with this stage alone.
        spread: of the latents, for the flow.
        autoencoder: what this function returned for the autoencoder that the stage works on.

    Returns:
        SHA-256 of the weights.

    Raises:
        InputError: the weights are not finite, or the disk is full.
    """
    tensors = {name: value.half().contiguous().cpu() for name, value in weights.items()}
    if not all(bool(value.isfinite().all()) for value in tensors.values()):
        raise InputError(f"{stage}: the weights are not finite; lower {stage}.fit.learning_rate (--set)")
    content = save(tensors)
    blocks = [content[start : start + LIMIT] for start in range(0, len(content), LIMIT)]
    described = PieceSet(
        stage=stage,
        number=number,
        parts=len(blocks),
        sha256=hashlib.sha256(content).hexdigest(),
        network=network.model_dump(mode="json"),
        spread=spread,
        autoencoder=autoencoder,
        record=record,
    )
    place = folder / "pieces"
    try:
        place.mkdir(parents=True, exist_ok=True)
        for part, block in enumerate(blocks, 1):
            (place / _part(stage, number, part, len(blocks))).write_bytes(block)
        write_atomically(place / f"{stage}-{number:04d}.json", described.model_dump_json() + "\n")
        for path in place.glob(f"{stage}-*"):
            if path.name.split("-")[1].removesuffix(".json") != f"{number:04d}":
                path.unlink()
    except OSError as error:
        raise InputError(f"{place}: weights cannot be written ({error})") from None
    return described.sha256


def join(folder: str | Path, model: str | Path, *, name: str = "mini") -> tuple[str, ...]:
    """Make a model folder of the pieces of a run.

    Args:
        folder: the folder of the run, or its folder `pieces`.
        model: folder to write.
        name: of the model, for its card.

    Returns:
        The stages that the model has.

    Raises:
        InputError: no whole set of the autoencoder, or sets that do not belong together.
    """
    folder = Path(folder)
    place = folder / "pieces" if (folder / "pieces").is_dir() else folder
    found = {stage: _newest(place, stage) for stage in ("autoencoder", "flow", "grain")}
    if found["autoencoder"] is None:
        raise InputError(f"{folder}: holds no whole set of pieces of an autoencoder")
    encoder_set, encoder_weights = found["autoencoder"]
    autoencoder = Autoencoder(AutoencoderSettings.parse(encoder_set.network, str(place)))
    _fill(autoencoder, encoder_weights, place)
    record, training = encoder_set.record, dict(encoder_set.record.training)
    denoiser: GalaxyDenoiser | None = None
    grain: GrainNetwork | None = None
    for stage in ("flow", "grain"):
        if (pieces := found[stage]) is None:
            continue
        described, weights = pieces
        if described.autoencoder != encoder_set.sha256:
            raise InputError(f"{place}: the {stage} was trained on another autoencoder than the one beside it")
        training |= described.record.training
        if stage == "flow":
            record = described.record
            surveys = tuple(survey.token for survey in record.surveys)
            shape = NetworkSettings.parse(described.network, str(place))
            denoiser = GalaxyDenoiser(shape, described.spread, record.tree, surveys)
            _fill(denoiser.unet, weights, place)
        elif denoiser is not None:
            grain = GrainNetwork(GrainSettings.parse(described.network, str(place)))
            _fill(grain, weights, place)
    order = ("autoencoder", "generator", "grain")
    record = record.model_copy(update={"training": {key: training[key] for key in order if key in training}})
    save_model(Path(model), record, _card(record, name), autoencoder=autoencoder, denoiser=denoiser, grain=grain)
    parts = {"autoencoder": autoencoder, "flow": denoiser, "grain": grain}
    return tuple(stage for stage, network in parts.items() if network is not None)


def _part(stage: str, number: int, part: int, parts: int) -> str:
    return f"{stage}-{number:04d}-{part}of{parts}.bin"


def _newest(place: Path, stage: str) -> tuple[PieceSet, dict[str, Tensor]] | None:
    """The newest set of a stage whose parts are all there and unchanged."""
    for path in sorted(place.glob(f"{stage}-*.json"), reverse=True):
        described = PieceSet.parse(read_json(path), str(path))
        names = [_part(stage, described.number, part, described.parts) for part in range(1, described.parts + 1)]
        try:
            content = b"".join((place / name).read_bytes() for name in names)
        except OSError:
            continue
        if hashlib.sha256(content).hexdigest() == described.sha256:
            return described, load(content)
    return None


def _fill(network: nn.Module, weights: dict[str, Tensor], place: Path) -> None:
    try:
        network.load_state_dict({name: value.float() for name, value in weights.items()})
    except (SafetensorError, RuntimeError) as error:
        raise InputError(f"{place}: weights that do not fit their network ({str(error).splitlines()[0]})") from None
    network.eval()


def _card(record: ModelRecord, name: str) -> str:
    """The model card, or the little that can be said where the template library is absent."""
    try:
        return model_card(record, name)
    except ModuleNotFoundError:
        told = json.dumps({stage: values.get("images_seen") for stage, values in record.training.items()})
        return f"# GalaxySD generator `{name}`\n\nImages seen by each stage: {told}. `galaxysd.json` has the rest.\n"
