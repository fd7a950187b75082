"""Training from a pack on one device, by the clock: `python -m galaxysd.diffusion.train PACK --out DIR --minutes M`.

    DIR/log.jsonl    what happened, one JSON object a line, with images/s
    DIR/pieces/      the weights, a set every minute (pieces.py)
    DIR/model        a model folder, at the end

The three stages (autoencoder, latent flow, grain) share the minutes; warmup and decay of each are laid out by the time
it gets. Images, labels, noise and averages lie on the device, and a step waits for nothing; every hundredth reads the
loss. It needs torch, numpy, safetensors, pydantic, pyyaml, accelerate, rich and pillow, and no other package.

    python -m galaxysd.diffusion.train --join DIR MODEL

makes a model folder of the pieces.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from galaxysd.diffusion.autoencoder import Autoencoder
from galaxysd.diffusion.autoencoder_task import AutoencoderTask, FeatureMaps
from galaxysd.diffusion.denoiser import GalaxyDenoiser
from galaxysd.diffusion.device_data import DeviceLatents, DevicePairs, DevicePool
from galaxysd.diffusion.flow_task import FlowTask
from galaxysd.diffusion.folder import ModelRecord, load_autoencoder, load_model
from galaxysd.diffusion.grain import GrainNetwork, GrainSettings
from galaxysd.diffusion.grain_task import GrainTask
from galaxysd.diffusion.network import GalaxyUNet, NetworkSettings
from galaxysd.diffusion.pack import STAGES, Pack, read_pack
from galaxysd.diffusion.pieces import join, write_pieces
from galaxysd.diffusion.pipeline import find_device
from galaxysd.diffusion.recipe import AutoencoderRecipe, GrainRecipe, Recipe
from galaxysd.errors import InputError
from galaxysd.nn import normalise_weights
from galaxysd.settings import Settings
from galaxysd.training.ema import ExponentialMovingAverage
from galaxysd.training.fit import Data, FitSettings, Task, make_optimizers

SHARES = (2.0, 3.0, 1.0)  # of the time: autoencoder, flow, grain
PREPARATION = 0.25  # at most so much of a stage's time goes into latents or reconstructions
GPU_BATCH = 512
READ_EVERY = 100  # steps between two looks at the loss
PIECES_EVERY = 60.0  # seconds between two sets of pieces
RESERVE = 0.03  # of the minutes, but at most 10 s, are kept for the model folder
SNAPSHOT_SPEED = 1_000.0  # images/s from which the held-out galaxies cost no time worth saving
STATISTICS = 512  # galaxies that the mean and deviation of the latents are measured on


AnyRecipe = TypeVar("AnyRecipe", Recipe, AutoencoderRecipe, GrainRecipe)


@dataclass
class Log:
    """DIR/log.jsonl, and the same on stderr.

    Attributes:
        path: the file.
        started: time of the start, `time.monotonic`.
    """

    path: Path
    started: float

    def say(self, **values: Any) -> None:
        """Add a line; the seconds since the start come first."""
        line = json.dumps({"seconds": round(time.monotonic() - self.started, 1), **values})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        sys.stderr.write(line + "\n")


@dataclass
class Stage:
    """One of the three trainings.

    Attributes:
        name: autoencoder, flow or grain.
        task: what learns, and its loss.
        data: where batches come from.
        recipe: of this stage, with batch and learning rate as they are used.
        network: the part of what learns that generates.
        settings: its shape.
        spread: of the latents, for the flow.
        measure: what has to be measured anew when weights have changed; its argument is a number of galaxies.
    """

    name: str
    task: Task
    data: Data
    recipe: Recipe | AutoencoderRecipe | GrainRecipe
    network: nn.Module
    settings: Settings
    spread: float = 1.0
    measure: Callable[[int], None] | None = None

    @property
    def fit(self) -> FitSettings:
        """How it is trained."""
        return self.recipe.fit


@dataclass
class _Means:
    """Means of loss and measurements since the last look, kept on the device."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] = self.counts.get(name, 0) + 1

    def read(self) -> dict[str, float]:
        """The means, for which the device is waited for once; starts anew."""
        sums = torch.stack([value.float() for value in self.sums.values()]).tolist() if self.sums else []
        found = {name: value / self.counts[name] for name, value in zip(self.sums, sums, strict=True)}
        self.sums, self.counts = {}, {}
        return found


