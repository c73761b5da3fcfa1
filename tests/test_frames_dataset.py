import sys

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from clips.detectors import action_unit_extractor
from clips.loader import ClipLoader
from clips.pairs import animation_pairs
from clips.reading import ClipError, open_clip
from clips.splits import split_clips
from config.sections import DatasetParams
from faces.action_unit_extraction import COLUMNS
from frames_dataset import EpochSampler, FramesDataset
from output.video import write_video
from tests.conftest import FRAMES, SIZE, face_landmarks, write_clip


def params(root, **changes) -> DatasetParams:
    values = {
        "root_dir": str(root),
        "frame_shape": [SIZE, SIZE, 3],
        "keypoint_dir": str(root / "landmarks"),
        "au_dir": str(root / "au"),
        "cache_dir": str(root.parent / "cache"),
        **changes,
    }
    return DatasetParams.model_validate(values)


def load(root, split="train", **changes):
    section = params(root, **changes)
    loader = ClipLoader(section, landmarks=True, action_units=True)
    return loader.load_all(split_clips(section, split), split)


def dataset(root, seed=0, **changes) -> FramesDataset:
    return FramesDataset(load(root, **changes)[0], params(root, **changes), seed=seed, num_repeats=4)


def equal(a: dict, b: dict) -> bool:
    flat = [{**item, **item["augmentation"]} for item in (a, b)]
    return all(np.array_equal(flat[0][name], flat[1][name]) for name in flat[0] if name != "augmentation")


def test_a_pair_is_a_pure_function_of_seed_epoch_and_index(clips_root):
    first, again, other = dataset(clips_root), dataset(clips_root), dataset(clips_root, seed=1)
    assert len(first) == 8
    assert equal(first[3, 5], again[3, 5])
    pairs = [first[epoch, index] for epoch in range(3) for index in range(8)]
    assert len({pair["source"].numpy().tobytes() + pair["driving"].numpy().tobytes() for pair in pairs}) > 8
    assert not all(equal(first[0, i], other[0, i]) for i in range(8))


