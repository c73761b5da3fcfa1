import copy
import errno
import pickle
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision.models.vgg import cfgs, make_layers

from config.load import build_config
from core.checkpoints import (
    CheckpointError,
    checkpoint_contents,
    finished_epoch,
    load_networks,
    load_optimisers,
    read_checkpoint,
    write_checkpoint,
)
from core.models import build_model, load_vgg19
from modules.losses import VGG19
from tests.conftest import tiny_experiment


def prepared(tmp_path: Path, published: bool = False, **model_params):
    """A tiny model with its config and optimisers; `published` as a published experiment describes it."""
    experiment = tiny_experiment(tmp_path)
    experiment["model_params"] |= {"keypoints": "learned", **model_params}
    if published:
        del experiment["format"], experiment["model_params"]["family"], experiment["model_params"]["keypoints"]
        for name in ("keypoint_dir", "au_dir"):
            del experiment["dataset_params"][name]
    config = build_config(experiment, "test").config
    torch.manual_seed(0)
    model = build_model(config)
    return config, model, model.prepare_training(config.train_params, None)


def published_contents(model, optimisers) -> dict:
    """A checkpoint as TPSMM writes it, with a NumPy scalar in the optimiser's state."""
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimisers["optimizer"].optimizer.step()
    contents = {name: network.state_dict() for name, network in model.networks().items() if name != "avd_network"}
    contents["optimizer"] = optimisers["optimizer"].optimizer.state_dict()
    contents["optimizer"]["param_groups"][0]["lr"] = np.float64(2e-5)
    contents["epoch"] = 99
    return contents


def only_plain(value) -> bool:
    if isinstance(value, dict):
        return type(value) is dict and all(only_plain(child) for child in value.values())
    if isinstance(value, list):
        return all(only_plain(child) for child in value)
    return value is None or type(value) in (torch.Tensor, int, float, bool, str)


def test_what_is_written_is_read(tmp_path):
    config, model, optimisers = prepared(tmp_path)
    path = tmp_path / "a.pth.tar"
    contents = checkpoint_contents(config, model, optimisers, epoch=3, step=2, epoch_key="epoch")
    assert only_plain(contents)
    write_checkpoint(path, contents)
    read = read_checkpoint(path)
    assert (read["epoch"], read["step"], read["family"]) == (3, 2, "tps")
    other = build_model(config)
    assert load_networks(other, read, config, path) == set(model.networks())
    for name, network in model.networks().items():
        for key, value in network.state_dict().items():
            torch.testing.assert_close(other.networks()[name].state_dict()[key], value)
    assert [p.name for p in tmp_path.iterdir()] == ["a.pth.tar"]


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_published_checkpoints_load_with_the_scalars_of_numpy_1_and_2(tmp_path, module):
    config, model, optimisers = prepared(tmp_path, published=True)
    path = tmp_path / "published.pth.tar"
    torch.save(published_contents(model, optimisers), path, pickle_module=pickle_as(module))
    contents = read_checkpoint(path)
    assert type(contents["optimizer"]["param_groups"][0]["lr"]) is float
    assert finished_epoch(contents, "epoch", path) == 99
    _, other, fresh = prepared(tmp_path, published=True)
    assert "avd_network" not in load_networks(other, contents, config, path)
    load_optimisers(fresh, contents, path)
    assert fresh["optimizer"].optimizer.state_dict()["state"][0]["step"] == 1


class CraftedType:
    """Pickled as a number type with the flags of one that holds Python objects, which the real type accepts."""

    def __reduce__(self):
        return np.dtype, ("f8", False, True), (3, "<", None, None, None, -1, -1, 63)


class WrongBytes:
    """Pickled as a number of eight bytes with one byte."""

    def __reduce__(self):
        scalar, (kind, _) = np.float64(0).__reduce__()
        return scalar, (kind, b"1")


@pytest.mark.parametrize("content", [CraftedType(), WrongBytes()])
def test_crafted_numbers_are_refused(tmp_path, content):
    path = tmp_path / "crafted.pth.tar"
    torch.save({"epoch": content}, path)
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        read_checkpoint(path)


def test_damaged_checkpoints_are_refused_in_one_line(tmp_path):
    good, path = tmp_path / "good.pth", tmp_path / "damaged.pth"
    torch.save({"kp_detector": {"weight": torch.zeros(3)}, "epoch": 1}, good, _use_new_zipfile_serialization=False)
    rng, data = np.random.default_rng(0), good.read_bytes()
    refused = 0
    for _ in range(150):
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            read_checkpoint(path)
        except CheckpointError as error:
            refused += 1
            assert "\n" not in str(error)  # noqa: PT017
    assert refused > 50


