"""The faults: what is replaced by what in which file, and the tests that must fail then.

The old text stands exactly once in its file; it is as short as it can be, so that it survives a rewrite of names and
docstrings around it.
"""

from typing import NamedTuple


class Fault(NamedTuple):
    """A fault.

    Attributes:
        name: unique.
        area: of the program, for `--area`.
        file: relative to the repository.
        old: text that stands there exactly once.
        new: text that replaces it.
        tests: arguments of pytest, separated by blanks; `-k WORD` takes one word.
    """

    name: str
    area: str
    file: str
    old: str
    new: str
    tests: str


def _faults(area: str, file: str, tests: str, *changes: tuple[str, ...]) -> list[Fault]:
    """Faults of one file: name, old text, new text and, where others must fail, tests."""
    return [Fault(name, area, file, old, new, *(others or (tests,))) for name, old, new, *others in changes]


ENGINE = _faults(
    "engine",
    "generation/engine.py",
    "tests/test_engine.py",
    ("flow never reaches the networks", "flow=self._tensor(", "flow=None and self._tensor("),
    (
        "sign of the action-unit difference",
        "clip.action_units[part] - clip.action_units[reference]",
        "clip.action_units[reference] - clip.action_units[part]",
    ),
    (
        "action units relative to frame 0 for any reference",
        "clip.action_units[part] - clip.action_units[reference]",
        "clip.action_units[part] - clip.action_units[0]",
    ),
    ("action units of a code are absolute", "action_units[part] - action_units[0]", "action_units[part]"),
    (
        "reconstruction repeats frame 0",
        "self._motion(clip, part), self",
        "{k: v.expand(part.stop - part.start, *v.shape[1:]) for k, v in face.motion.items()}, self",
    ),
    ("motion is relative to frame 0 for any reference", "slice(reference, reference + 1)", "slice(0, 1)"),
    (
        "flow starts at frame 0 for any reference",
        "driving.landmarks,\n            reference,",
        "driving.landmarks,\n            0,",
    ),
    ("flow is half as large", "keep_head=keep_head) / half)", "keep_head=keep_head) / half / 2)"),
    ("flow always removes the head motion", "keep_head=keep_head)", "keep_head=False)"),
    ("head motion stays in the landmarks", "driven = remove_head_motion(driven, reference)", "pass"),
    ("movement is always scaled to the face", "params.normalization_params.scaling", '"similarity"'),
    ("mode standard is relative", "moved, initial, params.mode", 'moved, initial, "relative"'),
    ("pictures are rounded down", "* 255).round()", "* 255).floor()"),
    ("only the first batch is generated", "range(0, length, self.batch_size))", "range(0, 1, self.batch_size))"),
)

TRANSFER = [
    *_faults(
        "transfer",
        "faces/alignment.py",
        "tests/test_alignment.py",
        (
            "vectors turn the other way",
            "self.factor[..., None] * to_complex(vectors)",
            "self.factor.conj()[..., None] * to_complex(vectors)",
        ),
        ("moving points count as much as others", "prior / (1 + (residual / (2 * spread)) ** 2)", "prior"),
        ("head motion is doubled", ".inverse().apply(landmarks)", ".apply(landmarks)"),
    ),
    *_faults(
        "transfer",
        "faces/dense_transfer.py",
        "tests/test_dense_transfer.py",
        ("flow is not turned", "self.similarity.turn(motion)", "motion"),
        ("the background moves with the face", "reshape(-1, 2) * self.face", "reshape(-1, 2)"),
        ("the kept head motion is lost", "if keep_head:", "if False:"),
    ),
    *_faults(
        "transfer",
        "faces/clip_motion.py",
        "tests/test_clip_motion.py",
        ("noise moves the face", "self._without_head(index) * self.moving[..., None]", "self._without_head(index)"),
        ("flow keeps the head motion", "self.head(index).inverse().apply(moved)", "moved"),
        ("fast motion counts as noise", "[1, -4, 6, -4, 1]", "[0, 1, -2, 1, 0]"),
        ("small motion counts as noise", "STILL, MOVING = 4.0, 8.0", "STILL, MOVING = 400.0, 800.0"),
        ("cached flow is rounded", "motion.astype(np.float16)", "motion.round(1).astype(np.float16)"),
    ),
    *_faults(
        "transfer",
        "faces/dense_flow.py",
        "tests/test_dense_flow.py",
        ("flow is not scaled back", "EYE_DISTANCE) / self.scale,", "EYE_DISTANCE),"),
        ("flow is blurred away", "(0, 0), SMOOTHING * EYE_DISTANCE)", "(0, 0), 20 * SMOOTHING * EYE_DISTANCE)"),
        (
            "flow is not refined",
            "self.refinement.calc(self.reference, image, optical_flow(self.dis, first, second))",
            "optical_flow(self.dis, first, second)",
        ),
    ),
    *_faults(
        "transfer",
        "modules/geometry.py",
        "tests/test_geometry.py",
        (
            "forward flow is used as backward flow",
            "for _ in range(iterations):\n        at = grid",
            "for _ in range(0):\n        at = grid",
        ),
    ),
    *_faults(
        "transfer",
        "modules/warp/model.py",
        "tests/test_warp.py",
        ("warp ignores flow", "if condition is not None and condition.flow is not None:", "if False:"),
    ),
]

TRAINING = [
    *_faults(
        "training",
        "train.py",
        "tests/test_train.py",
        ("a resumed run forgets its optimisers", "load_optimisers(job.optimisers, contents, resumed)", "pass"),
    ),
    *_faults(
        "training",
        "core/progress.py",
        "tests/test_train.py",
        ("a resumed run repeats an epoch", "finished_epoch(contents, epoch_key, path) + 1", "0"),
        ("a resumed run repeats steps", "stored_count(contents, key, path)", "0"),
        ("an interrupted run forgets its steps", '"step": self.step', '"step": 0'),
        ("an interrupted run forgets its pairs", '"pairs": self.pairs', '"pairs": 0'),
        ("the batch size of an older checkpoint is ignored", "_stored_batch_size(contents, section) or ", ""),
    ),
    *_faults(
        "training",
        "core/optimisation.py",
        "tests/test_train.py",
        ("milestones change nothing", "rate * 0.1**passed", "rate"),
        ("milestones act an epoch late", "epoch >= milestone", "epoch > milestone"),
        (
            "gradients are not clipped",
            "clip_grad_norm_(parameters, limit,",
            "clip_grad_norm_(parameters, 1e9,",
            "tests/test_train.py -k clipped",
        ),
        ("gradients add up", "entry.optimizer.zero_grad()", "pass"),
        (
            "infinite losses train on",
            "in numbers.items() if not value - value == 0",
            "in numbers.items() if value != value",
            "tests/test_train.py -k finite",
        ),
        ("broken gradients train on", "if broken and (", "if False and (", "tests/test_train.py -k finite"),
        ("broken weights are saved", "if not torch.isfinite(value)]", "if False]", "tests/test_train.py -k break"),
        (
            "16-mixed stops where a scale is tried",
            "(self._scaler is None or self._skipped > MAX_SKIPPED)",
            "True",
            "tests/test_optimisation.py",
        ),
        (
            "the adversary steps with the others",
            "entry.adversary == adversary",
            "True",
            "tests/test_train.py -k optimiser_steps",
        ),
    ),
    *_faults(
        "training",
        "core/run_folder.py",
        "tests/test_train.py",
        ("steps are logged twice after a resume", "last <= step < total_steps", "True"),
        ("settings of a resumed run replace the first ones", "if not first.exists():", "if True:"),
    ),
    *_faults(
        "training",
        "core/stop_signal.py",
        "tests/faults/test_training_faults.py -k signal",
        ("workers end before the run is saved", "si_pid != parent.pid", "si_pid == parent.pid"),
    ),
    *_faults(
        "training",
        "trainer.py",
        "tests/test_train.py",
        (
            "every epoch is the first one's order",
            "self.sampler.start(epoch, progress.pairs)",
            "self.sampler.start(0, progress.pairs)",
        ),
        (
            "mixed precision changes nothing",
            "with self.fabric.autocast():\n                terms",
            "if True:\n                terms",
            "tests/test_options.py -k precision",
        ),
        (
            "head motion stays in training pairs",
            "remove_head_motion=self.job.remove_head_motion",
            "remove_head_motion=False",
        ),
        ("an interrupted run claims its epoch", "epoch=progress.epoch - 1", "epoch=progress.epoch"),
        ("steps are counted from each epoch's start", "progress.total_steps, values", "progress.step, values"),
        ("the exit status of a signal is 0", "128 + (stop.number", "0 * (stop.number"),
    ),
    *_faults(
        "training",
        "core/devices.py",
        "tests/test_train.py",
        (
            "random numbers repeat in every epoch",
            "(seed, epoch, step, rank)",
            "(seed, step, rank)",
            "tests/test_train.py -k random_numbers",
        ),
        (
            "random numbers repeat in every step",
            "(seed, epoch, step, rank)",
            "(seed, epoch, rank)",
            "tests/test_train.py -k random_numbers",
        ),
        (
            "devices draw the same random numbers",
            "(seed, epoch, step, rank)",
            "(seed, epoch, step)",
            "tests/test_train.py -k random_numbers",
        ),
    ),
    *_faults(
        "training",
        "core/checkpoint_series.py",
        "tests/test_train.py",
        (
            "the newest checkpoints are removed",
            "numbered[: -self.keep]",
            "numbered[self.keep :]",
        ),
    ),
]

