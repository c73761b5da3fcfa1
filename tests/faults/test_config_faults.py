"""Generated experiment files and command lines: they are refused in a line with status 2, or they work.

`--fuzz N` sets the number of generated inputs per property.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

import run
from config.families import FAMILIES
from config.load import build_config
from config.preparation import PrepareConfig
from core.memory import model_without_weights
from errors import UserError
from modules.blocks import count_parameters
from tests import option_probes as see
from tests.conftest import SIZE
from tests.test_load import published_experiments
from tests.test_options import leaves

ROOT = Path(__file__).parents[2]
SHIPPED = {path.name: path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("config/*.yaml"))}
SHIPPED |= {f"published-{name}": yaml.safe_dump(tree) for name, tree in published_experiments().items()}
LARGEST_MODEL = 10_000_000  # parameters; larger ones are built without weights only
NUMBERS = (
    *(0, 1, 2, 3, 5, 7, 16, 17, 64, 100, 1000, 4096, 8192, 10**6, 10**9, 10**11, 10**23, 10**99, -1, -(10**11)),
    *(0.0, -0.0, 1e-300, 1e-5, 0.001, 1 / 64, 0.1, 0.25, 0.3, 0.5, 0.9999999999999999, 1.0, 1.5, 50.0, 1e3, 1e6, 1e300),
    *(-1e300, float("nan"), float("inf"), -float("inf")),
)
TEXTS = ("", "x", "a\0b", "n" * 5000, "~", "~nobody-here/x", "..", "auto", "none", "avd", ".png", "\ud800", "表情")
LISTS = (
    *([], [0], [1], [1, 1], [1.0, 0.5], [1, 1.0], [1 / 64], [0.5, 0.3, 0.1], [0.1, 10], [10, 0.1], [20, 90], [1.0] * 4),
    *([0.0] * 5, [1e6] * 5, [0] * 10**4, [16, 16, 3], [8, 8, 3], [32, 32, 3], [48, 80, 3], [64, 128, 3], [64, 64, 4]),
)
EXTREMES = st.one_of(
    st.sampled_from([None, True, False, {}, {"a": 1}, {1: 2}, {1000: 1.0}, *NUMBERS, *TEXTS, *LISTS]),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
)
LEARNED = {"model_params.keypoints": "learned"}
LARGER_MODELS = {
    "tps": [LEARNED, {"model_params.common_params.bg": True, "train_params.bg_start": 0}],
    "fomm": [
        {"train_params.loss_weights.generator_gan": 1.0, "train_params.loss_weights.feature_matching": [10.0] * 3},
        {"model_params.prior": "awp", "model_params.common_params.num_kp": 18},
    ],
    "mraa": [{"model_params.prior": "awp", "model_params.num_regions": 18}],
    "warp": [],
}


def one_step(config: Any) -> None:
    """Train one step on two pairs; losses must be finite."""
    batch = {name: value[:2] for name, value in see.batch().items()}
    shape = config.dataset_params.frame_shape
    if shape is not None and shape[:2] != (SIZE, SIZE):
        resized = {k: torch.nn.functional.interpolate(batch[k], size=shape[:2]) for k in ("source", "driving")}
        batch = {**batch, **resized}
    model, optimisers = see.prepared_model(config)
    terms, generated = model.losses(batch, 0)
    terms = {**terms, **model.discriminator_losses(batch, generated)}
    sum(terms.values()).backward()
    for entry in optimisers.values():
        entry.optimizer.step()
    broken = [name for name, value in terms.items() if not torch.isfinite(value)]
    assert not broken, broken


def small_enough(config: Any) -> bool:
    """True if a step takes less than seconds and little memory."""
    height, width = (config.dataset_params.frame_shape or (SIZE, SIZE))[:2]
    if getattr(config.train_params, "needs_vgg19", False) or height * width > 4 * SIZE * SIZE:
        return False
    return count_parameters(model_without_weights(config)) < LARGEST_MODEL


@pytest.mark.parametrize("family", FAMILIES)
@given(data=st.data())
def test_a_setting_is_refused_when_the_file_is_read_or_works(family, data):
    context = data.draw(st.sampled_from([{}, *LARGER_MODELS[family]]))
    path = data.draw(st.sampled_from(sorted(leaves(FAMILIES[family].config))))
    raw = see.experiment(family)
    for key, value in {**context, path: data.draw(EXTREMES)}.items():
        *sections, name = key.split(".")
        at = raw
        for section in sections:
            at = at.setdefault(section, {})
        at[name] = value
    try:
        config = build_config(raw, "generated").config
    except UserError:
        return
    if small_enough(config) and family != "warp":
        one_step(config)
    elif family != "warp":
        model_without_weights(config)


# --- files ------------------------------------------------------------------------------------------------------------


def status_of(path: Path, text: str | bytes, mode: str, *arguments: str) -> int:
    """Exit status of a dry run of a generated file."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return run.main(["--config", str(path), "--mode", mode, "--dry-run", *arguments])


def mode_of(name: str) -> str:
    return "prepare" if name.startswith("prepare-") else "train"


@pytest.fixture(scope="module")
def generated(tmp_path_factory) -> Path:
    """File that the generated texts are written to."""
    return tmp_path_factory.mktemp("generated") / "experiment.yaml"


