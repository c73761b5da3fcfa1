import json
import re
from pathlib import Path

import pytest

from config.load import ConfigError, load_config, load_preparation, parse_value
from config.schema import json_schema
from config.tps import TpsConfig

ROOT = Path(__file__).parents[1]
MINIMAL = "format: 2\nmodel_params: {family: tps}\n"
PUBLISHED_TPS = "model_params: {common_params: {num_tps: 10, num_channels: 3, bg: False, multi_mask: True}}\n"


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "experiment.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


PREPARATIONS = sorted((ROOT / "config").glob("prepare-*.yaml"))
EXPERIMENTS = sorted(set((ROOT / "config").glob("*.yaml")) - set(PREPARATIONS))


@pytest.mark.parametrize("path", PREPARATIONS, ids=lambda path: path.name)
def test_every_shipped_preparation_loads_and_is_no_experiment(path):
    assert load_preparation(path).prepare_params.output_dir
    with pytest.raises(ConfigError, match=r"expected an experiment, got prepare_params; use it with --mode prepare"):
        load_config(path)


def test_an_experiment_is_no_preparation(write):
    with pytest.raises(ConfigError, match="expected the section prepare_params, got an experiment"):
        load_preparation(write(MINIMAL))


def test_a_wrong_preparation_names_every_problem(write):
    text = """
format: 2
prepare_params:
  data_set: casme22
  root_dir: release
  crop_params: {margn: 0.3, size: 8}
  landmark_params: {boxes: boxes.csv, backend: files}
"""
    with pytest.raises(ConfigError) as caught:
        load_preparation(write(text))
    for line in (
        "prepare_params.data_set: expected 'casme2', 'samm'",
        "prepare_params.output_dir: expected a value, got nothing",
        "prepare_params.crop_params.margn: unknown key; did you mean prepare_params.crop_params.margin?",
        "prepare_params.crop_params.size: expected greater than or equal to 16, got 8",
        "prepare_params.landmark_params.boxes: expected `backend: mesh` or `face-alignment`, got `files`",
    ):
        assert line in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("length=9", "prepare_params.length: expected together with `trim: true`"),
        ("split_params={by: list}", "prepare_params.split_params.test_list: expected together with `by: list`"),
        ("output_dir=.", "prepare_params.output_dir: expected a folder that does not contain root_dir"),
        ("landmark_params={follow: files}", "landmark_params.backend: expected `files` together with"),
    ],
)
def test_settings_of_a_preparation_fit_together(write, changes, message):
    path = write("format: 2\nprepare_params: {data_set: folder, root_dir: a, output_dir: b, trim: false}\n")
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_preparation(path, [f"prepare_params.{changes}"])


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.name)
def test_every_shipped_experiment_loads_without_notices(path):
    loaded = load_config(path)
    assert loaded.notices == []
    assert load_config(path).config == loaded.config


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e-4", 2e-4),
        ("1.5", 1.5),
        ("-3", -3),
        ("0", 0),
        ("true", True),
        ("~", None),
        ("[1, 0.5]", [1, 0.5]),
        ("022_3_3", "022_3_3"),
        ("006", "006"),
        ("1_000", "1_000"),
        ("yes", "yes"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("'6'", "6"),
    ],
)
def test_scalars_are_those_of_yaml_1_2_and_clip_names_stay_text(text, value):
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_assignments_change_single_values(write):
    config = load_config(
        write(MINIMAL),
        ["train_params.batch_size=4", "dataset_params.root_dir=006", "train_params.loss_weights.pixel=2e-1", "seed=7"],
    ).config
    assert config.train_params.batch_size == 4
    assert config.dataset_params.root_dir == Path("006")
    assert config.train_params.loss_weights.pixel == 0.2
    assert config.seed == 7


@pytest.mark.parametrize("precision", ["32", "'32'"])
def test_precision_is_accepted_as_number_and_as_text(write, precision):
    config = load_config(write(MINIMAL), [f"train_params.precision={precision}"]).config
    assert config.train_params.precision == "32"


def test_lists_serve_as_tuples(write):
    config = load_config(write(MINIMAL), ["train_params.scales=[1, 0.5]"]).config
    assert config.train_params.scales == (1.0, 0.5)