DATA = [
    *_faults(
        "data",
        "frames_dataset.py",
        "tests/test_frames_dataset.py",
        (
            "epochs are not shuffled",
            "np.random.default_rng((self.seed, self.epoch)).permutation(self.length)",
            "np.arange(self.length)",
        ),
        ("all epochs have one order", "(self.seed, self.epoch)", "(self.seed, 0)"),
        ("all seeds have one order", "(self.seed, self.epoch)", "(0, self.epoch)"),
        ("all epochs draw the same pairs", "(self.seed, epoch, index)", "(self.seed, index)"),
        ("processes train on the same pairs", "order[self.rank :: self.world_size]", "order[0 :: self.world_size]"),
        (
            "the difference is source minus driving",
            "clip.action_units[j] - clip.action_units[i]",
            "clip.action_units[i] - clip.action_units[j]",
        ),
        ("the source has the driving action units", "clip.action_units[i]))", "clip.action_units[j]))"),
        ("the driving frame is the second one", "1 + rng.integers(len(clip) - 1)", "1"),
        ("one noise for both frames", "diff + noise[1] - noise[0]", "diff + noise[1] - noise[1]"),
        ("all clips show one person", "self.subjects[subject_of(clip.name)]", "0"),
        ("driving landmarks are the source's", "clip.to_units(clip.landmarks[j])", "clip.to_units(clip.landmarks[i])"),
    ),
    *_faults(
        "data",
        "augmentation.py",
        "tests/test_augmentation.py",
        ("mirrored landmarks keep their order", "points[:, list(MIRRORED_LANDMARKS)]", "points"),
        ("mirrored action units keep their side", "out[k].flip(-1), out[k]", "out[k], out[k]"),
        ("the picture is not mirrored", "frames.flip(-1), frames)", "frames, frames)"),
        ("exchanged frames keep the sign", "-change, change)", "change, change)"),
        ("exchanged frames keep the source's action units", "start + change, start)", "start, start)"),
        ("landmarks move against the picture", "(points - affine[:, None, :, 2])", "(points + affine[:, None, :, 2])"),
        ("contrast changes brightness", "level + (frames - level) * contrast", "frames * contrast"),
        (
            "turning shifts by half a pixel",
            "list(flat.shape), align_corners=True)",
            "list(flat.shape), align_corners=False)",
        ),
        (
            "head motion is exchanged",
            "return from_mean, _compose(to_driving, from_mean)",
            "return _compose(to_driving, from_mean), from_mean",
        ),
        ("magnification is its inverse", "pixels / np.exp(", "pixels * np.exp("),
        ("hue turns the other way for nobody", "(-params.hue, params.hue)", "(0, 0)"),
    ),
    *_faults(
        "data",
        "clips/frame_cache.py",
        "tests/test_frame_cache.py",
        ("the cache mixes frame sizes", '{_VERSION} {self.frame_shape}"', '{_VERSION}"'),
        ("the cache mixes clips of one name", 'hashlib.file_digest(file, "blake2b").digest()', "path.name.encode()"),
        ("derived arrays mix settings", '{clip.key} {settings}"', '{clip.key}"'),
        (
            "landmarks shift by half a pixel when resized",
            "(landmarks + 0.5) * self._scale(len(landmarks)) - 0.5",
            "landmarks * self._scale(len(landmarks))",
        ),
    ),
    *_faults(
        "data",
        "clips/crop.py",
        "tests/test_frame_cache.py",
        ("shrinking aliases", "shrinks = height < frame.shape[0]", "shrinks = False"),
    ),
    *_faults(
        "data",
        "clips/loader.py",
        "tests/test_reference_frame.py",
        ("jittering landmarks are used", 'self.params.landmarks == "file" or not (', "True or not ("),
    ),
    *_faults(
        "data",
        "clips/loader.py",
        "tests/test_frames_dataset.py",
        (
            "landmark files are never tracked",
            'self.params.landmarks != "track"',
            "True",
            "tests/test_options.py -k landmarks",
        ),
        ("tracks of other reference frames are taken", 'f"tracked from {reference} ', 'f"tracked from 0 '),
        (
            "network units are those of another convention",
            "(np.array([width, height]) - 1) - 1",
            "np.array([width, height]) - 1",
        ),
        ("the reference row is the first", "[min(reference, len(rows) - 1)]", "[0]"),
    ),
    *_faults(
        "data",
        "clips/splits.py",
        "tests/test_frames_dataset.py",
        ("train and test are exchanged", 'in test) == (split == "test")', 'in test) == (split == "train")'),
        (
            "every seed splits alike",
            "default_rng(params.split_seed)",
            "default_rng(0)",
            "tests/test_options.py -k split_seed",
        ),
    ),
]

FILES = [
    *_faults(
        "files",
        "core/checkpoints.py",
        "tests/test_checkpoints.py",
        ("steps are not remembered", '"step": step', '"step": 0'),
        ("settings of a checkpoint are not compared", "    if differing:\n", "    if False:\n"),
    ),
    *_faults(
        "files",
        "core/weights.py",
        "tests/test_weights.py",
        ("networks keep their random weights", "network.load_state_dict(state, strict=True)", "pass"),
        ("missing weights are taken as they are", "if key not in state]", "if False]", "tests/test_checkpoints.py"),
        ("weights of another size are taken", "found.shape != value.shape", "found.shape == ()"),
        ("weights may be NaN", 'if not (abs(low) < float("inf") and abs(high) < float("inf")):', "if False:"),
        ("variances may be negative", 'positive=key.endswith("running_var")', "positive=False"),
        ("prefixes of wrappers stay", "return plain if len(plain) == len(state)", "return plain if False"),
        ("one of two sets of networks is chosen", "if len(found) == 1:", "if found:"),
        ("states of an optimiser have any size", "or value.shape != parameter.shape", ""),
    ),
    *_faults(
        "files",
        "core/checkpoint_values.py",
        "tests/test_checkpoint_files.py",
        (
            "code in a checkpoint runs",
            "    if path in _OTHER_TENSORS:\n",
            "    return Constructor(__import__('pydoc').locate(path))\n    if path in _OTHER_TENSORS:\n",
            "tests/test_checkpoints.py -k python_objects",
        ),
        ("a tensor repeats a value for ever", " or elements > max(storage.numel(), MAX_EXPANDED)", ""),
    ),
    *_faults(
        "files",
        "core/checkpoint_pickle.py",
        "tests/test_checkpoint_files.py -k other_values",
        ("any value is a key", "if not isinstance(key, str | int | float | None)", "if isinstance(key, bytes)"),
    ),
    *_faults(
        "files",
        "core/checkpoint_formats.py",
        "tests/test_checkpoint_files.py",
        ("checksums are not compared", "if entry.CRC and", "if False and"),
        ("parts of an archive may overlap", "+ size > end:", "+ size > end + 10**9:"),
        ("tensors may be larger than the file", "if self._left < 0:", "if False:"),
    ),
    *_faults(
        "files",
        "core/checkpoint_files.py",
        "tests/test_checkpoint_files.py",
        ("archives unpack to any size", "if unpacked.tell() + len(chunk) > limit:", "if False:"),
    ),
    *_faults(
        "files",
        "core/files.py",
        "tests/test_checkpoints.py",
        ("a failed write leaves its rest", "    with uninterrupted():\n        _remove(temporary)", "    pass"),
        (
            "files are written under their own name",
            "temporary = _temporary(path)\n        try:\n            yield",
            "temporary = path\n        try:\n            yield",
        ),
    ),
    *_faults(
        "files",
        "generation/batch.py",
        "tests/test_animate.py",
        ("changed settings keep old results", "{self.settings} {job.inputs}", "{job.inputs}"),
        (
            "changed clips keep old results",
            "{self.settings} {job.inputs}",
            "{self.settings}",
            "tests/test_facs_codes.py",
        ),
    ),
]