@given(data=st.data(), name=st.sampled_from(sorted(SHIPPED)))
def test_files_with_wrong_bytes(data, name, generated):
    content = bytearray(SHIPPED[name].encode("utf-8"))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(content) - 1))
        length = data.draw(st.sampled_from([0, 1, 1, 2, 40]))
        content[at : at + length] = data.draw(st.binary(max_size=4))
        if not content:
            break
    assert status_of(generated, bytes(content), mode_of(name)) in (0, 2)


TOKENS = (
    *(
        "[",
        "]",
        "{",
        "}",
        "!!int ",
        "!!float abc ",
        "!!bool ",
        "!!binary ",
        "!!python/name:os.system ",
        "!x ",
        "&a ",
        "*a ",
    ),
    *(
        "<<: *a\n",
        "? ",
        ": ",
        "- ",
        "---\n",
        "...\n",
        "%YAML 1.1\n",
        "|\n",
        ">-\n",
        "\t",
        "\r",
        "\x85",
        "\u2028",
        "\ufeff",
    ),
    *("'", '"', '"\\x00"', '"\\ud800"', "#", " #", "\n", "\n  ", "~", ".nan", "-.inf", "1e999", "9" * 4301, "[" * 1000),
    *("@", "`", ",", "1:30", "0x1F", "2024-01-01", "yes", "1_000", "&a [*a, *a]", "null"),
)


@given(data=st.data(), name=st.sampled_from(sorted(SHIPPED)))
def test_files_with_wrong_tokens(data, name, generated):
    parts = re.split(r"(\s+|[:,\[\]{}])", SHIPPED[name])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(parts) - 1))
        match data.draw(st.sampled_from(["insert", "replace", "delete", "repeat"])):
            case "insert":
                parts.insert(at, data.draw(st.sampled_from(TOKENS)))
            case "replace":
                parts[at] = data.draw(st.sampled_from(TOKENS))
            case "delete":
                parts[at] = ""
            case "repeat":
                parts[at:at] = parts[at : at + data.draw(st.integers(1, 20))]
    assert status_of(generated, "".join(parts), mode_of(name)) in (0, 2)


@given(data=st.data(), name=st.sampled_from(sorted(SHIPPED)))
def test_files_with_wrong_values(data, name, generated):
    tree = yaml.safe_load(SHIPPED[name])
    for _ in range(data.draw(st.integers(1, 4))):
        at = tree
        while True:
            key = data.draw(st.sampled_from(sorted(at, key=str)))
            inner = at[key]
            if isinstance(inner, dict) and inner and data.draw(st.integers(0, 3)):
                at = inner
                continue
            break
        match data.draw(st.sampled_from(["replace", "delete", "add"])):
            case "replace":
                at[key] = data.draw(EXTREMES)
            case "add":
                at[data.draw(st.one_of(st.text(max_size=4), st.integers(), st.sampled_from(["a.b", key])))] = inner
            case "delete":
                del at[key]
        if not tree:
            break
    assert status_of(generated, yaml.safe_dump(tree, allow_unicode=True), mode_of(name)) in (0, 2)


# --- the command line -------------------------------------------------------------------------------------------------

KEYS = sorted({path for family in FAMILIES.values() for path in leaves(family.config)} | set(leaves(PrepareConfig)))
ASSIGNMENTS = st.builds(
    "{}{}{}".format,
    st.one_of(
        st.sampled_from(KEYS),
        st.sampled_from(["", "a", "a.b.c.d", "train_params", ".", "a." * 500]),
        st.text(max_size=6),
    ),
    st.sampled_from(["=", "=", "=", "", "=="]),
    st.one_of(
        st.sampled_from([*map(str, NUMBERS), *map(str, LISTS[:-6]), *TOKENS, "{a: {b: 1}}", "a #b"]),
        st.text(max_size=6),
    ),
)
ARGUMENTS = st.sampled_from(
    [
        *("--checkpoint", "--log-dir", "--device-ids", "--seed", "--source", "--driving", "--result", "--driving-au"),
        *("--source-landmarks", "--driving-landmarks", "--reference-frame", "--au", "--onset", "--apex", "--offset"),
        *("--frames", "--fps", "--au-list", "--au-intensity", "--unknown", "--mode", "--config"),
    ]
)


@given(name=st.sampled_from(sorted(SHIPPED)), assignments=st.lists(ASSIGNMENTS, min_size=1, max_size=4))
def test_assignments_on_the_command_line(name, assignments, generated):
    given_settings = [f"--set={assignment}" for assignment in assignments]
    assert status_of(generated, SHIPPED[name], mode_of(name), *given_settings) in (0, 2)


@given(
    option=ARGUMENTS,
    value=st.one_of(
        st.sampled_from([*map(str, NUMBERS), *TEXTS, "0,0", "-1,2", "9" * 5000, "1,"]), st.text(max_size=6)
    ),
)
def test_arguments_of_the_command_line(option, value, generated):
    assert status_of(generated, SHIPPED["warp-256.yaml"], "train", f"{option}={value}") in (0, 2)


def test_a_hundred_thousand_assignments_are_refused_at_once(generated, caplog):
    many = ["--set=seed=1"] * 100_000
    assert status_of(generated, SHIPPED["warp-256.yaml"], "train", *many) == 2
    assert "expected at most 2,000 arguments" in caplog.text