def pickle_as(module: str):
    """Pickle that writes NumPy's scalar constructor under another module name, as another version did."""

    class Pickler(pickle._Pickler):
        dispatch = pickle._Pickler.dispatch.copy()

        def save_global(self, obj, name=None):
            if getattr(obj, "__name__", "") == "scalar":
                self.write(pickle.GLOBAL + f"{module}\nscalar\n".encode())
                self.memoize(obj)
            else:
                super().save_global(obj, name)

        dispatch[type(len)] = save_global

    class Module:
        pass

    fake = Module()
    fake.__dict__.update(vars(pickle), Pickler=Pickler, __name__="pickle")
    return fake


def test_a_published_checkpoint_must_agree_with_the_config(tmp_path):
    config, model, optimisers = prepared(tmp_path)
    with pytest.raises(CheckpointError, match="tps_regularization is tpsmm, the config says exact; make them agree"):
        load_networks(model, published_contents(model, optimisers), config, tmp_path / "x")


def test_checkpoints_with_keys_that_are_no_longer_options_load(tmp_path):
    config, model, optimisers = prepared(tmp_path)
    contents = checkpoint_contents(config, model, optimisers, epoch=0, step=0, epoch_key="epoch")
    contents["config"]["model_params"]["dense_motion_params"]["kp_variance"] = 0.01
    assert load_networks(build_model(config), contents, config, tmp_path / "x")
    contents["config"]["model_params"]["dense_motion_params"]["kp_variance"] = 0.1
    with pytest.raises(CheckpointError, match="kp_variance is no longer an option: expected 0.01"):
        load_networks(build_model(config), contents, config, tmp_path / "x")


def test_settings_that_no_weight_shows_are_compared(tmp_path):
    config, model, optimisers = prepared(tmp_path)
    contents = checkpoint_contents(config, model, optimisers, epoch=0, step=0, epoch_key="epoch")
    other, network, _ = prepared(tmp_path, tps_regularization="tpsmm")
    with pytest.raises(CheckpointError, match="tps_regularization is exact, the config says tpsmm"):
        load_networks(network, contents, other, tmp_path / "x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("dense_motion_network"), "expected the network `dense_motion_network`, found"),
        (lambda c: c["inpainting_network"].pop("final.bias"), r"inpainting_network: .*missing: final\.bias"),
        (lambda c: c["inpainting_network"].update(more=torch.zeros(1)), r"unknown: more"),
        (
            lambda c: c["inpainting_network"].update({"final.bias": torch.zeros(7)}),
            r"other size: final\.bias is \[7\], the config gives \[3\]",
        ),
        (lambda c: c.update(inpainting_network=[1]), "expected a state dict, got list"),
    ],
)
def test_networks_that_do_not_fit_are_named(tmp_path, change, message):
    config, model, optimisers = prepared(tmp_path, published=True)
    contents = published_contents(model, optimisers)
    change(contents)
    with pytest.raises(CheckpointError, match=message):
        load_networks(model, contents, config, tmp_path / "x")


def test_another_family_is_named(tmp_path):
    config, model, _ = prepared(tmp_path)
    for contents, family in (({"generator": {}, "kp_detector": {}}, "fomm"), ({"region_predictor": {}}, "mraa")):
        with pytest.raises(CheckpointError, match=f"of the family `{family}`, the config says `tps`"):
            load_networks(model, contents, config, tmp_path / "x")
    with pytest.raises(CheckpointError, match="expected a checkpoint with networks, found epoch"):
        load_networks(model, {"epoch": 3}, config, tmp_path / "x")


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty; download it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n", "a Git-LFS pointer"),
        (b"\n<!DOCTYPE html><html>Sign in</html>", "a web page, not a checkpoint"),
        (b"<html>", "a web page, not a checkpoint"),
        (b"nonsense" * 100, "not a checkpoint, or damaged|truncated or damaged"),
    ],
)
def test_files_that_are_no_checkpoints_are_told_apart(tmp_path, content, message):
    path = tmp_path / "x.pth.tar"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_truncated_file_is_told_apart(tmp_path, legacy):
    path = tmp_path / "x.pth.tar"
    torch.save({"inpainting_network": {"w": torch.rand(10000)}}, path, _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    assert read_checkpoint(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="truncated or damaged|not a checkpoint, or damaged"):
        read_checkpoint(path)


def test_python_objects_are_not_loaded(tmp_path, capsys):
    torch.save({"epoch": Evil()}, tmp_path / "x.pth.tar")
    with pytest.raises(CheckpointError, match="contains the Python object .*print"):
        read_checkpoint(tmp_path / "x.pth.tar")
    assert capsys.readouterr().out == ""


def test_a_missing_file_and_a_list_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="absent: no such file; correct the path"):
        read_checkpoint(tmp_path / "absent")
    torch.save([1, 2], tmp_path / "list")
    with pytest.raises(CheckpointError, match="expected a dict of networks, got list"):
        read_checkpoint(tmp_path / "list")
    with pytest.raises(CheckpointError, match="expected a whole number under `epoch`, got None"):
        finished_epoch({}, "epoch", tmp_path / "x")