CONFIG = [
    *_faults(
        "config",
        "config/published.py",
        "tests/test_load.py",
        ("published splines are exact", '{"tps_regularization": "tpsmm"}', '{"tps_regularization": "exact"}'),
        ("published sampling is ours", '{"align_corners": False', '{"align_corners": True'),
        ("published resizing is ours", '{"resize_align_corners": False}', '{"resize_align_corners": True}'),
        ("published noise is larger", '"dataset_params.au_noise"] = 0.02', '"dataset_params.au_noise"] = 0.2'),
        ("published landmarks are grouped as ours", '] = "megc2022"', '] = "spread"'),
        ("published landmarks are not squashed", '] = "sigmoid"', '] = "linear"'),
        (
            "published absolute motion is relative",
            '"animate_params.mode"] = "standard"',
            '"animate_params.mode"] = "relative"',
        ),
        (
            "published regions are symmetric",
            '"region_affine"] = "principal"',
            '"region_affine"] = "symmetric"',
            "tests/test_load.py tests/test_mraa.py -k published",
        ),
        (
            "published heat maps have the moved shape",
            '"relative_covar"] = "driving"',
            '"relative_covar"] = "moved"',
            "tests/test_load.py tests/test_mraa.py -k published",
        ),
        (
            "every published file with 18 regions has a prior",
            'regions.get("pad", 3) == 3',
            "True",
            "tests/test_load.py tests/test_mraa.py -k published",
        ),
        ("a published file wins over its own keys", "at.setdefault(key, value)", "at[key] = value"),
    ),
    *_faults(
        "config",
        "config/load.py",
        "tests/test_load.py",
        ("--set changes nothing", "at[key] = parse_value(value)", "pass"),
    ),
    *_faults(
        "config",
        "parsing/yaml_files.py",
        "tests/test_yaml_files.py tests/test_load.py",
        ("clip names with zeros are numbers", "[-+]?(?:0|[1-9][0-9]*)\\Z", "[-+]?[0-9]+\\Z"),
        ("a repeated key wins", "if key in parent.keys:", "if False:"),
        ("YAML nests without limit", "if len(self.open) == MAX_DEPTH:", "if False:"),
        ("a second document is ignored", "if documents > 1:", "if False:"),
        ("aliases share their values", "self._add(deepcopy(value)", "self._add(value"),
        ("a value of --set ends at #", 'if not comments and "#" in text:', "if False:"),
        ("a tag names any type", "if name in allowed and event", "if event"),
    ),
    *_faults(
        "config",
        "config/network_sizes.py",
        "tests/test_load.py",
        ("levels may have fewer channels than the first", "network.block_expansion > network.max_features", "False"),
        ("networks halve a single value", "if lowest[0] * lowest[1] * (batch_size or 1) < 2:", "if False:"),
        ("images of the pyramid vanish", "if int(min(frame) * least) < smallest:", "if False:"),
    ),
    *_faults(
        "config",
        "config/ranges.py",
        "tests/test_load.py",
        ("scales repeat", 'len({f"{value:g}" for value in values}) < len(values)', "False"),
    ),
    *_faults(
        "config",
        "parsing/files.py",
        "tests/test_load.py",
        ("~ is a folder", ".expanduser()", ""),
    ),
    *_faults(
        "config",
        "core/memory.py",
        "tests/test_memory.py",
        ("no memory warning", "if bytes_needed > available:", "if False:"),
        ("memory of generation is that of training", 'if work == "generate":', "if False:"),
    ),
]

GEOMETRY = [
    *_faults(
        "geometry",
        "modules/geometry.py",
        "tests/test_geometry.py",
        (
            "coordinates are yx",
            "[x.expand(height, width), y[:, None].expand(height, width)]",
            "[y[:, None].expand(height, width), x.expand(height, width)]",
        ),
        (
            "coordinates end at pixel edges",
            "torch.linspace(-1, 1, width,",
            "torch.linspace(-1 + 1 / width, 1 - 1 / width, width,",
        ),
        ("heat maps are narrower", "torch.exp(-0.5 * offset", "torch.exp(-1.0 * offset", "tests/test_loss_details.py"),
        (
            "sampling ignores its convention",
            "padding_mode=padding, align_corners=align_corners",
            "padding_mode=padding, align_corners=False",
        ),
        (
            "resizing ignores its convention",
            'mode="bilinear", align_corners=align_corners',
            'mode="bilinear", align_corners=False',
        ),
        ("the inverse has the wrong sign", "[d, -b]", "[d, b]"),
        (
            "movement is not turned",
            "[cos * x - sin * y, sin * x + cos * y]",
            "[cos * x, cos * y]",
        ),
        (
            "movement turns the other way",
            "[cos * x - sin * y, sin * x + cos * y]",
            "[cos * x + sin * y, cos * y - sin * x]",
        ),
        (
            "movement is scaled by the inverse ratio",
            "hull_area(source) / hull_area(driving_initial)",
            "hull_area(driving_initial) / hull_area(source)",
        ),
        ("movement is scaled by the area", "hull_area(driving_initial)).sqrt()", "hull_area(driving_initial))"),
        ("homographies are not divided", "mapped[..., :2] / mapped[..., 2:]", "mapped[..., :2]"),
        (
            "moving points count as much in the batch, too",
            "weight = (1 + residual",
            "weight = weight * 0 + (1 + 0 * residual",
            "tests/test_loss_details.py",
        ),
        (
            "the length of motion is squared",
            "(pixels.square().sum(-1) + 1e-8).sqrt()",
            "(pixels.square().sum(-1) + 1e-8)",
            "tests/test_loss_details.py",
        ),
    ),
    *_faults(
        "geometry",
        "modules/thin_plate_spline.py",
        "tests/test_thin_plate_spline.py",
        ("the spline has no smoothing", "[smoothing] * n", "[0.0] * n"),
        ("the published spline is regularised less", "(n + 3,), 0.01)", "(n + 3,), 0.001)", "tests/test_golden.py"),
        ("equal points move", "values = target - control", "values = target"),
        (
            "the inverse of a warp takes one step",
            "for _ in range(iterations):\n            step",
            "for _ in range(1):\n            step",
        ),
        ("the derivative of a warp is its transpose", "offset.sign() * (2 * distance", "offset * (2 * distance"),
    ),
    *_faults(
        "geometry",
        "modules/local_motion.py",
        "tests/test_local_motion.py",
        (
            "flow is ignored",
            "if flow is None:",
            "if True:",
            "tests/test_fomm.py tests/test_mraa.py",
        ),
        (
            "local motions ignore their turn",
            'torch.einsum("bkij,bkhwj->bkhwi", linear, offset)',
            "offset",
            "tests/test_fomm.py tests/test_mraa.py -k numbers",
        ),
    ),
]

