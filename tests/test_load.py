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
        "prepare_params.data_set: expected 'casme', 'casme2', 'casme-sq'",
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
        "dataset_params.fps: expected greater than or equal to 0.1, got -1",
        "animate_params: expected mode and normalization_params.use_relative_movement to agree",
    ):
        assert line in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "not valid YAML"),
        ("a: 1\na: 2", "the key `a` is repeated; it also stands in line 1"),
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
    with pytest.raises(ConfigError, match=r"absent\.yaml: no such file"):
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


@pytest.mark.parametrize(
    ("family", "setting", "message"),
    [
        (
            "fomm",
            "model_params.kp_detector_params.max_features=16",
            "block_expansion: expected at most max_features, 16",
        ),
        (
            "mraa",
            "model_params.bg_predictor_params.block_expansion=2048",
            "expected at most max_features, 1024, got 2048",
        ),
        ("tps", "model_params.generator_params.max_features=1", "generator_params.block_expansion: expected at most"),
        ("fomm", "model_params.discriminator_params.max_features=1", "discriminator_params.block_expansion: expected"),
        (
            "tps",
            "model_params.dense_motion_params.num_blocks=6",
            "more than one value at the lowest level of dense_motion",
        ),
        (
            "fomm",
            "model_params.generator_params.num_down_blocks=9",
            "expected a height and a width divisible by 512 (generator_params)",
        ),
        (
            "tps",
            "model_params.dense_motion_params={num_blocks: 1}",
            "num_down_blocks: expected 1 to 2 with scale_factor",
        ),
        (
            "fomm",
            "model_params.kp_detector_params={scale_factor: 0.015625, num_blocks: 1}",
            "heat maps of at least 2 x 2",
        ),
        ("mraa", "model_params.bg_predictor_params.num_blocks=9", "at the lowest level of bg_predictor_params"),
        ("fomm", "train_params.scales=[]", "train_params.scales: expected at least 1 value, got []"),
        ("fomm", "train_params.scales=[1, 1.0]", "train_params.scales: expected different scales, got [1.0, 1.0]"),
        ("fomm", "train_params.scales=[0.05]", "train_params.scales: expected images of at least 16 pixels, got 12"),
        ("fomm", "train_params.lr_generator=1e300", "lr_generator: expected less than or equal to 1, got 1e+300"),
        ("mraa", "train_params.lr=.nan", "train_params.lr: expected a finite number, got nan"),
        ("warp", "animate_params.crf=-1", "animate_params.crf: expected greater than or equal to 0, got -1"),
        ("warp", "train_params.num_repeats=100000000000", "expected less than or equal to 10000, got 100000000000"),
        ("warp", "seed=100000000000000000000000", "seed: expected less than 9223372036854775808"),
        (
            "warp",
            "visualizer_params.colormap=x",
            "colormap: expected the name of a Matplotlib colormap such as viridis",
        ),
        ("warp", "dataset_params.fps=0.001", "dataset_params.fps: expected greater than or equal to 0.1, got 0.001"),
        (
            "warp",
            "dataset_params.frame_shape=[0, 256, 3]",
            "frame_shape.0: expected greater than or equal to 16, got 0",
        ),
        ("warp", "dataset_params.frame_shape=[256, 1000000, 3]", "frame_shape.1: expected less than or equal to 8192"),
        (
            "warp",
            "dataset_params.augmentation_params.crop_param.size=[1, 20]",
            "size.0: expected greater than or equal to 16",
        ),
        ("warp", "train_params.epoch_milestones=" + str([0] * 5000), "expected at most 100 values, got 5,000 values"),
        ("warp", "dataset_params.root_dir=''", "dataset_params.root_dir: expected a path, got an empty text"),
        ("warp", f"dataset_params.root_dir={'n' * 300}", "names of at most 255; shorten it"),
        ("warp", f"dataset_params.root_dir={'n/' * 2500}", "root_dir: expected a path of at most 4095 bytes"),
        ("warp", "dataset_params.root_dir=~nobody-here/set", "a home folder that does not exist: ~nobody-here"),
        ("warp", "dataset_params.root_dir={a: 1}", "dataset_params.root_dir: expected a path, got {'a': 1}"),
        ("fomm", "train_params.perceptual_network=''", "perceptual_network: expected a text, got an empty one"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_when_the_file_is_read(write, family, setting, message):
    with pytest.raises(ConfigError) as caught:
        load_config(write(f"format: 2\nmodel_params: {{family: {family}}}\n"), [setting])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_deep_discriminator_needs_large_frames(write):
    settings = ["train_params.loss_weights={generator_gan: 1, feature_matching: []}"]
    path = write("format: 2\nmodel_params: {family: fomm}\n")
    load_config(path, [*settings, "model_params.discriminator_params.num_blocks=6"])
    with pytest.raises(
        ConfigError, match=r"num_blocks: expected at most 6 for frames of \[256, 256\] at scale 1, got 7"
    ):
        load_config(path, [*settings, "model_params.discriminator_params.num_blocks=7"])


def test_a_tilde_is_the_home_folder(write, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = load_config(write(MINIMAL), ["dataset_params.root_dir=~/set #1"]).config
    assert config.dataset_params.root_dir == tmp_path / "set #1"


def test_every_wrong_assignment_is_named(write):
    with pytest.raises(ConfigError) as caught:
        load_config(write(MINIMAL), ["seed", "=1", "seed.x=1", "seed=7", "a..b=1", "train_params.lr=[1"])
    assert str(caught.value).splitlines() == [
        "--set seed: expected path.to.key=value",
        "--set =1: expected path.to.key=value",
        "--set a..b=1: expected names separated by single dots, such as train_params.batch_size=4",
        "--set train_params.lr=[1: not valid YAML in line 1, column 3: expected ',' or ']', but got '<stream end>'; "
        "put text between quotes",
    ]
    with pytest.raises(ConfigError, match="--set seed.x=1: expected seed to be a section, got 7"):
        load_config(write(MINIMAL), ["seed=7", "seed.x=1"])


def test_many_problems_are_cut(write):
    keys = "".join(f"key{number}: 1\n" for number in range(2000))
    with pytest.raises(ConfigError) as caught:
        load_config(write(MINIMAL + keys))
    assert len(str(caught.value).splitlines()) == 52
    assert "and 1950 more" in str(caught.value)
