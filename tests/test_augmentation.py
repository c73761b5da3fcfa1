import numpy as np
import pytest
import torch

from augmentation import MIRRORED_LANDMARKS, augment, draw_augmentation
from config.sections import AugmentationParams
from tests.conftest import face_landmarks, smooth_picture

SIZE = 64
FLIPS = {"horizontal_flip": True, "time_flip": True}


def batch(params: dict, seeds=range(32)) -> tuple[dict, dict]:
    """Pairs before and after augmentation."""
    section = AugmentationParams.model_validate(params)
    drawn = [draw_augmentation(section, (SIZE, SIZE), np.random.default_rng(seed)) for seed in seeds]
    rng = np.random.default_rng(0)
    count = len(drawn)
    landmarks = torch.from_numpy(face_landmarks(SIZE) / (SIZE - 1) * 2 - 1).float()
    pairs = {
        "source": torch.from_numpy(smooth_picture(rng, SIZE).transpose(2, 0, 1)).expand(count, -1, -1, -1),
        "driving": torch.from_numpy(smooth_picture(rng, SIZE).transpose(2, 0, 1)).expand(count, -1, -1, -1),
        "source_landmarks": landmarks.expand(count, -1, -1),
        "driving_landmarks": (landmarks + 0.05).expand(count, -1, -1),
        "au_diff": torch.rand(17, 2, generator=torch.Generator().manual_seed(0)).expand(count, -1, -1),
        "source_au": torch.rand(17, 2, generator=torch.Generator().manual_seed(3)).expand(count, -1, -1),
        "augmentation": {name: torch.from_numpy(np.stack([d[name] for d in drawn])) for name in drawn[0]},
    }
    return pairs, augment(pairs)


def test_without_parameters_nothing_changes():
    before, after = batch({})
    torch.testing.assert_close(after["source"], before["source"].float() / 255)
    torch.testing.assert_close(after["driving_landmarks"], before["driving_landmarks"])
    assert "augmentation" not in after


def test_mirrored_landmark_indices_are_an_involution():
    assert sorted(MIRRORED_LANDMARKS) == list(range(68))
    assert [MIRRORED_LANDMARKS[i] for i in MIRRORED_LANDMARKS] == list(range(68))
    assert MIRRORED_LANDMARKS[36] == 45, "outer corners of the eyes"
    assert MIRRORED_LANDMARKS[48] == 54, "corners of the mouth"


def test_horizontal_flips_mirror_landmarks_and_exchange_the_sides_of_action_units():
    before, after = batch({"flip_param": {"horizontal_flip": True}})
    mirrored = before["augmentation"]["mirror"].bool()
    assert 0 < mirrored.sum() < len(mirrored)
    for name in ("source", "driving"):
        frames = before[name].float() / 255
        torch.testing.assert_close(after[name][mirrored], frames[mirrored].flip(-1))
        torch.testing.assert_close(after[name][~mirrored], frames[~mirrored])
        points, moved = before[f"{name}_landmarks"], after[f"{name}_landmarks"]
        torch.testing.assert_close(moved[mirrored][:, 48, 0], -points[mirrored][:, 54, 0])
        torch.testing.assert_close(moved[mirrored][:, 48, 1], points[mirrored][:, 54, 1])
        torch.testing.assert_close(moved[~mirrored], points[~mirrored])
    torch.testing.assert_close(after["au_diff"][mirrored], before["au_diff"][mirrored].flip(-1))
    torch.testing.assert_close(after["au_diff"][~mirrored], before["au_diff"][~mirrored])
    torch.testing.assert_close(after["source_au"][mirrored], before["source_au"][mirrored].flip(-1))


def test_time_flips_exchange_the_frames_and_negate_the_action_unit_difference():
    before, after = batch({"flip_param": {"time_flip": True}})
    reverse = before["augmentation"]["reverse"].bool()
    assert 0 < reverse.sum() < len(reverse)
    torch.testing.assert_close(after["source"][reverse], before["driving"][reverse].float() / 255)
    torch.testing.assert_close(after["source_landmarks"][reverse], before["driving_landmarks"][reverse])
    torch.testing.assert_close(after["au_diff"][reverse], -before["au_diff"][reverse])
    torch.testing.assert_close(after["au_diff"][~reverse], before["au_diff"][~reverse])
    driving_au = before["source_au"] + before["au_diff"]
    torch.testing.assert_close(after["source_au"][reverse], driving_au[reverse])
    torch.testing.assert_close(
        after["source_au"] + after["au_diff"], torch.where(reverse[:, None, None], before["source_au"], driving_au)
    )


