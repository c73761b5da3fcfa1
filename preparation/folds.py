"""Files of leave-one-subject-out folds, `splits/SUBJECT.txt`: lists of test clips, for `split_params.test_list`."""

import hashlib
import re
from collections.abc import Iterable, Sequence

from core.files import write_text
from preparation.prepared_folder import PreparedFolder
from preparation.splits import LabelledClip, leave_one_subject_out

_LONGEST = 100  # characters of a subject in a file name; of 4 bytes at most, with extension below the limit of 255
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # by Windows


def write_folds(clips: Sequence[LabelledClip], prepared: PreparedFolder) -> None:
    """Write one list of test clips per subject, and remove other lists; a single subject has no fold."""
    folder = prepared.path / "splits"
    folds = leave_one_subject_out(clips) if len({clip.subject for clip in clips}) > 1 else {}
    names = file_names(folds)
    for path in folder.glob("*.txt"):
        if path.name not in names.values():
            path.unlink()
    for subject, split in folds.items():
        tested = [name for name, part in split.items() if part == "test"]
        write_text(folder / names[subject], "".join(f"{name}\n" for name in tested))


def file_names(subjects: Iterable[str]) -> dict[str, str]:
    """Name of the file of every subject: its own, where every system takes that for a file, else with a hash.

    Args:
        subjects: any texts; those that differ get names that differ by more than case.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for subject in subjects:
        safe = re.sub(r"[^\w.# -]", "-", subject)[:_LONGEST]
        if (
            safe != subject
            or safe.startswith(".")
            or safe.endswith((".", " "))
            or not safe
            or _RESERVED.fullmatch(safe)
        ):
            safe = _with_hash(safe, subject)
        if safe.casefold() in taken:
            safe = _with_hash(safe, f"{subject} {len(taken)}")
        taken.add(safe.casefold())
        names[subject] = f"{safe}.txt"
    return names


def _with_hash(safe: str, subject: str) -> str:
    digest = hashlib.blake2b(subject.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return f"{safe.strip('. ')}-{digest}"