def test_all_problems_come_in_one_message_with_the_nearest_key(write):
    text = """
format: 2
model_params: {family: tps, keypoints: landmark}
train_params: {bach_size: 3, num_epochs: many, scales: [1, 2]}
dataset_params: {root_dir: 17, keypont_dir: a, fps: -1}
animate_params: {mode: standard, normalization_params: {use_relative_movement: true}}
"""
    with pytest.raises(ConfigError) as caught:
        load_config(write(text))
    message = str(caught.value)
    assert "8 problems" in message
    for line in (
        "model_params.keypoints: expected 'learned' or 'landmarks', got 'landmark'",
        "train_params.bach_size: unknown key; did you mean train_params.batch_size?",
        "train_params.num_epochs: expected integer, got 'many'",
        "train_params.scales.1: expected less than or equal to 1, got 2",
        "dataset_params.root_dir: expected a path, got 17; put a number between quotes",
        "dataset_params.keypont_dir: unknown key; did you mean dataset_params.keypoint_dir?",
        "dataset_params.fps: expected greater than 0, got -1",
        "animate_params: expected mode and normalization_params.use_relative_movement to agree",
    ):
        assert line in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "not valid YAML"),
        ("a: 1\na: 2", "the key 'a' is repeated"),
        ("just text", "expected sections"),
        ("format: 2\n", "model_params.family: expected one of tps, warp, fomm, mraa"),
        ("format: 3\nmodel_params: {family: tps}", "format: expected 2, got 3"),
        ("dataset_params: {root_dir: x}", "expected `format: 2`, or a published file with one of"),
        (MINIMAL + "dataset_params: {frame_shape: [100, 128, 3]}", "expected a height divisible by 128"),
        ("format: 2\nmodel_params: {family: tps, keypoints: landmarks, common_params: {num_tps: 9}}", "expected 10"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(write, text, message):
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        load_config(write(text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.yaml: expected a readable YAML file \(No such file"):
        load_config(tmp_path / "absent.yaml")


def test_published_thin_plate_spline_files_get_their_implicit_decisions(write):
    loaded = load_config(write(PUBLISHED_TPS))
    assert isinstance(loaded.config, TpsConfig)
    assert loaded.config.model_params.tps_regularization == "tpsmm"
    assert loaded.config.model_params.keypoints == "learned"
    assert "model_params.tps_regularization: tpsmm" in loaded.notices


def test_published_files_with_landmarks_and_action_units(write):
    loaded = load_config(write(PUBLISHED_TPS + "dataset_params: {keypoint_dir: kp, au_dir: au}"))
    model = loaded.config.model_params
    assert (model.keypoints, model.landmark_groups, model.landmark_activation) == ("landmarks", "megc2022", "sigmoid")
    assert model.au_conditioning == "concat"
    assert loaded.config.dataset_params.au_noise == 0.02
    assert "dataset_params.au_noise: 0.02" in loaded.notices
    assert load_config(write(PUBLISHED_TPS)).config.dataset_params.au_noise == 0
    kept = write(PUBLISHED_TPS + "dataset_params: {au_dir: au, au_noise: 0.1}")
    assert load_config(kept).config.dataset_params.au_noise == 0.1


@pytest.mark.parametrize(("relative", "mode"), [("true", "relative"), ("false", "standard")])
def test_published_files_say_by_another_key_whether_movement_is_relative(write, relative, mode):
    animation = f"animate_params: {{normalization_params: {{use_relative_movement: {relative}}}}}"
    assert load_config(write(PUBLISHED_TPS + animation)).config.animate_params.mode == mode


@pytest.mark.parametrize(
    ("text", "family"),
    [("model_params: {common_params: {num_kp: 10}}", "fomm"), ("model_params: {num_regions: 10}", "mraa")],
)
def test_published_keypoint_and_region_files(write, text, family):
    loaded = load_config(write(text))
    assert loaded.config.family == family
    assert loaded.config.model_params.align_corners is False
    assert loaded.config.model_params.resize_align_corners is False


def published_experiments() -> dict[str, dict]:
    """One experiment for each published code base, with every key of its files."""
    keys = json.loads((ROOT / "tests/golden/configs.json").read_text(encoding="utf-8"))["keys"]
    experiments: dict[str, dict] = {}
    for path, entry in keys.items():
        values = [value for examples in entry["examples"].values() for value in examples]
        for repository in entry["in"]:
            *sections, key = path.split(".")
            at = experiments.setdefault(repository, {})
            for section in sections:
                at = at.setdefault(section, {})
            at[key] = values[0] if values and values[0] is not None else "some/path"
    return experiments


@pytest.mark.parametrize("repository", sorted(published_experiments()))
def test_every_published_key_is_accepted(write, repository):
    experiment = published_experiments()[repository]
    loaded = load_config(write(json.dumps(experiment)))
    assert loaded.config.family in ("tps", "fomm", "mraa")
    assert loaded.config.animate_params.normalization_params.movement_scale == "hull"
    assert "animate_params.normalization_params.movement_scale: hull" in loaded.notices


def test_the_committed_schema_is_current():
    assert (ROOT / "config/schema.json").read_text(encoding="utf-8") == json_schema()


@pytest.mark.parametrize(
    ("key", "value"),
    [("model_params.dense_motion_params.kp_variance", "0.01"), ("visualizer_params.region_bg_color", "[0, 0, 1]")],
)
def test_keys_that_are_no_longer_options_are_accepted(key, value):
    path = ROOT / "config" / "tps-256.yaml"
    assert load_config(path, [f"{key}={value}"]).config == load_config(path, []).config


def test_keys_that_are_no_longer_options_cannot_be_changed():
    message = r"model_params\.dense_motion_params\.kp_variance is no longer an option: expected 0\.01"
    with pytest.raises(ConfigError, match=message):
        load_config(ROOT / "config" / "tps-256.yaml", ["model_params.dense_motion_params.kp_variance=1"])