FAMILIES = [
    *_faults(
        "losses",
        "modules/losses.py",
        "tests/test_tps.py tests/test_options.py -k losses",
        (
            "only the full size counts",
            "total((p - d).abs().mean() for p, d in pairs)",
            "total((p - d).abs().mean() for p, d in pairs[:1])",
            "tests/test_options.py -k scales",
        ),
        (
            "perceptual layers have no weights",
            "weight * (p - t).abs().mean()",
            "(p - t).abs().mean()",
            "tests/test_options.py -k perceptual",
        ),
    ),
    *_faults(
        "losses",
        "modules/tps/model.py",
        "tests/test_tps.py",
        (
            "equivariance compares unwarped keypoints",
            'warp(self.motion(warped)["fg_kp"])',
            'self.motion(warped)["fg_kp"]',
            "tests/test_loss_details.py",
        ),
        ("the background need not return", "identity - there @ back", "identity - there", "tests/test_loss_details.py"),
        (
            "dropout grows without limit",
            "min(grown, section.dropout_maxp)",
            "grown",
            "tests/test_options.py -k dropout",
        ),
        (
            "the relative constraint is at once at its height",
            "min(1.0, epoch / warmup) if warmup",
            "1.0 if warmup",
            "tests/test_options.py -k warmup",
        ),
        (
            "others drive with their own action units",
            'batch["au_diff"].roll(-1, 0)',
            'batch["au_diff"]',
            "tests/test_au_estimator.py tests/test_au_conditioning.py",
        ),
        (
            "the AVD network is ignored",
            "self._avd(kp_source.expand_as(kp_driving), kp_driving)",
            "kp_driving",
            "tests/test_engine.py",
        ),
        (
            "the AVD network gets the people exchanged",
            "self.avd_network(kp_source.flatten(1), kp_driving.flatten(1))",
            "self.avd_network(kp_driving.flatten(1), kp_source.flatten(1))",
            "tests/test_engine.py",
        ),
        (
            "the AVD network learns from one size",
            "(1 + self.avd_params.random_scale",
            "(1 + 0 * self.avd_params.random_scale",
            "tests/test_options.py -k random_scale",
        ),
        (
            "warped features train the encoder",
            'f.detach() for f in encoded["features"]',
            'f for f in encoded["features"]',
            "tests/test_loss_details.py",
        ),
        (
            "shading learns from every loss",
            'generated["log_gain"].detach().exp()',
            'generated["log_gain"].exp()',
            "tests/test_loss_details.py",
        ),
    ),
    *_faults(
        "losses",
        "modules/tps/dense_motion.py",
        "tests/test_tps.py",
        (
            "dropped splines are kept",
            "(uniform < 1 - probability)",
            "(uniform < probability)",
            "tests/test_loss_details.py",
        ),
        (
            "heat maps have the wrong sign",
            "difference = kp2gaussian(kp_driving",
            "difference = -kp2gaussian(kp_driving",
            "tests/test_golden.py",
        ),
        (
            "the background is not moved",
            "background = apply_homography(bg_param, identity)",
            "pass",
            "tests/test_loss_details.py",
        ),
    ),
    *_faults(
        "losses",
        "modules/tps/inpainting_network.py",
        "tests/test_tps.py",
        (
            "occlusion keeps what it should draw",
            "out * (1 - mask) + deformed * mask",
            "out * mask + deformed * (1 - mask)",
            "tests/test_golden.py",
        ),
        (
            "constant channels know one side",
            "au_diff.mean(-1)[:, :, None, None]",
            "au_diff[..., 0][:, :, None, None]",
            "tests/test_loss_details.py",
        ),
    ),
    *_faults(
        "losses",
        "modules/tps/au_conditioning.py",
        "tests/test_au_conditioning.py",
        ("features are not shifted", "features * (1 + scale) + shift", "features * (1 + scale)"),
        ("the face moves where it rests", "self.gain * (known - share)", "self.gain * (share - known)"),
        ("shading reaches eyes and mouth", " * skin(grown)", ""),
    ),
    *_faults(
        "losses",
        "modules/fomm/model.py",
        "tests/test_fomm.py -k loss",
        (
            "the generator wants to be found out",
            "_score_loss(scores, 1) for",
            "_score_loss(scores, 0) for",
            "tests/test_loss_details.py",
        ),
        (
            "the discriminator takes all for real",
            "_score_loss(fake[scale][1], 0)",
            "_score_loss(fake[scale][1], 1)",
            "tests/test_loss_details.py",
        ),
        (
            "equivariance ignores the warp's turn",
            'warp.jacobian(found["value"]) @ found["jacobian"]',
            'found["jacobian"]',
        ),
        (
            "relative turns are exchanged",
            'driving["jacobian"] @ inverse_2x2(driving_initial["jacobian"])',
            'inverse_2x2(driving_initial["jacobian"]) @ driving["jacobian"]',
            "tests/test_loss_details.py",
        ),
        ("the discriminator trains the generator", 'generated["prediction"].detach()', 'generated["prediction"]'),
        (
            "the prior's points are those of the unwarped face",
            "warp.inverse(landmarks.float())",
            "landmarks.float()",
            "tests/test_loss_details.py",
        ),
    ),
    *_faults(
        "losses",
        "modules/mraa/model.py",
        "tests/test_mraa.py",
        ("folded warps count", "usable * missed", "missed", "tests/test_mraa.py -k warp"),
        (
            "the AVD network learns from affine frames of one size",
            'driving["affine"] * scale[..., None]',
            'driving["affine"]',
            "tests/test_loss_details.py",
        ),
        (
            "relative frames are exchanged",
            'moved["affine"] @ inverse_2x2(initial["affine"], LEAST_VARIANCE) @ own["affine"]',
            'own["affine"] @ inverse_2x2(initial["affine"], LEAST_VARIANCE) @ moved["affine"]',
            "tests/test_mraa.py -k relative",
        ),
        (
            "the axes are not reverted for the AVD network",
            "affine = torch.where(turned, -affine, affine)",
            "pass",
            "tests/test_mraa.py tests/test_options.py -k revert",
        ),
    ),
    *_faults(
        "losses",
        "modules/mraa/flow_predictor.py",
        "tests/test_mraa.py",
        (
            "regions move the other way",
            'source["affine"] @ inverse_2x2(driving["affine"]',
            'driving["affine"] @ inverse_2x2(source["affine"]',
            "tests/test_loss_details.py",
        ),
        (
            "the background of regions rests",
            "torch.cat([background[:, None], motions[:, 1:]], dim=1)",
            "motions",
            "tests/test_loss_details.py",
        ),
    ),
    *_faults(
        "losses",
        "modules/au_estimator.py",
        "tests/test_au_estimator.py",
        (
            "the constraint asks for the opposite",
            "landmarks, source_au) - au_diff)",
            "landmarks, source_au) + au_diff)",
        ),
        ("single action units have no weights", "weights.get(unit, 1.0)", "1.0", "tests/test_options.py -k au_weights"),
    ),
    *_faults(
        "losses",
        "modules/facial_prior.py",
        "tests/test_facial_prior.py",
        (
            "the prior's points lie elsewhere",
            "(landmarks[:, 42, 0] - landmarks[:, 39, 0]) / 2",
            "(landmarks[:, 42, 0] - landmarks[:, 39, 0])",
        ),
        ("maps have no threshold", 'if self.threshold == "mean":', "if False:"),
    ),
    *_faults(
        "losses",
        "modules/warp/model.py",
        "tests/test_warp.py",
        ("the warp goes forward", "in pairwise(stages)", "in ((b, a) for a, b in pairwise(stages))"),
        ("forehead and surroundings rest", "if self.forehead is not None:", "if False:"),
    ),
]