class PackTraining:
    """Train the stages of a pack one after the other, with all that they share."""

    def __init__(
        self,
        pack: Pack,
        out: Path,
        *,
        started: float,
        minutes: float,
        device: torch.device,
        batch: int | None,
        compiled: bool,
        features: FeatureMaps | None,
    ) -> None:
        """Args are those of `train_pack`; started: when the clock began."""
        self.pack, self.out, self.device, self.compiled, self.features = pack, out, device, compiled, features
        self.batch_size = batch if batch is not None else GPU_BATCH if device.type == "cuda" else None
        self.end = started + 60 * minutes - min(10.0, RESERVE * 60 * minutes)
        self.log = Log(out / "log.jsonl", started)
        self.pool = DevicePool(pack.train, device)
        self.surveys = tuple(survey.token for survey in pack.info.surveys)
        self.autoencoder: Autoencoder | None = None
        self.autoencoder_sum: str | None = None

    def adopt(self, start: str, stages: Sequence[str]) -> None:
        """Take over the parts of a model that are not trained, and send them out as pieces of this run.

        Raises:
            InputError: they do not fit the pack, or cannot be read.
        """
        if "autoencoder" in stages:
            raise InputError(
                f"--from {start}: none of its parts fits an autoencoder that is trained anew; leave it out"
            )
        autoencoder, record, _ = load_autoencoder(start, self.device)
        if autoencoder.settings.size != self.pool.size:
            raise InputError(
                f"{start}: draws {autoencoder.settings.size} px, the pack has images of {self.pool.size} px"
            )

        def told(name: str) -> ModelRecord:
            return self._record({key: values for key, values in record.training.items() if key == name})

        self._keep_autoencoder(autoencoder, told("autoencoder"))
        try:
            model = load_model(start, self.device)
        except InputError:
            return  # an autoencoder alone
        same = model.denoiser.surveys == self.surveys and model.denoiser.tree.columns == self.pack.info.tree.columns
        if "flow" not in stages:
            if not same:
                raise InputError(f"{start}: has other surveys or another tree than the pack; train the flow, too")
            unet = model.denoiser.unet
            self._send("flow", unet, unet.settings, told("generator"), spread=model.denoiser.spread)
        if "grain" not in stages and same and model.grain is not None:
            self._send("grain", model.grain, model.grain.settings, told("grain"))

    def stage(self, name: str, until: float) -> Stage:
        """Make a stage ready: its network, task and data.

        Raises:
            InputError: it needs an autoencoder that was neither trained nor given.
        """
        if name == "autoencoder":
            return self._autoencoder_stage()
        if self.autoencoder is None:
            raise InputError(f"--stages {name}: needs an autoencoder; add it, or give a model (--from)")
        prepared = time.monotonic() + PREPARATION * (until - time.monotonic())
        make = self._flow_stage if name == "flow" else self._grain_stage
        return make(self.autoencoder, prepared)

    def _autoencoder_stage(self) -> Stage:
        recipe = self._scaled(self.pack.info.recipes.autoencoder)
        torch.manual_seed(recipe.fit.seed)
        autoencoder = Autoencoder(recipe.network).to(self.device)
        task = AutoencoderTask(autoencoder, recipe.task, self.pack.val, self.features)
        task.model.to(self.device)
        if self.features is None and recipe.task.perceptual:
            self.log.say(stage="autoencoder", note="without --features the perceptual term is left out")

        def measure(sample: int) -> None:
            task.measure_latents(self.pack.train, sample)

        return Stage("autoencoder", task, self.pool, recipe, autoencoder, recipe.network, measure=measure)

    def _flow_stage(self, autoencoder: Autoencoder, until: float) -> Stage:
        recipe = self._scaled(self.pack.info.recipes.flow)
        torch.manual_seed(recipe.fit.seed)
        latents = DeviceLatents(self.pool, autoencoder, chunk=max(64, recipe.fit.batch), until=until)
        self.log.say(stage="flow", encoded=len(latents.rows), orientations=len(latents.latents))
        tree, shape = self.pack.info.tree, autoencoder.settings
        settings = NetworkSettings(
            size=shape.latent_size,
            channels=shape.channels,
            answers=len(tree.columns),
            questions=len(tree.questions),
            surveys=len(self.surveys),
            **recipe.network.model_dump(),
        )
        denoiser = GalaxyDenoiser(settings, latents.spread(), tree, self.surveys).to(self.device)
        task = FlowTask(denoiser, autoencoder, recipe.task, self.pack.val)
        return Stage("flow", task, latents, recipe, denoiser.unet, settings, denoiser.spread)

    def _grain_stage(self, autoencoder: Autoencoder, until: float) -> Stage:
        recipe = self._scaled(self.pack.info.recipes.grain)
        torch.manual_seed(recipe.fit.seed)
        pairs = DevicePairs(self.pool, autoencoder, chunk=max(64, recipe.fit.batch), until=until)
        self.log.say(stage="grain", decoded=len(pairs.rows))
        settings = GrainSettings(spread=pairs.spread(), surveys=len(self.surveys), **recipe.network.model_dump())
        grain = GrainNetwork(settings).to(self.device)
        return Stage("grain", GrainTask(grain, autoencoder, recipe.task, self.pack.val), pairs, recipe, grain, settings)

    def _scaled(self, recipe: AnyRecipe) -> AnyRecipe:
        """A recipe with the batch that is used here, and the learning rate that goes with it."""
        batch = self.batch_size or recipe.fit.batch
        rate = recipe.fit.learning_rate * math.sqrt(batch / recipe.fit.batch)
        fit = recipe.fit.model_copy(update={"batch": batch, "learning_rate": rate})
        return recipe.model_copy(update={"fit": fit})

    def learn(self, stage: Stage, until: float) -> None:
        """Train a stage until a time, and leave its averaged weights in its network.

        Raises:
            InputError: the loss is not finite.
        """
        task, settings, device = stage.task, stage.fit, self.device
        rise = min(0.5, settings.warmup / stage.recipe.images) or 1e-9
        optimizers = make_optimizers(task.model, settings)
        weights = [weight for weight in task.model.parameters() if weight.requires_grad]
        average = ExponentialMovingAverage(task.model, fraction=settings.average)
        generator = torch.Generator(device).manual_seed(settings.seed)
        task.model.train()
        for module in task.model.modules():
            if isinstance(module, GalaxyUNet):  # it would normalise its weights in every pass; here it is done outside
                module.eval()
        model = cast(nn.Module, torch.compile(task.model, dynamic=False)) if self.compiled else task.model
        means, begun, steps, number = _Means(), None, 0, 1
        progress, speed = 0.0, 0.0
        looked, looked_steps, sent = time.monotonic(), 0, time.monotonic()
        while progress < 1:
            batch = task.prepare(stage.data.batch(settings.batch, generator), generator, progress)
            loss, measured = task.loss(model, batch, generator)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(weights, settings.clip)
            rate = settings.learning_rate * min(1.0, 0.01 + progress / rise, _rest(progress, settings.cooldown))
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = rate
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            normalise_weights(task.model)
            steps += 1
            average.update(task.model, images_seen=steps * settings.batch, batch=settings.batch)
            means.add(
                {
                    "loss": loss.detach(),
                    **{key: torch.as_tensor(value, device=device) for key, value in measured.items()},
                }
            )
            if begun is None:  # compiling and choosing kernels belongs to no schedule
                _synchronise(device)
                begun = looked = time.monotonic()
                looked_steps = steps
            now = time.monotonic()
            progress = min(1.0, (now - begun) / (until - begun)) if until > begun else 1.0
            if steps % READ_EVERY == 0 or progress >= 1:
                seen = means.read()
                now = time.monotonic()
                speed = (steps - looked_steps) * settings.batch / max(now - looked, 1e-6)
                looked, looked_steps = now, steps
                self.log.say(
                    stage=stage.name,
                    images_seen=steps * settings.batch,
                    images_per_second=round(speed),
                    learning_rate=rate,
                    **{name: round(value, 5) for name, value in seen.items()},
                )
                if not math.isfinite(seen["loss"]):
                    raise InputError(
                        f"{stage.name}: the loss is not finite after {steps * settings.batch} images; lower "
                        f"{stage.name}.fit.learning_rate (--set), now {settings.learning_rate:g}"
                    )
            if now - sent > PIECES_EVERY and progress < 1:
                self._send_average(stage, average, number, self._told(stage, steps, now - begun, None))
                sent, number = time.monotonic(), number + 1
        seconds = time.monotonic() - (begun or looked)
        held_out = None
        if _speed(steps, settings.batch, seconds) >= SNAPSHOT_SPEED:
            measured_now = task.snapshot(average.weights, self.out, steps * settings.batch)
            self.log.say(stage=stage.name, **measured_now)
            held_out = measured_now.get("held_out")
        self._send_average(stage, average, number, self._told(stage, steps, seconds, held_out), last=True)

    def _send_average(
        self,
        stage: Stage,
        average: ExponentialMovingAverage,
        number: int,
        told: dict[str, Any],
        *,
        last: bool = False,
    ) -> None:
        """Send the averages out; the last ones stay in the network."""
        own = None if last else {name: value.clone() for name, value in stage.task.model.state_dict().items()}
        stage.task.model.load_state_dict(average.weights)
        normalise_weights(stage.network)  # an average of unit vectors is shorter than one
        if stage.measure is not None:
            stage.measure(STATISTICS if last else STATISTICS // 4)
        record = self._record({"generator" if stage.name == "flow" else stage.name: told})
        if last:
            stage.task.model.eval()
        if last and isinstance(stage.network, Autoencoder):
            self._keep_autoencoder(stage.network, record, number=number)
        else:
            self._send(stage.name, stage.network, stage.settings, record, number=number, spread=stage.spread)
        if own is not None:
            stage.task.model.load_state_dict(own)

    def _keep_autoencoder(self, autoencoder: Autoencoder, record: ModelRecord, *, number: int = 0) -> None:
        """The autoencoder that the other stages work on: rounded, as those who join the pieces will have it."""
        with torch.no_grad():
            for value in autoencoder.state_dict().values():
                value.copy_(value.half())
        self.autoencoder = autoencoder.eval().requires_grad_(False)
        self.autoencoder_sum = self._send("autoencoder", autoencoder, autoencoder.settings, record, number=number)

    def _send(
        self,
        stage: str,
        network: nn.Module,
        settings: Settings,
        record: ModelRecord,
        *,
        number: int = 0,
        spread: float = 1.0,
    ) -> str:
        return write_pieces(
            self.out,
            stage,
            number,
            network.state_dict(),
            network=settings,
            record=record,
            spread=spread,
            autoencoder=None if stage == "autoencoder" else self.autoencoder_sum,
        )

    def _told(self, stage: Stage, steps: int, seconds: float, held_out: float | None) -> dict[str, Any]:
        """What the record of the model says of a stage."""
        device = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        return {
            "recipe": json.loads(stage.recipe.model_dump_json()),
            "data": self.pack.info.counts,
            "data_hash": self.pack.hash,
            "start": None,
            "features": self.features.hash if self.features is not None and stage.name == "autoencoder" else None,
            "device": device,
            "images_seen": steps * stage.fit.batch,
            "images_per_second": round(_speed(steps, stage.fit.batch, seconds)),
            "hours": round(seconds / 3600, 3),
            "held_out_loss": held_out,
        }

    def _record(self, training: dict[str, Any]) -> ModelRecord:
        info = self.pack.info
        return ModelRecord(
            tree=info.tree,
            surveys=info.surveys,
            sampling=info.recipes.flow.sampling,
            evidence=info.evidence,
            evidence_by_survey=info.evidence_by_survey,
            training=training,
        )


def train_pack(
    pack: str | Path,
    out: str | Path,
    *,
    minutes: float,
    device: str = "auto",
    batch: int | None = None,
    compiled: bool = False,
    stages: Sequence[str] = STAGES,
    shares: Sequence[float] = SHARES,
    start: str | None = None,
    overrides: Sequence[str] = (),
    features: str | Path | None = None,
) -> dict[str, Any]:
    """Train a model from a pack.

    Args:
        pack: file of `galaxysd train --pack`.
        out: folder for log, pieces and model; must be empty or not exist.
        minutes: all of it ends after so many minutes.
        device: cpu, cuda, mps, or auto for the best there is.
        batch: images per step in every stage; default 512 on a GPU, else those of the recipes.
        compiled: compile the networks (`torch.compile`).
        stages: which to train, of autoencoder, flow, grain.
        shares: how these share the time, in the order autoencoder, flow, grain.
        start: a model whose parts stand in for the stages that are not trained.
        overrides: `STAGE.key=value` of the recipes in the pack.
        features: weights of the vision network of the perceptual term.

    Returns:
        `model`, `stages`, `seconds`.

    Raises:
        InputError: the pack cannot be used, or the settings make no sense, or a loss is not finite.
    """
    started = time.monotonic()
    if not minutes > 0 or not math.isfinite(minutes):
        raise InputError(f"--minutes {minutes:g}: expected a number above 0")
    if batch is not None and batch < 1:
        raise InputError(f"--batch {batch}: expected a number of images, at least 1")
    if not stages or (unknown := [name for name in stages if name not in STAGES]):
        raise InputError(f"--stages {','.join(stages)}: expected some of {','.join(STAGES)}, not {unknown or 'none'}")
    if len(shares) != len(STAGES) or not all(share > 0 for share in shares):
        raise InputError(f"--shares: expected three numbers above 0, for {', '.join(STAGES)}")
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: exists and is not an empty folder; choose another")
    place = find_device(_best_device() if device == "auto" else device)
    read = read_pack(pack)
    if overrides:
        changed = read.info.model_copy(update={"recipes": read.info.recipes.overridden(overrides)})
        read = Pack(changed, read.train, read.val, read.hash)
    ordered = [name for name in STAGES if name in stages]
    if start is None and ordered[0] != "autoencoder":
        raise InputError(f"--stages {','.join(ordered)}: needs an autoencoder; add it, or give a model (--from)")
    if place.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    looking = _features(features, place)
    out.mkdir(parents=True, exist_ok=True)
    training = PackTraining(
        read,
        out,
        started=started,
        minutes=minutes,
        device=place,
        batch=batch,
        compiled=compiled,
        features=looking,
    )
    training.log.say(pack=read.hash, galaxies=len(read.train), device=str(place), torch=torch.__version__)
    if start is not None:
        training.adopt(start, ordered)
    import_module("torch._dynamo")  # every optimizer does so, in seconds that would fall to the first stage alone
    share = dict(zip(STAGES, shares, strict=True))
    for index, name in enumerate(ordered):
        now = time.monotonic()
        until = now + max(0.0, training.end - now) * share[name] / sum(share[other] for other in ordered[index:])
        training.learn(training.stage(name, until), until)
    made = join(out, out / "model")
    seconds = round(time.monotonic() - started, 1)
    training.log.say(done=True, model=str(out / "model"), stages=made)
    return {"model": str(out / "model"), "stages": list(made), "seconds": seconds}


def _speed(steps: int, batch: int, seconds: float) -> float:
    """Images/s since the end of the first step."""
    return (steps - 1) * batch / max(seconds, 1e-6)


def _rest(progress: float, cooldown: float) -> float:
    return (1 - progress) / cooldown if cooldown else 1.0


def _best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _features(path: str | Path | None, device: torch.device) -> FeatureMaps | None:
    if path is None:
        return None
    from galaxysd.diffusion.lite_maps import LiteMaps

    return LiteMaps(path, device)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code: 0 done, 2 bad input, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m galaxysd.diffusion.train", description="Train a generator from a pack, or join its pieces."
    )
    parser.add_argument("pack", nargs="?", help="file of `galaxysd train --pack`")
    parser.add_argument("--out", type=Path, help="folder for log, pieces and model")
    parser.add_argument("--minutes", type=float, help="all of it ends after so many minutes")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps; default the best there is")
    parser.add_argument("--batch", type=int, help=f"images per step; default {GPU_BATCH} on a GPU, else the recipes'")
    parser.add_argument("--compile", action="store_true", help="compile the networks")
    parser.add_argument("--stages", default=",".join(STAGES), help="which to train; default all: %(default)s")
    parser.add_argument("--shares", default="2,3,1", help="how the stages share the time; default %(default)s")
    parser.add_argument("--from", dest="start", help="model whose parts stand in for the stages that are not trained")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="STAGE.key=value of the recipes")
    parser.add_argument("--features", help="safetensors of a vision network, for the perceptual term")
    parser.add_argument("--join", nargs=2, metavar=("DIR", "MODEL"), help="make a model folder of the pieces in DIR")
    asked = parser.parse_args(arguments)
    try:
        if asked.join is not None:
            made = join(*asked.join)
            print(f"joined {', '.join(made)}\nmodel  {asked.join[1]}")
            return
        if asked.pack is None or asked.out is None or asked.minutes is None:
            raise InputError("needs PACK, --out and --minutes, or --join DIR MODEL; see --help")
        try:
            shares = [float(share) for share in asked.shares.split(",")]
        except ValueError:
            raise InputError(f"--shares {asked.shares}: expected three numbers, such as 2,3,1") from None
        result = train_pack(
            asked.pack,
            asked.out,
            minutes=asked.minutes,
            device=asked.device,
            batch=asked.batch,
            compiled=asked.compile,
            stages=asked.stages.split(","),
            shares=shares,
            start=asked.start,
            overrides=asked.settings,
            features=asked.features,
        )
        print(f"trained {', '.join(result['stages'])} in {result['seconds']:g} s\nmodel  {result['model']}")
    except InputError as error:
        sys.stderr.write(f"galaxysd: {' '.join(str(error).split())}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("galaxysd: interrupted; --join makes a model of the pieces so far\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