def test_pairs_match_their_landmarks_and_action_units(clips_root):
    clips, _ = load(clips_root)
    pairs = dataset(clips_root)
    frames = {clip.name: clip.cached.frames() for clip in clips}
    for index in range(8):
        pair = pairs[0, index]
        clip = clips[index % 2]
        i, j = (
            next(t for t in range(FRAMES) if np.array_equal(frames[clip.name][t], pair[name].permute(1, 2, 0)))
            for name in ("source", "driving")
        )
        shift = (j // 2 - i // 2) * 2 / (SIZE - 1)
        torch.testing.assert_close(
            pair["driving_landmarks"] - pair["source_landmarks"], torch.tensor([shift, 0.0]).expand(68, 2)
        )
        expected = (clip.action_units[:, 8, 0].tolist(), pair["au_diff"][8].tolist())
        assert expected[1][0] == pytest.approx(expected[0][1] * round(expected[1][0] / expected[0][1]), abs=1e-6)
        assert pair["au_diff"][8, 0] > 0, "source comes before driving where time is not flipped"
        assert pair["au_diff"][[i for i in range(17) if i != 8]].abs().max() == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_do_not_change_batches(clips_root, workers):
    pairs = dataset(clips_root)
    sampler = EpochSampler(len(pairs), 2, seed=0)
    sampler.start(1)
    batches = list(DataLoader(pairs, 2, sampler=sampler, num_workers=workers))
    expected = [pairs[key]["source"] for key in sampler]
    torch.testing.assert_close(torch.cat([batch["source"] for batch in batches]), torch.stack(expected))


def test_the_sampler_divides_an_epoch_among_processes():
    whole = EpochSampler(11, 2, seed=3)
    ranks = [EpochSampler(11, 2, seed=3, rank=rank, world_size=2) for rank in range(2)]
    for sampler in (whole, *ranks):
        sampler.start(5)
    joint = [key for pair in zip(*ranks, strict=True) for key in pair]
    assert joint == list(whole)[: len(joint)]
    assert [len(list(sampler)) for sampler in ranks] == [4, 4]
    assert {epoch for epoch, _ in joint} == {5}
    whole.start(6)
    assert [index for _, index in whole] != [index for _, index in joint]


def test_every_epoch_is_another_order_of_all_pairs_and_so_is_every_seed():
    def order(seed, epoch):
        sampler = EpochSampler(20, 2, seed=seed)
        sampler.start(epoch)
        return [index for _, index in sampler]

    orders = [order(seed, epoch) for seed in (0, 1) for epoch in (0, 1, 2)]
    assert all(sorted(indices) == list(range(20)) for indices in orders)
    assert len({tuple(indices) for indices in orders}) == 6
    assert list(range(20)) not in orders
    assert order(0, 0) == orders[0]


def test_pairs_from_the_first_frame_have_its_action_units_and_any_later_driving_frame(clips_root):
    pairs = dataset(clips_root, source_frame="first")
    drawn = [pairs[(epoch, index)] for epoch in range(8) for index in range(len(pairs))]
    assert not any(pair["source_au"].any() for pair in drawn), "AU12 grows from 0"
    changes = {round(pair["au_diff"].max().item() * (FRAMES - 1)) for pair in drawn}
    assert changes == set(range(1, FRAMES))
    later = [dataset(clips_root)[(epoch, 0)] for epoch in range(8)]
    assert all(pair["source_au"].max() + pair["au_diff"].max() <= 1.0001 for pair in later)
    assert any(pair["source_au"].max() > 0 for pair in later)


def test_clips_of_two_people_have_two_numbers(clips_root):
    pairs = dataset(clips_root)
    assert {pairs[(0, index)]["subject"] for index in range(len(pairs))} == {0, 1}


def test_landmarks_are_tracked_anew_from_another_reference_frame(clips_root):
    onset = np.load(clips_root / "landmarks" / "a.npy")[:1]
    np.save(clips_root / "landmarks" / "a.npy", onset)
    loader = ClipLoader(params(clips_root), landmarks=True, action_units=False)
    clip = split_clips(params(clips_root), "train")[0]
    for reference, other in ((0, 5), (4, 0)):
        tracked = loader.load(clip, reference=reference).landmarks
        np.testing.assert_allclose(tracked[reference], onset[0], atol=1e-5)
        assert np.abs(tracked[other] - onset[0]).max() > 0.3


def test_a_resumed_epoch_continues_after_its_finished_steps():
    sampler = EpochSampler(10, 2, seed=0)
    whole = list(sampler)
    sampler.start(0, pairs_done=6)
    assert list(sampler) == whole[6:]
    assert len(sampler) == 4


def test_id_sampling_counts_the_clips_of_one_identity_once(clips_root):
    for number in range(3):
        landmarks = write_clip(clips_root / "train", f"id7#{number}", number)
        np.save(clips_root / "landmarks" / f"id7#{number}.npy", landmarks)
        table = (clips_root / "au" / "a.csv").read_text(encoding="utf-8")
        (clips_root / "au" / f"id7#{number}.csv").write_text(table, encoding="utf-8")
    assert len(dataset(clips_root, id_sampling=True)) == 3 * 4
    assert len(dataset(clips_root)) == 5 * 4


def loader(root, extractor=None, **changes) -> ClipLoader:
    return ClipLoader(params(root, **changes), landmarks=False, action_units=True, extractor=extractor)


def clip_a(root):
    return split_clips(params(root), "train")[0]


def test_a_clip_may_be_loaded_without_action_units(clips_root):
    (clips_root / "au" / "a.csv").unlink()
    for changes in ({}, {"au_dir": None}):
        assert loader(clips_root, **changes).load(clip_a(clips_root), action_units=False).action_units is None
        with pytest.raises(ClipError, match="clip a: expected"):
            loader(clips_root, **changes).load(clip_a(clips_root))


def test_a_given_action_unit_file_replaces_the_one_of_the_clips_name(clips_root):
    table = (clips_root / "au" / "a.csv").rename(clips_root / "other.csv")
    for changes in ({}, {"au_dir": None}):
        prepared = loader(clips_root, **changes).load(clip_a(clips_root), action_unit_file=table)
        np.testing.assert_allclose(prepared.action_units[:, 8, 0], np.arange(FRAMES) / (FRAMES - 1), atol=1e-6)


def test_merged_tables_are_found_in_the_folder_of_the_clip(clips_root):
    folder = clips_root / "au" / "train" / "a"
    folder.mkdir(parents=True)
    lines = (clips_root / "au" / "a.csv").read_text(encoding="utf-8").splitlines()
    without_number = [line.split(", ", 1)[1] for line in reversed(lines[1:])]
    (folder / "merged_AU.csv").write_text("\n".join([lines[0].split(", ", 1)[1], *without_number]), encoding="utf-8")
    units = loader(clips_root).load(clip_a(clips_root), "train").action_units
    np.testing.assert_allclose(units[:, 8, 1], 1 - np.arange(FRAMES) / (FRAMES - 1), atol=1e-6)


def renumber(root, change, rows=slice(None)) -> None:
    """Change the frame numbers of clip a's table."""
    path = root / "au" / "a.csv"
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    cells = [line.split(", ") for line in lines][rows]
    path.write_text(
        "\n".join([header, *(", ".join([str(change(int(c[0]))), *c[1:]]) for c in cells)]), encoding="utf-8"
    )


def test_tables_may_be_numbered_like_the_frame_files(clips_root):
    for frame in (clips_root / "train" / "a").iterdir():
        frame.rename(frame.with_name(f"reg_{int(frame.stem[3:]) + 45}.png"))
    for change in (lambda n: n, lambda n: n + 45):
        renumber(clips_root, change)
        units = loader(clips_root).load(clip_a(clips_root)).action_units
        np.testing.assert_allclose(units[:, 8, 0], np.arange(FRAMES) / (FRAMES - 1), atol=1e-6)
    renumber(clips_root, lambda n: n + 1)
    with pytest.raises(
        ClipError, match=r"clip a: .*a\.csv: expected the frame numbers 1 to 6 or those of the frame fil"
    ):
        loader(clips_root).load(clip_a(clips_root))


def test_the_config_sets_the_largest_gap_and_the_least_confidence(clips_root, caplog):
    renumber(clips_root, lambda n: n, slice(None, None, FRAMES - 1))
    with pytest.raises(ClipError, match=r"clip a: .*a\.csv: frame 2: expected values, found no row"):
        loader(clips_root, au_max_gap=FRAMES - 3).load(clip_a(clips_root))
    units = loader(clips_root, au_max_gap=FRAMES - 2).load(clip_a(clips_root)).action_units
    np.testing.assert_allclose(units[:, 8, 0], np.arange(FRAMES) / (FRAMES - 1), atol=1e-6)
    assert "a.csv: 4 of 6 frames interpolated: 2, 3, 4, 5" in caplog.text
    table = clips_root / "au" / "b.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("0.03, 1,", "0.03, 0.5,"), encoding="utf-8")
    clip_b = split_clips(params(clips_root), "train")[1]
    assert loader(clips_root, au_min_confidence=0.5).load(clip_b).action_units is not None
    with pytest.raises(ClipError, match=r"b\.csv: frame 4: expected values, found confidence 0\.5, below"):
        loader(clips_root, au_min_confidence=0.6).load(clip_b)


def test_missing_action_units_of_a_tool_are_reported_once(clips_root, caplog):
    for name in ("a", "b"):
        path = clips_root / "au" / f"{name}.csv"
        units = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
        rows = [
            ["frame_idx", *(f"au_{unit}_intensity" for unit in units)],
            *([t, *[t / 2] * 12] for t in range(FRAMES)),
        ]
        path.write_text("\n".join(",".join(map(str, row)) for row in rows), encoding="utf-8")
    with pytest.raises(ClipError, match="clip a: .*does not estimate AU7, AU10, AU14, AU23, AU45.*au_unknown: zero"):
        load(clips_root)
    clips, _ = load(clips_root, au_unknown="zero")
    assert [clip.action_units[2, 8, 0] for clip in clips] == pytest.approx([0.2, 0.2])
    assert caplog.text.count("taken as 0") == 1


def test_action_units_are_extracted_once_where_there_are_no_tables(clips_root, caplog):
    seen = []

    def extractor(frames):
        seen.append(frames.shape)
        rows = np.zeros((len(frames), len(COLUMNS)))
        rows[:, 0] = np.arange(len(frames))
        rows[:, 1] = 0.9
        rows[:, COLUMNS.index("AU12")] = np.arange(len(frames)) / 10
        rows[2, 1:] = np.nan
        return rows

    changes = {"au_dir": None, "au_extractor": "py-feat"}
    with pytest.raises(ClipError, match=r"clip a: py-feat of .*a: frame 2: expected values, found no values"):
        loader(clips_root, extractor, **changes).load(clip_a(clips_root))
    for _ in range(2):
        units = loader(clips_root, extractor, au_max_gap=1, **changes).load(clip_a(clips_root)).action_units
        np.testing.assert_allclose(units[:, 8, 0], np.arange(FRAMES) / 10, atol=1e-6)
    assert seen == [(FRAMES, SIZE, SIZE, 3)]
    assert "py-feat gives probabilities, not intensities" in caplog.text


def test_an_extractor_is_made_only_if_the_config_chooses_one(clips_root, monkeypatch):
    assert action_unit_extractor(params(clips_root, au_extractor="py-feat"), "cpu") is None, "tables come first"
    assert action_unit_extractor(params(clips_root, au_dir=None), "cpu") is None
    with pytest.raises(
        ClipError, match=r"expected action units; set dataset_params\.au_dir, or .*au_extractor: py-feat"
    ):
        loader(clips_root, au_dir=None).load(clip_a(clips_root))
    section = params(clips_root, au_dir=None, au_extractor="py-feat")
    monkeypatch.setitem(sys.modules, "feat", None)
    with pytest.raises(ClipError, match=r"clip a: .*py-feat cannot be imported.*pip install"):
        loader(clips_root, action_unit_extractor(section, "cpu"), au_dir=None).load(clip_a(clips_root))


def test_action_unit_noise_changes_the_difference_alone(clips_root):
    plain, noisy = dataset(clips_root), dataset(clips_root, au_noise=0.02)
    assert equal(noisy[1, 3], dataset(clips_root, au_noise=0.02)[1, 3])
    changes = []
    for epoch in range(20):
        a, b = plain[epoch, 1], noisy[epoch, 1]
        changes.append((b["au_diff"] - a["au_diff"]).numpy())
        assert b["au_diff"].dtype == torch.float32
        assert equal({**a, "au_diff": 0}, {**b, "au_diff": 0})
    changes = np.array(changes)
    np.testing.assert_allclose(changes[..., 0], changes[..., 1], atol=1e-7)
    assert 0.03 < np.abs(changes).max() <= 0.04, "of the source and of the driving frame, 0.02 each"
    assert changes.std() == pytest.approx(0.02 * np.sqrt(2 / 3), rel=0.1)
    assert abs(changes.mean()) < 0.003


def test_clips_without_split_folders_are_split_by_seed_and_identity(tmp_path):
    for identity in range(5):
        for number in range(2):
            write_clip(tmp_path / "data", f"s{identity}#{number}", number, frames=2)
    section = params(tmp_path / "data", keypoint_dir=None)
    train, test = ([clip.name for clip in split_clips(section, split)] for split in ("train", "test"))
    assert len(test) == 2
    assert len({name.split("#")[0] for name in test}) == 1, "both clips of one identity"
    assert set(train).isdisjoint(test)
    assert len(train) + len(test) == 10
    assert [clip.name for clip in split_clips(section, "test")] == test
    others = {split_clips(params(tmp_path / "data", split_seed=seed), "test")[0].name for seed in range(8)}
    assert len(others) > 1


def test_onset_landmarks_are_tracked(clips_root):
    for clip in ("a", "b"):
        path = clips_root / "landmarks" / f"{clip}.npy"
        np.save(path, np.load(path)[0])
    clips, _ = load(clips_root)
    assert clips[0].landmarks.shape == (FRAMES, 68, 2)
    moved = clips[0].landmarks[-1] - clips[0].landmarks[0]
    assert np.median(moved[17:, 0]) == pytest.approx(2, abs=0.3)
    with pytest.raises(ClipError, match=r"expected one row per frame \(6\), got 1"):
        load(clips_root, landmarks="file")


@pytest.mark.parametrize("reference", [0, 4])
def test_landmarks_are_tracked_from_the_reference_frame(clips_root, reference):
    given = np.load(clips_root / "landmarks" / "a.npy")
    section = params(clips_root, landmarks="track")
    tracker = ClipLoader(section, landmarks=True, action_units=False)
    found = tracker.load(split_clips(section, "train")[0], reference=reference).landmarks
    np.testing.assert_allclose(found[reference], given[reference], atol=1e-5)
    moved = found[4] - found[0]
    assert np.median(moved[17:, 0]) == pytest.approx(2, abs=0.3)


def test_landmarks_are_scaled_with_their_frames(clips_root):
    large, _ = load(clips_root, frame_shape=[2 * SIZE, 2 * SIZE, 3])
    small, _ = load(clips_root)
    np.testing.assert_allclose(large[0].landmarks, 2 * small[0].landmarks + 0.5)
    own = large[0].cached.to_own(large[0].landmarks)
    np.testing.assert_allclose(own, small[0].landmarks, atol=1e-9)


def test_landmark_files_in_a_folder_of_the_split_are_found(clips_root):
    (clips_root / "landmarks" / "train").mkdir()
    (clips_root / "landmarks" / "a.npy").rename(clips_root / "landmarks" / "train" / "a.npy")
    assert len(load(clips_root)[0]) == 2
    np.save(clips_root / "landmarks" / "a.npy", np.zeros((68, 2)))
    with pytest.raises(ClipError, match="expected one file, found"):
        load(clips_root)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda root: (root / "landmarks" / "b.npy").unlink(),
            r"clip b: expected .*b\.npy\|\.csv\|\.pts, found no such",
        ),
        (lambda root: (root / "landmarks" / "b.npy").rename(root / "landmarks" / "0b.npy"), "clip b: expected"),
        (lambda root: np.save(root / "landmarks" / "b.npy", np.full((68, 2), np.nan)), r"b\.npy"),
        (
            lambda root: np.save(root / "landmarks" / "b.npy", np.stack([face_landmarks()] * 4)),
            "1 or of all 6 frames, got 4",
        ),
        (lambda root: (root / "au" / "b.csv").unlink(), r"clip b: expected .*b\.csv, found no such file"),
        (lambda root: (root / "train" / "b" / "img3.png").write_bytes(b"no"), r"img3\.png: unreadable image"),
        (lambda root: [p.rename(f"{p}.txt") for p in (root / "train" / "b").iterdir()], r"b: expected frames"),
    ],
)
def test_unusable_clips_are_errors_that_name_them(clips_root, spoil, message):
    spoil(clips_root)
    with pytest.raises(ClipError, match=message):
        load(clips_root)