FACES = [
    *_faults(
        "faces",
        "faces/tracking.py",
        "tests/test_tracking.py",
        ("frames before the reference are taken in their order", "enumerate(reversed(before))", "enumerate(before)"),
        ("smoothing is the worst one", "score.argmin(axis=0)", "score.argmax(axis=0)"),
        ("the reference frame moves", "motion[reference] = 0", "pass"),
    ),
    *_faults(
        "faces",
        "faces/neutral.py",
        "tests/test_reference_frame.py",
        ("closed eyes are neutral", "(mouth - lids)", "mouth"),
        ("an open mouth is neutral", "(mouth - lids)", "(-lids)"),
        ("turned heads look expressive", "np.maximum(eyes, np.median(eyes))", "eyes"),
    ),
    *_faults(
        "faces",
        "faces/jitter.py",
        "tests/test_reference_frame.py",
        ("jitter never exceeds motion", "self.noise > LEAST_JITTER and", "False and"),
        ("motion counts as jitter", "still[:-2] - 2 * still[1:-1] + still[2:]", "still[1:] - still[:-1]"),
    ),
    *_faults(
        "faces",
        "faces/face_mesh.py",
        "tests/test_face_mesh.py",
        (
            "what resembles a face is one",
            "or not self._agrees_with_mirror_image(view, in_crop)",
            "",
            "tests/test_face_mesh.py -k refused",
        ),
        ("irises are not mirrored", "crop[:, ::-1]", "crop", "tests/test_face_mesh.py -k refused"),
        ("the first face is the largest", "key=_area, reverse=True", "key=_area", "tests/test_face_mesh.py -k several"),
        ("the mesh is fitted once", "PASSES = 3", "PASSES = 1"),
    ),
    *_faults(
        "faces",
        "faces/flow.py",
        "tests/test_tracking.py",
        ("the flow is not refined", " + self._refine(image, forward)", ""),
        ("lost points rest with the head", "self._motion_of_neighbours(moved - rigid, good) + rigid", "rigid"),
        ("motion is in working pixels", "(moved - self.points) / self.scale", "(moved - self.points)"),
        (
            "forward and backward need not agree",
            "np.linalg.norm(motion + returned, axis=1)",
            "0 * np.linalg.norm(motion + returned, axis=1)",
        ),
    ),
    *_faults(
        "faces",
        "faces/facs.py",
        "tests/test_facs.py",
        ("an expression does not end", "return up - down", "return up"),
        ("references move, too", "if not unit.moves:", "if unit.alternative:"),
    ),
    *_faults(
        "faces",
        "faces/facs_notation.py",
        "tests/test_facs.py",
        ("letters are one too low", "_LETTERS.index(letters[0]) + 1)", "_LETTERS.index(letters[0]) + 0)"),
        ("left is right", '{"L": "left", "R": "right"}', '{"L": "right", "R": "left"}'),
        ("alternatives move, too", "context.alternative or taken", "context.alternative"),
        ("eyes stay open", "_SAME_MOVEMENT = {43: 45}", "_SAME_MOVEMENT: dict[int, int] = {}"),
    ),
    *_faults(
        "faces",
        "faces/action_unit_tables.py",
        "tests/test_action_units.py",
        ("probabilities are a fifth", "return values / tool.top", "return values / 5"),
        ("sure rows are left out", "confidence < min_confidence", "confidence > min_confidence"),
    ),
    *_faults(
        "faces",
        "faces/action_unit_tools.py",
        "tests/test_action_units.py",
        ("blinks are lost", "_SAME_MOVEMENT = {43: 45}", "_SAME_MOVEMENT = {}"),
    ),
    *_faults(
        "faces",
        "faces/action_units.py",
        "tests/test_action_units.py",
        (
            "interpolation runs backwards",
            "(1 - share) * values[before] + share * values[after]",
            "share * values[before] + (1 - share) * values[after]",
        ),
        (
            "both sides are the left one",
            "at[unit, side] if (unit, side) in at",
            'at[unit, "left"] if (unit, "left") in at',
        ),
        ("long gaps are filled", "len(gap) > rules.max_gap", "False"),
    ),
    *_faults(
        "faces",
        "faces/au_geometry.py",
        "tests/test_au_geometry.py",
        ("the right half moves as the left one", "-share * lateral, -share * up", "share * lateral, -share * up"),
        ("points of the middle move twice", "0.5 if landmark in _MIDDLE else 1.0", "1.0"),
    ),
]

