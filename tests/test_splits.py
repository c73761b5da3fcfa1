from pathlib import Path

import pytest

from errors import UserError
from preparation.clip_record import ClipRecord
from preparation.readers import read_data_set
from preparation.splits import MEGC_DRIVING, by_list, by_megc, by_subject, composite_clips, leave_one_subject_out
from tests.data_set_layouts import Mini, make_casme2, make_dfme, make_samm, make_smic_hs, make_smic_hs_e


def record(name: str, subject: str | None = None) -> ClipRecord:
    return ClipRecord(name, subject or name.split("_")[0], "folder", Path(name), (), (0, 1), 100.0)


CLIPS = [record(f"sub{subject:02d}_EP{clip:02d}_01") for subject in range(1, 11) for clip in range(1, 4)]


def in_test(splits: dict[str, str]) -> set[str]:
    return {name for name, split in splits.items() if split == "test"}


def test_lists_name_clips_or_subjects():
    splits = by_list(CLIPS, ["sub01_EP02_01", "sub3"])
    assert in_test(splits) == {"sub01_EP02_01", "sub03_EP01_01", "sub03_EP02_01", "sub03_EP03_01"}
    assert list(splits) == [clip.name for clip in CLIPS]
    assert set(splits.values()) == {"train", "test"}


def composite(count: tuple[int, int, int] = (145, 133, 164)) -> list[str]:
    """A list of 442 lines like that of MEGC 2019, without its names: CASME II, SAMM, SMIC-HS."""
    lines = [f"casme2,sub{i % 24 + 1:02d},EP{i // 24 + 1:02d}_01,{i % 3}" for i in range(count[0])]
    lines += [f"samm,{i % 28 + 6},{i % 28 + 6:03d}_{i // 28 + 1}_1,{i % 3}" for i in range(count[1])]
    return lines + [f"smic,s{i % 16 + 1:02d},s{i % 16 + 1:02d}_ne_{i // 16 + 1:02d},0" for i in range(count[2])]


def test_the_list_of_the_composite_data_set_names_clips_to_test():
    clips = [record(f"sub{i % 24 + 1:02d}_EP{i // 24 + 1:02d}_01") for i in range(255)]
    names, absent = composite_clips(composite(), clips)
    assert absent == ["samm", "smic"]
    assert len(in_test(by_list(clips, names))) == 145
    smic = [record(f"s{i % 16 + 1}_ne_{i // 16 + 1:02d}") for i in range(164)]
    samm = [record(f"{i % 28 + 6:03d}_{i // 28 + 1}_1") for i in range(159)]
    names, absent = composite_clips(["db,subject,clip,label", *composite()], [*clips, *smic, *samm])
    assert not absent
    splits = by_list([*clips, *smic, *samm], names)
    assert len(in_test(splits)) == 442
    assert [sum(name in splits for name in names if name.startswith(start)) for start in ("sub", "s")] == [145, 309]
    names, _ = composite_clips(composite(), clips[:100])
    with pytest.raises(UserError, match=r"to test, got sub05_EP05_01, .* and 40 more"):
        by_list(clips[:100], names)
    assert composite_clips(["sub01_EP02_01f", "sub02"], clips) is None


def test_a_fraction_of_the_subjects_is_tested_with_all_their_clips():
    splits = by_subject(CLIPS, 0.3)
    subjects = {name.split("_")[0] for name in in_test(splits)}
    assert len(subjects) == 3
    assert in_test(splits) == {clip.name for clip in CLIPS if clip.subject in subjects}
    assert by_subject(list(reversed(CLIPS)), 0.3) == splits, "the order of the clips does not matter"
    assert any(by_subject(CLIPS, 0.3, seed=seed) != splits for seed in range(1, 5))
    assert len({name.split("_")[0] for name in in_test(by_subject(CLIPS, 0.01))}) == 1


def test_a_subject_in_two_spellings_is_one():
    clips = [record("s1_a"), record("s01_b"), record("S001_c"), record("s2_a")]
    for splits in (by_subject(clips, 0.5), *leave_one_subject_out(clips).values()):
        assert len({splits[name] for name in ("s1_a", "s01_b", "S001_c")}) == 1
    assert list(leave_one_subject_out(clips)) == ["s1", "s2"]
    assert in_test(by_list(clips, ["s1"])) == {"s1_a", "s01_b", "S001_c"}