def test_both_frames_get_the_same_colour_jitter():
    params = {"jitter_param": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.2}}
    section = AugmentationParams.model_validate(params)
    drawn = [draw_augmentation(section, (SIZE, SIZE), np.random.default_rng(seed)) for seed in range(8)]
    frame = torch.rand(8, 3, SIZE, SIZE).mul(100).byte() + 80
    pairs = {
        "source": frame,
        "driving": frame.clone(),
        "augmentation": {name: torch.from_numpy(np.stack([d[name] for d in drawn])) for name in drawn[0]},
    }
    after = augment(pairs)
    torch.testing.assert_close(after["source"], after["driving"])
    assert (after["source"] - frame.float() / 255).abs().mean() > 0.02


def jittered(*jitter: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames of a pair before and after jitter by given factors, (3, 8, 8) each, source and driving."""
    generator = torch.Generator().manual_seed(0)
    source, driving = (torch.rand(1, 3, 8, 8, generator=generator).mul(60).byte() + level for level in (80, 100))
    drawn = draw_augmentation(AugmentationParams(), (8, 8), np.random.default_rng(0))
    drawn["jitter"] = np.float32(jitter)
    augmentation = {name: torch.from_numpy(np.asarray(value)[None]) for name, value in drawn.items()}
    after = augment({"source": source, "driving": driving, "augmentation": augmentation})
    before = torch.cat([source, driving]).float() / 255
    return before, torch.cat([after["source"], after["driving"]])


def grey(frames: torch.Tensor) -> torch.Tensor:
    return (frames * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)


def test_brightness_multiplies_the_values():
    before, after = jittered(1.2, 1, 1, 0)
    torch.testing.assert_close(after, before * 1.2)


def test_contrast_multiplies_the_distance_from_the_mean_grey_of_both_frames():
    before, after = jittered(1, 1.3, 1, 0)
    level = grey(before).mean()
    torch.testing.assert_close(after, level + 1.3 * (before - level), atol=1e-4, rtol=0)


def test_saturation_multiplies_the_distance_from_the_grey_of_each_pixel():
    before, after = jittered(1, 1, 0.5, 0)
    torch.testing.assert_close(after, grey(before) + 0.5 * (before - grey(before)), atol=1e-4, rtol=0)


def test_hue_rotates_the_colours():
    before, after = jittered(1, 1, 1, 1 / 3)
    torch.testing.assert_close(after, before.roll(1, dims=1), atol=1e-4, rtol=0)


def test_drawn_factors_lie_in_their_ranges():
    params = {"brightness": 0.3, "contrast": 0.2, "saturation": 0.1, "hue": 0.05}
    section = AugmentationParams.model_validate({"jitter_param": params})
    drawn = [draw_augmentation(section, (SIZE, SIZE), np.random.default_rng(seed))["jitter"] for seed in range(200)]
    low, high = np.min(drawn, axis=0), np.max(drawn, axis=0)
    np.testing.assert_allclose(low, [0.7, 0.8, 0.9, -0.05], atol=0.01)
    np.testing.assert_allclose(high, [1.3, 1.2, 1.1, 0.05], atol=0.01)


@pytest.mark.parametrize(
    "params",
    [
        {"rotation_param": {"degrees": 30}},
        {"resize_param": {"ratio": [0.8, 1.2]}},
        {"crop_param": {"size": [48, 40]}},
        {
            "rotation_param": {"degrees": 30},
            "resize_param": {"ratio": [0.8, 1.2]},
            "crop_param": {"size": [48, 40]},
            "flip_param": FLIPS,
        },
    ],
)
def test_landmarks_follow_the_image_content(params):
    before, after = batch(params)
    moved = after["source_landmarks"]
    reverse = before["augmentation"]["reverse"].bool()
    order = torch.tensor(MIRRORED_LANDMARKS)
    inside = (moved.abs() < 0.95).all(-1)
    assert (moved - before["source_landmarks"]).abs().max() > 0.05, "the change is large enough to be seen"
    for i in range(len(moved)):
        name = "driving" if reverse[i] else "source"
        points = before[f"{name}_landmarks"][i]
        points = points[order] if before["augmentation"]["mirror"][i] else points
        colours = [
            torch.nn.functional.grid_sample(image[None], at[None, None], align_corners=True)[0, :, 0]
            for image, at in ((before[name][i].float() / 255, points), (after["source"][i], moved[i]))
        ]
        visible = inside[i] & (points.abs() < 0.95).all(-1)
        assert (colours[0] - colours[1])[:, visible].abs().max() < 0.02


def test_rotation_leaves_no_border():
    section = AugmentationParams.model_validate({"rotation_param": {"degrees": 45}})
    drawn = draw_augmentation(section, (SIZE, SIZE), np.random.default_rng(0))
    frame = torch.full((1, 3, SIZE, SIZE), 200, dtype=torch.uint8)
    augmentation = {name: torch.from_numpy(np.asarray(value)[None]) for name, value in drawn.items()}
    after = augment({"source": frame, "driving": frame, "augmentation": augmentation})
    torch.testing.assert_close(after["source"], frame / 255, atol=1e-4, rtol=0)


def test_a_resize_ratio_above_one_enlarges_the_face():
    before, after = batch({"resize_param": {"ratio": [1.25, 1.5]}})
    width, enlarged = (np.ptp(pairs["source_landmarks"][..., 0].numpy(), axis=1) for pairs in (before, after))
    assert 1.24 < (enlarged / width).min() < 1.3
    assert 1.45 < (enlarged / width).max() < 1.51


def test_parameters_depend_on_the_random_generator_alone():
    section = AugmentationParams.model_validate({"flip_param": FLIPS, "rotation_param": {"degrees": 5}})
    first, second, other = (draw_augmentation(section, (SIZE, SIZE), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not np.array_equal(first["affine"], other["affine"])


def test_head_motion_is_removed_and_facial_motion_stays():
    landmarks = torch.from_numpy(face_landmarks(SIZE) / (SIZE - 1) * 2 - 1).float()[None]
    head = torch.tensor([[[0.98, -0.05, 0.04], [0.05, 0.98, -0.02]]])
    own = torch.zeros_like(landmarks)
    own[:, 48, 1] = 0.05
    driving_landmarks = (landmarks + own) @ head[:, :, :2].mT + head[:, None, :, 2]
    image = torch.from_numpy(smooth_picture(np.random.default_rng(0), SIZE).transpose(2, 0, 1))[None]
    inverse = torch.linalg.inv(head[:, :, :2])
    back = torch.cat([inverse, -inverse @ head[:, :, 2:]], dim=2)
    grid = torch.nn.functional.affine_grid(back, [1, 3, SIZE, SIZE], align_corners=True)
    turned = torch.nn.functional.grid_sample(image.float(), grid, mode="bicubic", align_corners=True)
    drawn = draw_augmentation(AugmentationParams(), (SIZE, SIZE), np.random.default_rng(0))
    pairs = {
        "source": image,
        "driving": turned.clamp(0, 255).round().byte(),
        "source_landmarks": landmarks,
        "driving_landmarks": driving_landmarks,
        "augmentation": {name: torch.from_numpy(value[None]) for name, value in drawn.items()},
    }
    before, after = augment(pairs), augment(pairs, remove_head_motion=True)
    middle = (slice(None), slice(None), slice(16, 48), slice(16, 48))
    assert (before["source"] - before["driving"])[middle].abs().mean() > 0.03
    assert (after["source"] - after["driving"])[middle].abs().mean() < 0.005
    torch.testing.assert_close(after["driving_landmarks"] - after["source_landmarks"], own, atol=0.004, rtol=0)
    mean = (landmarks + driving_landmarks).mean(1) / 2  # both frames move to the mean pose and are blurred alike
    torch.testing.assert_close(after["source_landmarks"].mean(1), mean, atol=0.003, rtol=0)