PREPARE_FAULTS = "tests/faults/test_prepare_faults.py"
PREPARATION = [
    *_faults(
        "preparation",
        "clips/crop.py",
        "tests/test_prepare.py -k crop",
        ("the crop lies lower", "- [0, params.raised * larger]", "+ [0, params.raised * larger]"),
        ("the margin is half as wide", "(1 + 2 * params.margin)", "(1 + params.margin)"),
        (
            "an upright crop is turned twice",
            "to_complex(landmarks) * np.exp(-1j * angle)",
            "to_complex(landmarks) * np.exp(1j * angle)",
        ),
        ("crops are not moved into the frame", "corner = np.clip(corner,", "np.clip(corner,"),
    ),
    *_faults(
        "preparation",
        "preparation/timing.py",
        "tests/test_prepare.py -k frames",
        ("the last frame is missing", "offset is None else offset + 1)", "offset is None else offset)"),
        (
            "frames between frames are exchanged",
            "(before, share, frame, 1 - share, 0)",
            "(before, 1 - share, frame, share, 0)",
            "tests/test_prepare.py -k interpolated",
        ),
        ("clips are not trimmed", "if trim else", "if False else"),
    ),
    *_faults(
        "preparation",
        "preparation/splits.py",
        "tests/test_splits.py",
        ("every seed tests the same subjects", "np.random.default_rng(seed)", "np.random.default_rng(0)"),
        (
            "other clips of tested subjects are trained on",
            "c.name in test or normalised_name(c.subject) in tested",
            "c.name in test",
        ),
        (
            "padding makes another subject",
            "sorted({normalised_name(clip.subject) for clip in clips})",
            "sorted({clip.subject for clip in clips})",
        ),
    ),
    *_faults(
        "preparation",
        "preparation/clip_task.py",
        "tests/test_prepare.py -k again",
        ("moved landmarks keep old frames", "        task.onset.tolist(),\n", "", "tests/test_prepare.py"),
        (
            "new frames keep old tracks",
            "VERSION, frames, timing.apex, tracked",
            "VERSION, timing.apex, tracked",
            "tests/test_prepare.py",
        ),
        ("new codes keep old tables", "course = [record.facs, ", "course = [", "tests/test_prepare.py"),
    ),
    *_faults(
        "preparation",
        "preparation/clip_maker.py",
        f"{PREPARE_FAULTS} -k errors",
        (
            "grey clips have colour",
            "params.crop_params.grey or not task.record.colour",
            "False",
            "tests/test_options.py -k grey",
        ),
        (
            "what cannot be read once is not read again",
            "if error is not None and may_pass(error):",
            "if False:",
            f"{PREPARE_FAULTS} -k once",
        ),
        (
            "failures that may pass are recorded",
            "if not may_pass(error):",
            "if True:",
            f"{PREPARE_FAULTS} -k next",
        ),
        (
            "failures of the content are not recorded",
            'state["failure"]["key"] == task.keys["landmarks"]',
            "False",
            f"{PREPARE_FAULTS} -k content",
        ),
    ),
    *_faults(
        "preparation",
        "preparation/verification.py",
        f"{PREPARE_FAULTS} -k again",
        (
            "damaged frames are believed",
            "names == set(manifest) and first_damaged(folders[0], manifest) is None",
            "True",
        ),
        (
            "other frames are not noticed",
            "{path.name for path in _images(folders[0])}",
            "set(manifest)",
            f"{PREPARE_FAULTS} -k foreign",
        ),
        (
            "damaged tables are believed",
            "names == set(manifest) and first_damaged(prepared.path",
            "True or (prepared.path",
        ),
        (
            "damaged clips are taken over",
            "if looks_complete(name, prepared) and",
            "if",
            f"{PREPARE_FAULTS} -k manifests",
        ),
    ),
    *_faults(
        "preparation",
        "preparation/clip_state.py",
        f"{PREPARE_FAULTS} -k noticed",
        ("changed records are believed", "not in (None, _digest(state))", "is False"),
        (
            "records of another form are believed",
            "name in _PARTS and _is_valid(_PARTS[name], part)",
            "True",
            f"{PREPARE_FAULTS} -k form",
        ),
    ),
    *_faults(
        "preparation",
        "preparation/earlier_clips.py",
        f"{PREPARE_FAULTS} -k stay",
        (
            "clips are removed unasked",
            "if clip is None:\n            if self._remove or",
            "if True:\n            if True or",
        ),
        ("clips are kept against the request", "None if self._remove else ", "", f"{PREPARE_FAULTS} -k removed"),
        ("damaged clips are listed", "if not whole:", "if False:"),
    ),
    *_faults(
        "preparation",
        "preparation/folds.py",
        f"{PREPARE_FAULTS} -k subject",
        ("subjects name folders", 're.sub(r"[^\\w.# -]", "-", subject)', "subject"),
        ("two subjects share a file", "if safe.casefold() in taken:", "if False:"),
    ),
    *_faults(
        "preparation",
        "preparation/tables.py",
        f"{PREPARE_FAULTS} -k formulas",
        ("cells of kept clips gain an apostrophe", "plain_cell(cell)", "cell"),
    ),
    *_faults(
        "preparation",
        "preparation/prepared_folder.py",
        f"{PREPARE_FAULTS} -k refused",
        (
            "two runs share a folder",
            'stack.enter_context(folder_lock(self.path, "preparing clips"))',
            "self.path.mkdir(parents=True, exist_ok=True)",
        ),
        ("temporary files stay", "remove_abandoned(folder)", "pass", f"{PREPARE_FAULTS} -k dead"),
    ),
    *_faults(
        "preparation",
        "preparation/workers.py",
        "tests/faults/test_prepare_interrupted.py -k signal",
        ("workers are left behind", "process.kill()", "pass"),
        (
            "workers of a killed process go on",
            "_end_with_parent()\n    cv2",
            "cv2",
            "tests/faults/test_prepare_interrupted.py -k with_a_process_that_is_killed",
        ),
        (
            "a starting worker reports that its starter was killed",
            "process = WorkerProcess(",
            'process = multiprocessing.get_context("spawn").Process(',
            "tests/faults/test_prepare_interrupted.py -k says_nothing",
        ),
    ),
    *_faults(
        "preparation",
        "preparation/readers/layout.py",
        "tests/test_further_forms.py",
        ("videos do not stand in for folders", "release = _read_videos(folder, first, layout)", "pass"),
        ("compressed videos are as good as frames", "if not release.videos] or fitting", "] or fitting"),
    ),
    *_faults(
        "preparation",
        "preparation/readers/coded.py",
        "tests/test_further_forms.py",
        ("frames of a video are counted from 0 at the onset", "tuple(range(onset, offset + 1))", "frames.numbers"),
        ("other forms of a data set are not tried", "(described, *described.other_forms)", "(described,)"),
        (
            "recordings that are videos are cut before they are decoded",
            "if not record.frames:",
            "if record.frames:",
            "tests/test_readers.py",
        ),
    ),
    *_faults(
        "preparation",
        "preparation/readers/matching.py",
        "tests/test_further_forms.py",
        ("cells are not translated", "micro = _translate(micro, translation, sheet, path)", "pass"),
        (
            "macro-expressions are clips",
            "row.cells[columns.only[0]], re.IGNORECASE) is not None",
            "'micro-expression') or True",
        ),
    ),
    *_faults(
        "preparation",
        "preparation/readers/header.py",
        "tests/test_further_forms.py",
        (
            "sheets without a header lose their first row",
            "return Body(list(self.headless), start)",
            "return Body(list(self.headless), start + 1)",
        ),
        (
            "other spellings of columns are unknown",
            "return others | documented",
            "return documented",
            "tests/test_further_forms.py -k spelling",
        ),
    ),
    *_faults(
        "preparation",
        "preparation/readers/loose.py",
        "tests/test_further_forms.py",
        ("folders of frames are found at the first level only", "waiting += inside\n        if not inside", "if True"),
    ),
    *_faults(
        "preparation",
        "preparation/readers/sheets.py",
        "tests/test_further_forms.py",
        ("numbers of sheets have no decimal comma", "else to_number(cell)", "else float(cell)"),
    ),
    *_faults(
        "preparation",
        "preparation/splits.py",
        "tests/test_splits.py",
        ("the composite list is a list of names", "if not rows or any(", "if True or any("),
    ),
    *_faults(
        "preparation",
        "preparation/action_units.py",
        "tests/test_prepare.py",
        ("codes have no intensity of their own", "default_intensity / MAX_INTENSITY", "1.0"),
        ("written intensities are parts", "column[t] * MAX_INTENSITY", "column[t]"),
    ),
    *_faults(
        "preparation",
        "faces/alignment.py",
        "tests/test_prepare.py -k apex",
        ("the head makes the apex", "still = remove_head_motion(landmarks, reference)", "still = landmarks"),
    ),
    *_faults(
        "preparation",
        "preparation/clip_rows.py",
        "tests/test_prepare.py -k labels",
        ("the page names an onset that the release does not", 'labels.get("release_onset") in', '"x" in'),
        ("the page ignores the labels of prepare", "self._table.get(clip.name, {})", "{}"),
        (
            "the page shows no action units of the folder",
            "self._action_units(clip.clip, len(clip), split) if",
            "None if",
        ),
        (
            "a rejected clip has no picture",
            "        pictures = clip_pictures(",
            "        clip_pictures(",
            "tests/test_check.py -k rejected",
        ),
    ),
]