def test_on_bad_clip_skip_leaves_bad_clips_out_and_reports_them(clips_root):
    (clips_root / "landmarks" / "b.npy").unlink()
    clips, problems = load(clips_root, on_bad_clip="skip")
    assert [clip.name for clip in clips] == ["a"]
    assert len(problems) == 1
    assert "clip b" in problems[0]
    (clips_root / "landmarks" / "a.npy").unlink()
    with pytest.raises(ClipError, match="none of 2 clips can be used"):
        load(clips_root, on_bad_clip="skip")


def test_a_clip_of_one_frame_cannot_be_trained_on(clips_root):
    for frame in list((clips_root / "train" / "a").iterdir())[1:]:
        frame.unlink()
    for folder, name in (("landmarks", "a.npy"),):
        np.save(clips_root / folder / name, np.load(clips_root / folder / name)[:1])
    with pytest.raises(ClipError, match="expected at least 2 frames to train on, got 1"):
        dataset(clips_root)


@pytest.mark.parametrize("missing", ["train", "test"])
def test_a_missing_split_folder_is_an_error(clips_root, missing):
    (clips_root / missing).rename(clips_root / "elsewhere")
    with pytest.raises(ClipError, match=f"{missing}: no such folder"):
        split_clips(params(clips_root), missing)