def test_folds_leave_each_subject_out_once():
    folds = leave_one_subject_out(CLIPS)
    assert list(folds) == [f"sub{subject:02d}" for subject in range(1, 11)]
    for subject, splits in folds.items():
        assert in_test(splits) == {clip.name for clip in CLIPS if clip.subject == subject}
        assert list(splits) == [clip.name for clip in CLIPS]
    assert sum(len(in_test(splits)) for splits in folds.values()) == len(CLIPS)


def megc_sets(root: Path) -> list[ClipRecord]:
    """The driving clips in their data sets, with other clips of their subjects and of others."""
    casme2 = [("01", "EP19_06f"), ("01", "EP02_01f"), ("19", "EP01_01f"), ("17", "EP01_13"), ("10", "EP01_13")]
    samm = [("018", "018_3_1"), ("018", "018_1_1"), ("022", "022_3_3"), ("007", "007_7_1"), ("011", "011_1_1")]
    smic = [("s11", "s11_ne_02", "negative"), ("s03", "s03_po_05", "positive"), ("s20", "s20_sur_01", "surprise")]
    smic += [("s3", "s3_ne_01", "negative"), ("s18", "s18_ne_03", "negative")]
    make_casme2(root / "c", [Mini(subject, name) for subject, name in casme2])
    make_samm(root / "m", [Mini(subject, name) for subject, name in samm])
    make_smic_hs(root / "s", [Mini(subject, name, emotion=emotion) for subject, name, emotion in smic])
    make_smic_hs_e(root / "e", [Mini(subject, name, emotion=emotion) for subject, name, emotion in smic])
    make_dfme(root / "d", [Mini("sub0001", "sub0001_17"), Mini("sub0017", "sub0017_01")])
    kinds = {"casme2": "c", "samm": "m", "smic-hs": "s", "smic-hs-e": "e", "dfme": "d"}
    return [clip for kind, folder in kinds.items() for clip in read_data_set(kind, root / folder).clips]


def test_the_megc_split_trains_on_no_driving_clip_and_on_none_of_its_subjects(tmp_path):
    clips = megc_sets(tmp_path)
    splits = by_megc(clips)
    assert len(MEGC_DRIVING) == 9
    assert set(MEGC_DRIVING) <= in_test(splits)
    assert {f"{name}_e" for name in MEGC_DRIVING if name.startswith("s1") or name[:2] in ("s3", "s2")} <= in_test(
        splits
    )
    left = {name for name, split in splits.items() if split == "train"}
    assert left == {"sub10_EP01_13", "011_1_1", "s18_ne_03", "s18_ne_03_e", "dfme-sub0001_17", "dfme-sub0017_01"}
    driving = {name.split("_")[0] for name in MEGC_DRIVING}
    assert driving.isdisjoint(clip.subject for clip in clips if clip.name in left)


def test_the_megc_split_knows_loose_clips_by_their_names():
    assert in_test(by_megc([record("022_3_3"), record("s03_po_01"), record("sub02_EP01_01")])) == {
        "022_3_3",
        "s03_po_01",
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: by_list(CLIPS, ["sub01", "sub01_EP9", "x"]), "names of clips or subjects to test, got sub01_EP9, x$"),
        (lambda: by_list(CLIPS, [f"x{i}" for i in range(8)]), "got x0, x1, x2, x3, x4 and 3 more"),
        (lambda: by_list(CLIPS, []), "expected clips to test, but the split leaves none of 30"),
        (lambda: by_list(CLIPS[:3], ["sub01"]), "expected clips to train, but the split leaves none of 3"),
        (lambda: by_subject(CLIPS, 0.0), "expected a fraction of the subjects between 0 and 1 to test, got 0"),
        (lambda: by_subject(CLIPS, 1.0), "got 1"),
        (lambda: by_subject(CLIPS[:3], 0.5), "expected clips to train"),
        (lambda: leave_one_subject_out(CLIPS[:3]), "expected clips to train"),
        (
            lambda: by_megc([record("sub02_a"), record("s4_b")]),
            "expected clips of the MEGC subjects 007, 018, 022, s3, s11, .*, found none",
        ),
        (lambda: by_megc([record("sub01_a")]), "expected clips to train"),
        (lambda: by_subject([*CLIPS, CLIPS[0]], 0.5), "several clips named sub01_EP01_01"),
    ],
)
def test_impossible_splits_are_named(make, message):
    with pytest.raises(UserError, match=message):
        make()