SMALL_PHOTOS = ("tests/test_whole_photos.py -k as_many",)
SEAM = ("tests/test_whole_photos.py -k seam",)
EDGE = ("tests/test_whole_photos.py -k end",)
OUTPUT = [
    *_faults(
        "output",
        "output/paste_back.py",
        "tests/test_whole_photos.py -k large",
        ("motion keeps the size that it has on the small frame", "* (scale * self.mask", "* (self.mask", *SMALL_PHOTOS),
        ("motion does not fade", "(scale * self.mask[..., None])", "scale", *SEAM),
        ("what networks add is lost", "if np.abs(residual).max() >= UNSEEN:", "if False:", *SMALL_PHOTOS),
        (
            "the border of the photo is not the end of the crop",
            "ends_inside=left + side < width",
            "ends_inside=True",
            *EDGE,
        ),
    ),
    *_faults(
        "output",
        "output/audio.py",
        "tests/test_whole_photos.py -k sound",
        ("sound of another duration is kept", "abs(found - duration) > LARGEST_DIFFERENCE", "False"),
        ("other codecs are copied", "canonical_name in COPIED", "canonical_name"),
        ("the sound is left out", "packet.stream = sound\n            result.mux(packet)", "pass"),
    ),
    *_faults(
        "output",
        "generation/photos.py",
        "tests/test_whole_photos.py",
        (
            "the face is always the largest",
            "faces[(face or 1) - 1]",
            "faces[0]",
            "tests/test_whole_photos.py -k decide",
        ),
        (
            "face crops are cut again",
            "crop.side >= FACE_CROP",
            "crop.side >= 9 * FACE_CROP",
            "tests/test_whole_photos.py -k crops",
        ),
        ("frames of the photo stay small", "self.whole is None or", "True or", "tests/test_whole_photos.py -k files"),
    ),
    *_faults(
        "output",
        "generation/changes.py",
        "tests/test_engine.py -k change",
        ("the error of reconstruction is a change", "still = rest.prediction.expand", "still = prediction.expand"),
        (
            "the deformation of the network at rest is motion",
            'generated["deformation"].float() - rest.deformation',
            'generated["deformation"].float()',
        ),
    ),
    *_faults(
        "output",
        "generation/reference.py",
        "tests/test_reference_frame.py",
        ("the reference frame that was named is ignored", "if given is not None:", "if False:"),
    ),
    *_faults(
        "output",
        "output/metrics.py",
        "tests/test_metrics.py",
        ("PSNR is 6 dB too high", "peak_signal_noise_ratio(true, frame)", "6 + peak_signal_noise_ratio(true, frame)"),
        ("L1 is of grey levels", ".mean() / 255", ".mean()"),
        ("the first frame counts", "if not number:", "if False:"),
        ("differences are pictures", "clip[1:].astype(np.float64) - clip[:1]", "clip[1:].astype(np.float64)"),
    ),
    *_faults(
        "output",
        "generation/results.py",
        "tests/test_animate.py",
        ("the apex is frame 0", "int(motion.mean(axis=1).argmax())", "0"),
        ("motion is in half frame widths", "axis=-1) / 2", "axis=-1)"),
    ),
    *_faults(
        "output",
        "animate.py",
        "tests/test_animate.py",
        (
            "the contact sheet shows frame 0 as apex of the result",
            "read_result(folder, row, reference, apex)",
            "read_result(folder, row, reference, reference)",
        ),
        (
            "the contact sheet shows frame 0 as apex of the driving clip",
            "(shown[reference], shown[apex])",
            "(shown[reference], shown[reference])",
        ),
        (
            "the pair is named the other way round",
            'f"{self.driving.clip.label}-{self.source.clip.label}"',
            'f"{self.source.clip.label}-{self.driving.clip.label}"',
        ),
    ),
    *_faults(
        "output",
        "generation/facs_codes.py",
        "tests/test_facs_codes.py",
        ("a code moves the face at rest, too", "curves - curves[0]", "curves"),
        ("a code ignores --fps", "options.fps or frame_rate_of(loader, face)", "frame_rate_of(loader, face)"),
    ),
    *_faults(
        "output",
        "output/video.py",
        "tests/test_video.py",
        ("videos run at 25 frames per second", "Fraction(fps).limit_denominator(1001)", "Fraction(25)"),
        ("differences have the wrong sign", "127.5 + DIFFERENCE_GAIN", "127.5 - DIFFERENCE_GAIN"),
        ("differences are not enlarged", "DIFFERENCE_GAIN = 5.0", "DIFFERENCE_GAIN = 1.0"),
        ("GIF files run too fast", "max(round(100 / fps), 100 // MAX_GIF_FPS)", "round(100 / fps)"),
    ),
    *_faults(
        "output",
        "output/clip_page.py",
        "tests/test_clip_page.py",
        ("the page permits any script", "script-src {source_hash(script)}", "script-src 'unsafe-inline'"),
        ("the page permits the network", "default-src 'none'", "default-src *"),
        ("the page grows without a limit", "self._picture_bytes += size", "pass"),
        ("a page that has not changed is written again", "if not _holds(self.path, page)", "if True"),
        ("kinds of warnings count rows once only", "self._clips_of_kind.update(kinds)", "self._clips_of_kind[0] += 1"),
        ("kinds of warnings have numbers", '_NUMBERS.sub("\\u2026", shorter)', "shorter"),
    ),
    *_faults(
        "output",
        "output/clip_pictures.py",
        "tests/test_clip_page.py",
        ("an estimated apex is not marked", "', estimated' if apex.estimated else ''", "''"),
        ("the page shows frame 0 as onset", "first = read(onset)", "first = read(0)"),
        (
            "the page compares the onset with itself",
            "difference_image(start, strongest)",
            "difference_image(start, start)",
        ),
        ("landmarks are drawn at yx", "for x, y in pixels", "for y, x in pixels"),
        ("the apex is estimated beyond the offset", "if last > onset + 1 else", "if False else"),
        ("curves show one side", "series += [", "series = series or ["),
        ("curves lose the last frame", "np.linspace(0, len(values) - 1,", "np.linspace(0, len(values) - 2,"),
    ),
    *_faults(
        "output",
        "check.py",
        "tests/test_check.py",
        ("the page has no warnings about names", "if clip.name in alike[text]", "if not alike[text]"),
        ("the page leaves out rejected clips", "rows.page.add(replace(row, findings", "(replace(row, findings"),
        ("a clip that cannot be trained on is usable on the page", "if problem else row)", "if False else row)"),
    ),
    *_faults(
        "output",
        "output/visualizer.py",
        "tests/test_visualizer.py",
        (
            "keypoints are drawn at yx",
            "for i, (x, y) in enumerate(pixels)",
            "for i, (y, x) in enumerate(pixels)",
            "tests/test_visualizer.py",
        ),
    ),
]