def test_without_a_list_every_combination_is_animated(clips_root):
    pairs = animation_pairs(params(clips_root))
    assert {(source.name, driving.name) for source, driving in pairs} == {("006", "022_3_3"), ("022_3_3", "006")}


def test_pair_lists_may_name_test_clips_and_files_beside_the_list(clips_root):
    lists = clips_root / "lists"
    lists.mkdir()
    iio.imwrite(lists / "face.jpg", np.zeros((8, 8, 3), np.uint8))
    write_video(lists / "clip.mp4", [np.zeros((32, 32, 3), np.uint8)] * 3, 30, crf=8)
    (lists / "pairs.csv").write_text("frames,driving,source\n1,006,face.jpg\n2,clip,022_3_3\n3,006.mp4,face\n")
    pairs = animation_pairs(params(clips_root, pairs_list=str(lists / "pairs.csv")))
    assert [(source.name, driving.name) for source, driving in pairs] == [
        ("face", "006"),
        ("022_3_3", "clip"),
        ("face", "006"),
    ]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("source;driving\r\n脸.jpg;006\r\n;\r\n", "gb18030"),
        ("\ufeffsource,driving\r\n脸.jpg,006,,\r\n,,,\r\n", "utf-8"),
        ("sep=;\nsource;driving\n脸.jpg;006\n", "utf-16"),
        ("source，driving\n脸.jpg，006\n", "gb18030"),
        ("source    driving\n脸.jpg    006\n", "utf-8"),
        (",source,driving\n0,脸.jpg,006\n", "utf-8"),
        ("# pairs\n\nsource\tdriving\r脸.jpg\t006\r", "utf-8"),
    ],
)
def test_pair_lists_are_read_as_spreadsheets_write_them(clips_root, text, encoding):
    iio.imwrite(clips_root / "脸.jpg", np.zeros((8, 8, 3), np.uint8))
    (clips_root / "pairs.csv").write_bytes(text.encode(encoding))
    ((source, driving),) = animation_pairs(params(clips_root, pairs_list=str(clips_root / "pairs.csv")))
    assert (source.name, driving.name) == ("脸", "006")