def test_a_full_disk_leaves_the_checkpoint_that_was_there(tmp_path):
    resource = pytest.importorskip("resource", reason="limits of file sizes are a matter of POSIX")
    path = tmp_path / "a.pth.tar"
    write_checkpoint(path, {"epoch": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(CheckpointError, match="could not be written .*; make room"):
            write_checkpoint(path, {"epoch": 2, "w": torch.rand(1_000_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert read_checkpoint(path) == {"epoch": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.pth.tar"]


def test_an_optimiser_that_does_not_fit_is_named_and_a_missing_one_starts_anew(tmp_path, caplog):
    _, model, optimisers = prepared(tmp_path)
    wrong = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))]).state_dict()
    with pytest.raises(CheckpointError, match="x: optimizer: does not fit the config"):
        load_optimisers(optimisers, {"optimizer": wrong}, Path("x"))
    load_optimisers(optimisers, {}, Path("x"))
    assert "no state of the optimiser `optimizer`, which starts from scratch" in caplog.text


@pytest.fixture
def _features_alone(monkeypatch):
    """VGG-19 without the classifier of 124 million numbers, which is thrown away in any case."""
    features = make_layers(cfgs["E"], batch_norm=False)
    monkeypatch.setattr("modules.losses.vgg19", lambda weights: SimpleNamespace(features=copy.deepcopy(features)))


def torchvision_state(network: VGG19) -> dict[str, torch.Tensor]:
    state = {k.split(".", 1)[1]: v for k, v in network.state_dict().items() if k.startswith("slice")}
    return {f"features.{key}": torch.rand_like(value) for key, value in state.items()}


@pytest.mark.usefixtures("_features_alone")
def test_perceptual_weights_come_from_a_file_in_torchvisions_format(tmp_path):
    state = torchvision_state(VGG19())
    torch.save({**state, "classifier.0.weight": torch.zeros(1)}, tmp_path / "vgg.pth")
    network = load_vgg19(str(tmp_path / "vgg.pth"))
    torch.testing.assert_close(network.state_dict()["slice5.28.weight"], state["features.28.weight"])
    assert network.std.flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])
    del state["features.10.bias"]
    torch.save(state, tmp_path / "vgg.pth")
    with pytest.raises(CheckpointError, match=r"expected torchvision's VGG-19 with features\.10\.bias"):
        load_vgg19(str(tmp_path / "vgg.pth"))


@pytest.mark.usefixtures("_features_alone")
def test_missing_perceptual_weights_say_where_they_belong(tmp_path, monkeypatch):
    def no_network(*args, **kwargs):
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path), raising=False)
    monkeypatch.setattr("torch.hub.urlopen", no_network)
    with pytest.raises(CheckpointError, match=r"checkpoints.vgg19-dcbb9e9d\.pth: VGG-19 weights are missing") as caught:
        load_vgg19("imagenet")
    assert str(tmp_path) in str(caught.value)
    assert "train_params.perceptual_network" in str(caught.value)


@pytest.mark.usefixtures("_features_alone")
def test_torchvision_finds_the_file_where_the_message_says(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path), raising=False)
    (tmp_path / "checkpoints").mkdir()
    state = torchvision_state(VGG19())
    torch.save(state, tmp_path / "checkpoints" / "vgg19-dcbb9e9d.pth")
    network = load_vgg19("imagenet")
    torch.testing.assert_close(network.state_dict()["slice1.0.bias"], state["features.0.bias"])


def test_a_published_checkpoint_with_action_units_fits_strictly(tmp_path):
    experiment = tiny_experiment(tmp_path)
    del experiment["format"], experiment["model_params"]["family"], experiment["model_params"]["keypoints"]
    config = build_config(experiment, "test").config
    assert config.model_params.au_conditioning == "concat"
    model = build_model(config)
    optimisers = model.prepare_training(config.train_params, None)
    contents = published_contents(model, optimisers)
    path = tmp_path / "00000099-checkpoint.pth.tar"
    torch.save(contents, path)
    filled = load_networks(build_model(config), read_checkpoint(path), config, path)
    assert filled >= {"inpainting_network", "dense_motion_network", "kp_detector"}
    experiment["dataset_params"]["au_dir"] = None
    plain = build_config(experiment, "test").config
    with pytest.raises(CheckpointError, match=r"inpainting_network: does not fit the config \(.*other size"):
        load_networks(build_model(plain), read_checkpoint(path), plain, path)