RESULTS_FAULTS = "tests/faults/test_generation_results.py"
GENERATION_FAULTS = "tests/faults/test_generation_faults.py"
INTERRUPTED = "tests/faults/test_generation_interrupted.py"
GENERATION = [
    *_faults(
        "generation",
        "generation/batch.py",
        f"{INTERRUPTED} -k eight",
        ("several runs generate one clip", "if not held:", "if False:"),
        ("clips of other runs are left out", "waiting = others", "waiting = []"),
        ("clips of other settings are kept", 'record.row["key"] != key or ', "", f"{RESULTS_FAULTS} -k settings"),
        ("damaged clips are kept", "not self.records.is_complete(record)", "False", f"{RESULTS_FAULTS} -k anew"),
        ("files without a record are kept", "not self.records.adopt(row)", "False", f"{RESULTS_FAULTS} -k versions"),
        ("damaged records are ignored", "self.records.exists(name) or ", "", f"{RESULTS_FAULTS} -k record"),
        (
            "similar names share a folder",
            "self._belongs_to_another(name, identity)",
            "False",
            f"{RESULTS_FAULTS} -k similar",
        ),
        ("names of clips are paths", 'x7f/]", "_"', 'x7f]", "_"', f"{RESULTS_FAULTS} -k folder_names"),
        (
            "names of results have any length",
            "_LONGEST_NAME = 220",
            "_LONGEST_NAME = 2200",
            f"{RESULTS_FAULTS} -k bytes",
        ),
        (
            "names of videos are those of clips",
            " and not _TAKEN.fullmatch(usual)",
            "",
            f"{RESULTS_FAULTS} -k similar",
        ),
        (
            "lost rows stay lost",
            "if not row.items() <=",
            "if False and not row.items() <=",
            f"{RESULTS_FAULTS} -k restored",
        ),
        ("rests of killed runs stay", "remove_abandoned(place)", "pass", f"{RESULTS_FAULTS} -k killed"),
        ("bad clips never end a run", "if not skip_bad:", "if False:", f"{GENERATION_FAULTS} -k nothing_is_written"),
    ),
    *_faults(
        "generation",
        "generation/records.py",
        f"{RESULTS_FAULTS} -k versions",
        ("frames are not decoded", "image.load()", "pass"),
        ("videos may be short", "decode(video=0)) == count", "decode(video=0)) >= 0"),
        ("a GIF needs no end", 'file.read() == b";"', "True"),
        ("keypoints are not read", 'len(read_arrays(keypoints)[""]) != count', "False"),
        ("comparisons are not read", 'if video and row["driving"]:', "if False:"),
        (
            "records name files of others",
            "not all(_is_inside(file) for file in files)",
            "False",
            f"{RESULTS_FAULTS} -k inside",
        ),
    ),
    *_faults(
        "generation",
        "generation/limits.py",
        f"{GENERATION_FAULTS} -k finite",
        ("any value is written", "if usable.all():", "if True:"),
        ("keypoints may be anywhere", "usable = near & ", "usable = "),
        (
            "the weight is not named",
            "if weight := _impossible_weight(model):",
            'if weight := "":',
            "tests/test_engine.py",
        ),
        (
            "any frame rate is tried",
            "if not MIN_FPS <= fps <= MAX_FPS:",
            "if fps < 0:",
            f"{GENERATION_FAULTS} -k impossible",
        ),
    ),
    *_faults(
        "generation",
        "generation/results.py",
        "tests/test_clip_memory.py",
        ("generated frames are collected", "for one in generated:", "for one in list(generated):"),
        ("the comparison is not written", "if driving is not None:", "if False:", "tests/test_animate.py"),
        (
            "rests of killed runs stay beside a video",
            "remove_abandoned(result.parent)",
            "pass",
            f"{RESULTS_FAULTS} -k killed",
        ),
        ("a folder may be the result", "if result.is_dir():", "if False:", f"{GENERATION_FAULTS} -k refused_first"),
    ),
    *_faults(
        "generation",
        "output/video.py",
        "tests/test_clip_memory.py",
        (
            "joined frames are collected",
            "return FrameSequence(len(result), joined)",
            "return [joined(i) for i in range(len(result))]",
        ),
        (
            "interrupts in destructors are lost",
            "raise_if_interrupted()\n            waiting.append",
            "waiting.append",
            f"{INTERRUPTED} -k destructor",
        ),
    ),
    *_faults(
        "generation",
        "output/gif.py",
        "tests/test_clip_memory.py",
        ("encoded frames stay in memory", "data.clear()", "pass"),
        (
            "equal frames are not prolonged",
            "duration = min(duration + delay, _LONGEST_DELAY)",
            "pass",
            "tests/test_video.py",
        ),
        ("frames are written whole", "image.crop(box)", "image", "tests/test_video.py"),
    ),
    *_faults(
        "generation",
        "output/metrics.py",
        "tests/test_clip_memory.py",
        (
            "measured frames are collected",
            "in enumerate(zip(truth, frames, strict=True)):",
            "in enumerate(list(zip(truth, frames, strict=True))):",
        ),
    ),
    *_faults(
        "generation",
        "output/result_table.py",
        "tests/test_result_table.py",
        ("rows of other runs are lost", "            self._read()\n            known", "            known"),
        (
            "tables are written without a lock",
            "with claimed(self._lock, wait=True):\n            self._read()\n            known",
            "if True:\n            self._read()\n            known",
        ),
        ("foreign columns are lost", "{**known, **added}", "added"),
        ("foreign tables are overwritten", "self.path.rename(other)", "pass"),
        ("cells are written as they are", "{name: safe_cell(cell) for name, cell in row.items()}", "row"),
    ),
    *_faults(
        "generation",
        "parsing/cells.py",
        "tests/test_result_table.py",
        ("cells are formulas", "return _MARK + text if", "return text if"),
        ("numbers are text", " and not _NUMBER.fullmatch(text)", ""),
        ("marks of cells stay", "text[1:] if text.startswith(_MARK)", "text if text.startswith(_MARK)"),
    ),
    *_faults(
        "generation",
        "core/locks.py",
        "tests/test_locks.py",
        ("lock files stay", "                path.unlink()", "                pass"),
        (
            "a claim is never held",
            "lock = FileLock(path, timeout=-1",
            'lock = FileLock(f"{path}{os.getpid()}", timeout=-1',
        ),
    ),
    *_faults(
        "generation",
        "core/files.py",
        "tests/test_files.py",
        ("a file gives way to a folder", "if path.exists() and not path.is_dir():", "if False:"),
        ("a folder is lost between two moves", "if previous.exists() and not path.exists():", "if False:"),
        ("entries appear one by one", "temporary = folder, folder / temporary_name()", "temporary = folder, folder"),
        (
            "a folder of another run ends the program",
            "if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):",
            "if True:",
            f"{GENERATION_FAULTS} -k same_time",
        ),
        ("frames may be empty after a loss of power", "            _flush_folder(temporary)\n", ""),
        ("an interrupt cuts a clean-up short", "    with uninterrupted():\n", "    if True:\n"),
    ),
    *_faults(
        "generation",
        "core/stop_signal.py",
        "tests/test_stop_signal.py tests/test_files.py",
        ("errors of interrupted libraries hide the signal", "if _received:  # Python", "if False:  # Python"),
        ("an interrupt in a short block is raised at once", "if not _uninterrupted:\n", "if True:\n"),
        ("an interrupt in a short block is lost", "if len(_received) > before and not", "if False and not"),
    ),
    *_faults(
        "generation",
        "output/clip_page.py",
        "tests/faults/test_generation_results.py -k killed",
        ("pages of killed runs stay", "remove_abandoned(self.path.parent)", "pass"),
    ),
    *_faults(
        "generation",
        "clips/pictures.py",
        "tests/faults/test_media_faults.py -k second_directory",
        (
            "damaged pages of a TIFF are a traceback",
            'return int(getattr(image, "n_frames", 1))\n    except Exception as',
            'return int(getattr(image, "n_frames", 1))\n    except KeyError as',
        ),
    ),
    *_faults(
        "generation",
        "clips/loader.py",
        "tests/faults/test_table_faults.py -k by_hand",
        (
            "ignored landmarks are not opened",
            "if landmark_file is not None and not self.needs_landmarks:",
            "if False:",
        ),
        (
            "ignored action units are not opened",
            "if action_unit_file is not None and not self.needs_action_units:",
            "if False:",
        ),
    ),
    *_faults(
        "generation",
        "errors.py",
        "tests/faults/test_machine_faults.py",
        ("permissions are a traceback", "if isinstance(error, OSError):", "if False:"),
        ("lack of memory on the CPU is a traceback", "and _ALLOCATION.search(text)", "and False"),
        ("lack of memory on the GPU is a traceback", '== "OutOfMemoryError"', '== "x"'),
    ),
    *_faults(
        "generation",
        "animate.py",
        f"{GENERATION_FAULTS} -k single",
        ("no pairs are no error", "if not pairs:", "if False:"),
    ),
    *_faults(
        "generation",
        "clips/files.py",
        f"{RESULTS_FAULTS} -k formulas",
        ("marked names are not found", "plain_cell(cell)", "cell"),
    ),
]

_MEASURES = "tests/evaluation/test_measures.py"
_EVALUATE = "tests/evaluation/test_evaluate.py"

EVALUATION = (
    *_faults(
        "output",
        "output/page_parts.py",
        "tests/test_clip_page.py",
        ("names in the page are markup", "autoescape=True", "autoescape=False"),
    ),
    *_faults(
        "evaluation",
        "evaluation/motion.py",
        _MEASURES,
        (
            "gain is inverted",
            "(driving * result).sum() / (driving * driving).sum()",
            "(driving * result).sum() / (result * result).sum()",
        ),
        (
            "head motion stays in the non-rigid motion",
            "rest: Motion = points + motion - head.apply(points)",
            "rest: Motion = motion.copy()",
        ),
        (
            "leakage counts all points",
            "strength <= np.quantile(strength, 0.25)",
            "strength <= np.quantile(strength, 1.0)",
        ),
    ),
    *_faults(
        "evaluation",
        "evaluation/timing.py",
        _MEASURES,
        ("a delay is early", "times + lag, times, result", "times - lag, times, result"),
        (
            "onset is the apex",
            '"onset_error": abs(found.onset - true.onset)',
            '"onset_error": abs(found.apex - true.apex) / 2',
        ),
    ),
    *_faults(
        "evaluation",
        "evaluation/action_units.py",
        _MEASURES,
        ("both sides mirror onto themselves", "[:, list(MIRRORED_LANDMARKS)]", "[:, :]"),
    ),
    *_faults(
        "evaluation",
        "evaluation/artefacts.py",
        _MEASURES,
        ("flicker ignores the driving clip", "max(0.0, result - driving)", "result"),
        (
            "sharpness is that of the source",
            "found += _detail(cv2.cvtColor(frame",
            "found += _detail(cv2.cvtColor(source",
        ),
    ),
    *_faults(
        "evaluation",
        "evaluation/statistics.py",
        "tests/evaluation/test_statistics.py",
        ("intervals are half as wide", "(1 - COVERAGE) / 2, (1 + COVERAGE) / 2", "0.25, 0.75"),
    ),
    *_faults(
        "evaluation",
        "evaluation/face_clip.py",
        _EVALUATE,
        ("gaps in the frames go unnoticed", "None if not len(wrong) else", "None if True else"),
    ),
    *_faults(
        "evaluation",
        "evaluation/run.py",
        _EVALUATE,
        ("rows of the references are lost", "self.table.add(result.system, result.scores)", "pass"),
    ),
    *_faults(
        "evaluation",
        "trainer.py",
        "tests/evaluation/test_training_evaluation.py",
        (
            "the worst checkpoint is kept",
            "sign = 1 if evaluation.higher else -1",
            "sign = -1 if evaluation.higher else 1",
        ),
    ),
)

FAULTS: tuple[Fault, ...] = tuple(
    fault
    for group in (
        ENGINE,
        TRANSFER,
        TRAINING,
        DATA,
        FILES,
        CONFIG,
        GEOMETRY,
        FAMILIES,
        FACES,
        PREPARATION,
        OUTPUT,
        GENERATION,
        EVALUATION,
    )
    for fault in group
)