def test_clips_of_the_same_name_beside_a_list_keep_their_folders(clips_root):
    for folder in ("a", "b"):
        (clips_root / "lists" / folder).mkdir(parents=True)
        iio.imwrite(clips_root / "lists" / folder / "face.png", np.zeros((SIZE, SIZE, 3), np.uint8))
        (clips_root / "landmarks" / folder).mkdir()
    np.save(clips_root / "landmarks" / "a" / "face.npy", face_landmarks())
    np.save(clips_root / "landmarks" / "b" / "face.npy", face_landmarks() + 1)
    (clips_root / "lists" / "pairs.csv").write_text("source,driving\na/face,b/face.png\n")
    settings = params(clips_root, pairs_list=str(clips_root / "lists" / "pairs.csv"))
    ((source, driving),) = animation_pairs(settings)
    assert (source.name, driving.name, driving.label) == ("a/face", "b/face", "b_face")
    loader = ClipLoader(settings, landmarks=True, action_units=False)
    np.testing.assert_allclose(loader.load(driving, "test").landmarks[0], face_landmarks() + 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source,driving\na**b,*\n", r"line 2: 'a\*\*b' is neither a test clip"),
        (f"source,driving\n{'9' * 300},006\n", r"line 2: '9+' is neither a test clip"),
        ("source,driving,source\n006,006,006\n", r"expected one column 'source', found several"),
        ("source,driving\n006,006,x\n", r"row 2: expected 2 cells as in the header, got 3"),
        ("source,driving\n006,absent\n", r"line 2: 'absent' is neither a test clip nor a clip beside the list"),
        ("a,b\n1,2\n", "expected the columns source,driving; found a, b"),
        ("source,driving\n", "expected the columns source,driving; found no rows"),
    ],
)
def test_bad_pair_lists_are_errors_that_name_the_line_or_column(clips_root, text, message):
    path = clips_root / "pairs.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ClipError, match=message):
        animation_pairs(params(clips_root, pairs_list=str(path)))


def test_a_frame_rate_comes_from_the_file_or_the_config(clips_root):
    clip = load(clips_root)[0][0]
    with pytest.raises(ClipError, match=r"images have no frame rate; set dataset_params\.fps"):
        ClipLoader(params(clips_root), landmarks=False, action_units=False).fps(clip)
    assert ClipLoader(params(clips_root, fps=200), landmarks=False, action_units=False).fps(clip) == 200


def test_the_frame_rate_of_a_video_overrides_that_of_the_config(clips_root):
    write_video(clips_root / "clip.mp4", [np.zeros((32, 32, 3), np.uint8)] * 3, 30, crf=8)
    loader = ClipLoader(params(clips_root, fps=200), landmarks=False, action_units=False)
    assert loader.fps(loader.load(open_clip(clips_root / "clip.mp4"))) == 30
