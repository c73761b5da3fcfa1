"""Every family on CUDA, without a GPU.

PyTorch's `FakeTensorMode` runs operations on shapes, types and devices alone. An operation on tensors of two devices
raises, as on a GPU, so that a tensor left on the CPU fails on machines that have no other device.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data import default_collate

from augmentation import augment, draw_augmentation
from config.experiment import Config
from config.families import FAMILIES
from config.load import load_config
from config.sections import AugmentationParams, NormalizationParams
from core.models import build_model
from modules.au_estimator import AUEstimator
from modules.losses import VGG19
from modules.model import Condition, MotionModel
from tests.conftest import face_landmarks

ROOT = Path(__file__).parents[1]
EXPERIMENTS = sorted(path.name for path in (ROOT / "config").glob("*.yaml") if not path.name.startswith("prepare-"))
BATCH = 2
EPOCH = 12  # background motion has begun, dropout of splines goes on, the action-unit constraint counts
# Coordinates, shares and masks: half precision would move the picture by pixels.
FULL_PRECISION = {"deformation", "occlusion_map", "contribution_maps", "bg_param", "kp_source", "kp_driving"}


class FakeCuda(FakeTensorMode):
    """Fake tensors that answer Python's questions about their values: `bool(x)`, `x.tolist()`, `torch.equal`.

    On a GPU each question makes the host wait for the device. Three functions ask by design: augmentation, which skips
    what no pair of a batch needs and changes hues one by one; the hull of the keypoints, for relative motion. Nothing
    else does, so that any other read of a CUDA tensor fails here.

    Attributes:
        answer: to every question, but for `torch.equal`, which is false: the branch that computes more.
        waits: reads of CUDA tensors are allowed.
    """

    answer = False
    waits = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in _READS:
            small = func in _PRODUCTS and args[0].shape[-1] <= 3
            assert not small or args[0].dtype == torch.float32, "points and their maps are multiplied in full precision"
            return super().__torch_dispatch__(func, types, args, kwargs)
        devices = {value.device for value in args}
        assert len(devices) == 1, f"{func}: tensors on {devices}"
        assert self.waits or devices == {torch.device("cpu")}, f"{func}: the host waits for the device"
        if func is torch.ops.aten.equal.default:
            return False
        return self.answer if args[0].dtype == torch.bool else 0.5


_READS = {getattr(torch.ops.aten, name).default for name in ("_local_scalar_dense", "item", "is_nonzero", "equal")}
_PRODUCTS = {torch.ops.aten.mm.default, torch.ops.aten.bmm.default}
FAKE = FakeCuda(allow_non_fake_inputs=False)


class Case(NamedTuple):
    """An experiment.

    Attributes:
        experiment: file in `config/`.
        changes: as for `--set`.
        losses: names that its training must at least have.
    """

    experiment: str
    changes: tuple[str, ...] = ()
    losses: frozenset[str] = frozenset()

    @property
    def config(self) -> Config:
        return load_config(ROOT / "config" / self.experiment, list(self.changes)).config


class Prepared(NamedTuple):
    """A model on the fake device, and a batch of training pairs there, made as in training."""

    config: Config
    model: MotionModel
    batch: dict[str, Tensor]


# --- construction ----------------------------------------------------------------------------------------------------


def construct(config: Config) -> MotionModel:
    """A model as `--mode train` makes it, before it is moved to the device."""
    model = build_model(config)
    section = config.train_params
    if next(model.parameters(), None) is not None:
        vgg = VGG19() if section.needs_vgg19 else None
        estimator = AUEstimator().requires_grad_(False).eval() if section.au_estimator_file else None
        model.prepare_training(section, vgg, estimator)
    return model


def construct_avd(config: Config) -> MotionModel:
    """A model as `--mode train_avd` makes it, before it is moved to the device."""
    model = build_model(config)
    model.prepare_avd(config.train_avd_params)
    return model


def construct_au(config: Config) -> AUEstimator:
    """The estimator as `--mode train_au` makes it, before it is moved to the device."""
    estimator = AUEstimator(torch.zeros(17, 68, 2))
    estimator.prepare_training(config.train_au_params)
    return estimator


def on_cuda(module: nn.Module) -> nn.Module:
    """Move what `Module.to` moves, which fails on fake tensors: parameters and buffers, but no other tensors."""
    shared: dict[Tensor, nn.Parameter] = {}
    for child in module.modules():
        for name, value in child._parameters.items():
            if value is not None and value not in shared:
                moved = torch.empty(value.shape, dtype=value.dtype, device="cuda")
                shared[value] = nn.Parameter(moved, requires_grad=value.requires_grad)
            child._parameters[name] = None if value is None else shared[value]
        for name, value in child._buffers.items():
            child._buffers[name] = None if value is None else value.to("cuda")
    return module


@cache
def prepared(case: Case, build: Callable[[Config], nn.Module] = construct) -> Prepared:
    config, data = case.config, case.config.dataset_params
    with fake_cuda():
        model = on_cuda(build(config))
    raw = raw_batch(
        data.augmentation_params,
        data.frame_shape[:2],
        landmarks=model.needs_landmarks or data.remove_head_motion,
        action_units=model.needs_action_units,
    )
    with fake_cuda(answer=True, waits=True):
        return Prepared(config, model, augment(raw, remove_head_motion=data.remove_head_motion))


def raw_batch(
    params: AugmentationParams, size: tuple[int, int], *, landmarks: bool = True, action_units: bool = True
) -> dict[str, Any]:
    """Collated pairs as `FramesDataset` draws them, on the fake device."""
    rng = np.random.default_rng(0)
    points = torch.from_numpy(face_landmarks(size[0]) / (size[0] - 1) * 2 - 1).float()
    pair: dict[str, Any] = {name: torch.zeros(3, *size, dtype=torch.uint8) for name in ("source", "driving")}
    pair |= {"subject": 0, "augmentation": draw_augmentation(params, size, rng)}
    if landmarks:
        pair |= {"source_landmarks": points, "driving_landmarks": points}
    if action_units:
        pair |= {"source_au": torch.zeros(17, 2), "au_diff": torch.zeros(17, 2)}
    collated = default_collate([pair] * BATCH)
    with FAKE:
        return tree_map(lambda value: FAKE.from_tensor(value).to("cuda"), collated)


# --- what fake tensors cannot do -------------------------------------------------------------------------------------


def grid_sampler(image: Tensor, grid: Tensor, mode: int, padding: int, align_corners: bool) -> Tensor:
    """`torch.grid_sampler` without its question whether cuDNN could do it, which needs a driver."""
    assert grid.dtype == torch.float32, "sampling coordinates are float32 in every precision mode"
    return torch.ops.aten.grid_sampler_2d(image, grid, mode, padding, align_corners)


@pytest.fixture(autouse=True)
def _cuda_without_driver(monkeypatch):
    monkeypatch.setattr(torch, "grid_sampler", grid_sampler)
    # `torch.autocast` asks the driver, and is silently off without one.
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)


@contextmanager
def fake_cuda(precision: str = "32", *, answer: bool = False, waits: bool = False) -> Iterator[None]:
    """Fake tensors, in the precision modes of `train_params.precision`."""
    autocast = torch.autocast("cuda", torch.bfloat16) if precision == "bf16-mixed" else nullcontext()
    FAKE.answer, FAKE.waits = answer, waits
    with FAKE, autocast:
        yield


def check_outputs(outputs: Mapping[str, Any]) -> None:
    """All on CUDA, and what says where the picture moves in full precision."""
    for name, value in outputs.items():
        for tensor in tree_leaves(value):
            if isinstance(tensor, Tensor):
                assert tensor.device.type == "cuda", name
                assert name not in FULL_PRECISION or tensor.dtype == torch.float32, name


def check_motion(motion: Mapping[str, Tensor]) -> None:
    for name, value in motion.items():
        assert value.device.type == "cuda", name
        assert name == "frame" or value.dtype == torch.float32, name


def check_losses(losses: Mapping[str, Tensor], expected: frozenset[str] = frozenset()) -> None:
    assert expected <= set(losses)
    for name, value in losses.items():
        assert value.device.type == "cuda", name
        assert value.shape == (), name
    assert sum(losses.values()).requires_grad


# --- experiments -----------------------------------------------------------------------------------------------------

PICTURE = (
    "train_params.loss_weights.perceptual=[1, 1, 1, 1, 1]",
    "train_params.loss_weights.pixel=1",
    "train_params.loss_weights.gradient=1",
    "train_params.loss_weights.motion=1",
)
RELATIVE_AU = (
    "train_params.loss_weights.relative_au=1",
    "train_params.au_estimator=unread.pth.tar",
    "train_params.au_weights={12: 2.0}",
)
COMMON = {"perceptual", "pixel", "gradient", "motion"}

SHIPPED = {name.removesuffix(".yaml"): Case(name) for name in EXPERIMENTS}


def variant(experiment: str, losses: set[str], *changes: str) -> Case:
    return Case(experiment, (*PICTURE, *changes), frozenset(COMMON | losses))


VARIANTS = {
    "tps learned keypoints": variant(
        "tps-demo.yaml",
        {"equivariance_value", "warp_loss", "bg"},
        "model_params.keypoints=learned",
        "model_params.common_params.bg=true",
        "model_params.dense_motion_params.scale_factor=0.5",
        "train_params.loss_weights.warp_loss=1",
        "train_params.dropout_epoch=35",
    ),
    "tps as published": variant(
        "tps-rau-demo.yaml",
        {"relative_au"},
        *RELATIVE_AU,
        "model_params.landmark_groups=megc2022",
        "model_params.landmark_activation=sigmoid",
        "model_params.tps_regularization=tpsmm",
        "model_params.au_conditioning=concat",
        "model_params.common_params.multi_mask=false",
        "model_params.dense_motion_params.locality=null",
        "model_params.dense_motion_params.initial_occlusion=null",
        "train_params.relative_au_warmup=20",
    ),
    "tps action units": variant(
        "tps-rau-demo.yaml", {"relative_au", "shading"}, *RELATIVE_AU, "train_params.cross_identity=0.5"
    ),
    "fomm adversarial": variant(
        "fomm-demo.yaml",
        {"generator_gan", "feature_matching", "equivariance_value", "equivariance_jacobian"},
        "train_params.loss_weights.generator_gan=1",
        "model_params.discriminator_params.scales=[1, 0.5]",
        "model_params.discriminator_params.use_kp=true",
        "model_params.discriminator_params.sn=true",
    ),
    "fomm shifts alone": variant(
        "fomm-demo.yaml",
        {"generator_gan", "equivariance_value"},
        "train_params.loss_weights.generator_gan=1",
        "train_params.loss_weights.feature_matching=[]",
        "model_params.common_params.estimate_jacobian=false",
        "model_params.generator_params.estimate_occlusion_map=false",
        "model_params.generator_params.dense_motion_params.locality=null",
    ),
    "fomm awp as published": variant(
        "fomm-awp-demo.yaml",
        {"equivariance_jacobian"},
        "model_params.prior_params={convention: published}",
        "model_params.align_corners=false",
        "model_params.resize_align_corners=false",
        "model_params.generator_params.blend_source=false",
        "model_params.kp_detector_params.pad=0",
    ),
    "fomm ewp of all landmarks": variant(
        "fomm-ewp-demo.yaml",
        {"equivariance_jacobian"},
        "model_params.common_params.num_kp=68",
        "model_params.prior_params={kernel: gaussian, sigma: 4, threshold: none}",
        "model_params.kp_detector_params.single_jacobian_map=true",
    ),
    "mraa as published": variant(
        "mraa-demo.yaml",
        {"equivariance_shift", "equivariance_affine"},
        "model_params.bg_predictor_params={bg_type: affine, num_blocks: 3}",
        "model_params.region_affine=principal",
        "model_params.relative_covar=driving",
        "model_params.align_corners=false",
        "model_params.resize_align_corners=false",
        "model_params.generator_params.skips=false",
        "model_params.generator_params.pixelwise_flow_predictor_params.locality=null",
    ),
    "mraa regression": variant(
        "mraa-demo.yaml",
        {"equivariance_shift", "equivariance_affine"},
        "model_params.bg_predictor_params={bg_type: perspective, num_blocks: 3}",
        "model_params.region_predictor_params.pca_based=false",
    ),
    "mraa shifts alone": variant(
        "mraa-demo.yaml",
        {"equivariance_shift"},
        "model_params.bg_predictor_params={bg_type: shift, num_blocks: 3}",
        "model_params.estimate_affine=false",
        "model_params.region_predictor_params.pca_based=false",
        "model_params.generator_params.pixelwise_flow_predictor_params.use_covar_heatmap=false",
    ),
    "mraa awp as published": variant(
        "mraa-awp-demo.yaml",
        {"equivariance_affine"},
        "model_params.prior_params={convention: published}",
        "model_params.prior_regions=published",
        "model_params.region_affine=principal",
    ),
    "warp without anchors": Case("warp-256.yaml", ("model_params.forehead=null", "model_params.steps=1")),
}
CASES = SHIPPED | VARIANTS
TRAINED = {name: case for name, case in CASES.items() if case.config.family != "warp"}
CROSSED = {name: case for name, case in TRAINED.items() if getattr(case.config.train_params, "cross_identity", 0)}
WITH_AVD = {name: CASES[name] for name in ("tps-demo", "tps learned keypoints", "mraa-demo", "mraa awp as published")}
PRECISIONS = pytest.mark.parametrize("precision", ["32", "bf16-mixed"])


def each(cases: Mapping[str, Case], *, precisions: bool = False) -> pytest.MarkDecorator:
    """Parametrise by case, and by the precision: full at 256, mixed for demo sizes and variants."""
    if not precisions:
        return pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in cases.items()])
    named = {name: "32" if name in SHIPPED and name.endswith("-256") else "bf16-mixed" for name in cases}
    both = [pytest.param(cases[name], precision, id=f"{name} {precision}") for name, precision in named.items()]
    return pytest.mark.parametrize(("case", "precision"), both)


def test_every_family_has_an_experiment():
    assert {case.config.family for case in SHIPPED.values()} == set(FAMILIES)


@each(TRAINED, precisions=True)
def test_a_training_step_stays_on_cuda(case, precision):
    _, model, batch = prepared(case)
    model.train()
    with fake_cuda(precision):
        losses, generated = model.losses(batch, EPOCH)
        judged = model.discriminator_losses(batch, generated)
    check_losses(losses, case.losses)
    check_outputs(generated)
    assert generated["prediction"].shape == batch["source"].shape
    assert bool(judged) == ("generator_gan" in losses)
    if judged:
        check_losses(judged)


@each(CROSSED, precisions=True)
def test_a_cross_identity_step_stays_on_cuda(case, precision):
    _, model, batch = prepared(case)
    model.train()
    with fake_cuda(precision, answer=True, waits=True):
        losses, generated = model.losses(batch, EPOCH)
    check_losses(losses, frozenset({"cross_relative_au", "cross_keypoint", "cross_identity"}))
    check_outputs(generated)


def modes_of(model: MotionModel, config: Config) -> list[str]:
    """Modes of `animate_params` that the model has the networks for."""
    has_avd = "avd_network" in model.networks() and getattr(config.model_params, "estimate_affine", True)
    return ["relative", "standard", *(["avd"] if has_avd else [])]


@each(CASES, precisions=True)
def test_generation_stays_on_cuda(case, precision):
    config, model, batch = prepared(case)
    model.eval()
    frames, au_diff = batch["driving"], batch.get("au_diff")
    with fake_cuda(precision), torch.no_grad():
        flow = torch.zeros(*frames.shape[::2], frames.shape[3], 2, device="cuda") if model.takes_flow else None
        source, landmarks = batch["source"][:1], batch["source_landmarks"][:1] if model.needs_landmarks else None
        encoded, own = model.encode(source, landmarks), model.motion(source, landmarks)
        driving = model.motion(frames, batch.get("driving_landmarks"))
    with fake_cuda(precision, waits=True), torch.no_grad():
        normalization = config.animate_params.normalization_params
        carried = {mode: model.relative(own, driving, own, mode, normalization) for mode in modes_of(model, config)}
    with fake_cuda(precision), torch.no_grad():
        unscaled = NormalizationParams(adapt_movement_scale=False, use_relative_jacobian=False)
        carried["unscaled"] = model.relative(own, driving, own, "relative", unscaled)
        generated = [
            model.generate(encoded, own, driving, Condition(au_diff=au_diff)),  # reconstruction
            model.generate(encoded, own, carried["relative"], Condition(au_diff=au_diff, flow=flow)),
        ]
    for motion in (own, driving, *carried.values()):
        check_motion(motion)
    for outputs in generated:
        check_outputs(outputs)
        assert outputs["prediction"].shape == frames.shape


@each(WITH_AVD)
def test_a_step_of_the_avd_network_stays_on_cuda(case):
    _, model, batch = prepared(case, construct_avd)
    model.train()
    with fake_cuda():
        losses, _ = model.avd_losses(batch, EPOCH)
    check_losses(losses, frozenset({"shift"}))


def test_a_step_of_the_estimator_of_action_units_stays_on_cuda():
    _, model, batch = prepared(Case("tps-rau-demo.yaml"), construct_au)
    with fake_cuda():
        losses, _ = model.losses(batch, EPOCH)
    check_losses(losses, frozenset({"difference", "explanation", "intensity", "roughness", "motion", "shading"}))


@PRECISIONS
def test_estimated_action_units_stay_on_cuda(precision):
    _, model, batch = prepared(Case("tps-rau-demo.yaml"), construct_au)
    source, driving, landmarks = batch["source"], batch["driving"], batch["source_landmarks"]
    with fake_cuda(precision), torch.no_grad():
        found = [
            model(source, landmarks),
            model.difference(source, driving, landmarks),
            model.difference(source, driving, landmarks, batch["source_au"]),
        ]
    for value in found:
        assert value.device.type == "cuda"
        assert value.dtype == torch.float32
        assert value.shape == (BATCH, 17, 2)


EVERY_CHANGE = {
    "flip_param": {"horizontal_flip": True, "time_flip": True},
    "jitter_param": {"brightness": 0.1, "contrast": 0.1, "saturation": 0.1, "hue": 0.1},
    "rotation_param": {},
    "resize_param": {},
    "crop_param": {"size": [48, 48]},
}


@pytest.mark.parametrize("remove_head_motion", [False, True])
@pytest.mark.parametrize("inputs", [True, False])
@pytest.mark.parametrize("changes", [{}, EVERY_CHANGE])
def test_augmentation_stays_on_cuda(changes, inputs, remove_head_motion):
    params = AugmentationParams.model_validate(changes)
    raw = raw_batch(params, (64, 64), landmarks=inputs or remove_head_motion, action_units=inputs)
    with fake_cuda(answer=True, waits=True):
        batch = augment(raw, remove_head_motion=remove_head_motion)
    assert set(batch) == set(raw) - {"augmentation"}
    for name, value in batch.items():
        assert value.device.type == "cuda", name
        assert value.shape == raw[name].shape, name


# --- the harness itself ----------------------------------------------------------------------------------------------


class _Forgetful(nn.Module):
    """A layer, and weights that are neither parameter nor buffer, so that nothing moves them to the device."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)
        self.weights = torch.ones(4)

    def forward(self, image: Tensor) -> Tensor:
        return self.layer(image) * self.weights


def test_a_tensor_left_on_the_cpu_raises():
    with fake_cuda():
        model, image = on_cuda(_Forgetful()), torch.zeros(1, 3, 4, 4, device="cuda")
        assert model.layer(image).device.type == "cuda"
        with pytest.raises(RuntimeError, match="two devices"):
            model(image)


def test_a_layer_that_was_not_moved_raises():
    with fake_cuda(), pytest.raises(RuntimeError, match="same device"):
        nn.Conv2d(3, 3, 1)(torch.zeros(1, 3, 4, 4, device="cuda"))


def test_mixed_precision_is_on():
    with fake_cuda("bf16-mixed"):
        layer, image = on_cuda(nn.Conv2d(3, 3, 1)), torch.zeros(1, 3, 4, 4, device="cuda")
        assert layer(image).dtype == torch.bfloat16


def test_a_step_that_waits_for_the_device_raises():
    with fake_cuda(), pytest.raises(AssertionError, match="the host waits for the device"):
        torch.zeros(2, device="cuda").tolist()
