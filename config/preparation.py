"""Configuration of `--mode prepare`: the data set to read, and the clips to make from it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from config.ranges import FilePath, FolderName, Fraction, FrameRate, FrameSide, NonNegativeInt, OpenFraction, Seed
from config.sections import Section


class PrepareCropParams(Section):
    """One square crop per clip, placed by the landmarks of its onset frame."""

    size: FrameSide = 256
    """Side of the written frames, pixels."""
    margin: Annotated[float, Field(ge=0, le=10)] = 0.3
    """Margin on each side of the bounding box of the 68 landmarks (brows to chin), as a fraction of its larger side."""
    raised: Fraction = 0.08
    """Upward shift of the square from the centre of the box, for the forehead, as a fraction of its larger side."""
    upright: bool = False
    """Rotate the whole clip so that the eyes of the onset frame are level."""
    grey: bool = False
    """Write grey frames; clips without colour are always written grey."""


class PrepareLandmarkParams(Section):
    """Origin of the 68 landmarks of the onset frame and of the other frames."""

    backend: Literal["auto", "mesh", "face-alignment", "files"] = "auto"
    """`mesh` and `face-alignment` detect landmarks on the onset frame with neural networks: those of `mesh` are
    installed with the program, `face-alignment` downloads 190 MB at its first use. `files` reads them, in pixels of the
    release's frames, from `dir` or from the files that lie beside the clips. `auto` takes `mesh`."""
    dir: FilePath | None = None
    """Folder of CLIP.npy, .csv or .pts, with landmarks of the onset frame or of every frame of the release's clip; the
    .csv may be OpenFace tables (`x_0` to `y_67`)."""
    boxes: FilePath | None = None
    """CSV with the columns `clip,x0,y0,x1,y1`: bounding box of the face on the onset frame, from brows to chin and ear
    to ear, pixels, for `mesh` and `face-alignment`; null: the largest detected face is used."""
    follow: Literal["track", "files"] = "track"
    """Landmarks of the other frames. `track` follows them from the onset frame by sub-pixel optical flow, because the
    jitter of detectors is as large as a micro-expression. `files` uses files with a row per frame without tracking."""

    @model_validator(mode="after")
    def _fits_together(self) -> "PrepareLandmarkParams":
        if self.backend == "files" and self.boxes is not None:
            raise ValueError("boxes: expected `backend: mesh` or `face-alignment`, got `files`")
        if self.backend != "files" and (self.dir is not None or self.follow == "files"):
            raise ValueError(f"backend: expected `files` together with `dir` or `follow: files`, got `{self.backend}`")
        return self

    @property
    def detection_backend(self) -> Literal["mesh", "face-alignment"] | None:
        """Detector, or what `auto` takes; None: landmarks are read from files."""
        if self.backend == "files":
            return None
        return "mesh" if self.backend == "auto" else self.backend


class PrepareAUParams(Section):
    """One action-unit table per clip: the user's, or else curves from the FACS code, onset, apex and offset."""

    dir: FilePath | None = None
    """Folder of CLIP.csv of OpenFace 2, py-feat or LibreFace, with rows for the frames of the release's clip; null: the
    tables that lie beside the clips are used."""
    intensity: Annotated[float, Field(gt=0, le=5)] = 2.0
    """Peak of the curves of action units without an intensity in the code, 0 to 5."""
    min_confidence: Fraction = 0.0
    """As `dataset_params.au_min_confidence`, for the user's tables."""
    max_gap: NonNegativeInt = 0
    """As `dataset_params.au_max_gap`."""
    unknown: Literal["error", "zero"] = "error"
    """As `dataset_params.au_unknown`."""


class PrepareSplitParams(Section):
    """Split of the clips into `train/` and `test/`."""

    by: Literal["subject", "list", "megc", "none"] = "subject"
    """Test clips. `subject`: those of a random fraction of the subjects. `list`: the clips and subjects in `test_list`.
    `megc`: all clips of the subjects in the nine driving clips of the MEGC generation task. `none`: no clip. For
    leave-one-subject-out, `splits/` in the output has one file per subject that can be used as `test_list`."""
    test_fraction: OpenFraction = 0.2
    """Fraction of the subjects that are tested, for `subject`."""
    seed: Seed = 0
    """Seed of the random choice of subjects, for `subject`."""
    test_list: FilePath | None = None
    """Text file with one clip or subject per line, or the list of the composite data set of MEGC 2019
    (`casme2,sub01,EP02_01f,1`), for `list`."""

    @model_validator(mode="after")
    def _has_list(self) -> "PrepareSplitParams":
        if (self.by == "list") != (self.test_list is not None):
            raise ValueError("test_list: expected together with `by: list`, and only there")
        return self


class PrepareParams(Section):
    data_set: Literal[
        "casme",
        "casme2",
        "casme-sq",
        "samm",
        "samm-long",
        "smic-hs",
        "smic-hs-e",
        "casme3",
        "casme3-c",
        "mmew",
        "4dme",
        "dfme",
        "meb",
        "folder",
        "video",
    ]
    """Data set whose layout and coding sheet are read; `meb`: folders and sheet as for tvaranka/meb; `folder`: folders
    of frames; `video`: video files."""
    root_dir: FilePath
    """Folder of the unpacked data set; relative paths start from the current directory."""
    sheet: FilePath | None = None
    """Coding sheet; null: found by its documented name, or else by its columns, in `root_dir` or beside it."""
    columns: dict[str, str] = {}
    """Names that columns of the coding sheet have instead of the documented ones, by documented name, such as
    `{OnsetFrame: first frame}`."""
    release: FolderName | None = None
    """Subfolder of `root_dir` to read if it contains several releases, such as `CASME2_RAW_selected`."""
    missing_apex: Literal["motion", "midpoint"] = "motion"
    """Apex of action-unit curves where the release gives none. `motion`: the frame in which the landmarks, without head
    motion, are farthest from the onset. `midpoint`: halfway from onset to offset."""
    output_dir: FilePath
    """Output folder; it must be new, empty or the output of an earlier run."""
    fps: FrameRate | None = None
    """Frames per second of loose frames and of `meb`; data sets and videos have their own frame rate."""
    trim: bool = True
    """Write only the frames from onset to offset, where the release gives them."""
    length: Annotated[int, Field(ge=2, le=100_000)] | None = None
    """Number of frames per clip, by linear interpolation between neighbouring frames; null: frames are not
    interpolated. Requires `trim`, so that the onset is the first frame."""
    workers: Annotated[int, Field(gt=0, le=1024)] | None = None
    """Number of processes; null: one per processor core."""
    remove_missing: bool = False
    """Remove finished clips that are no longer in the data set, or whose inputs are missing or cannot be used; false:
    they are kept, in the tables too, with a warning."""
    crop_params: PrepareCropParams = PrepareCropParams()
    """Square crop of the face."""
    landmark_params: PrepareLandmarkParams = PrepareLandmarkParams()
    """Origin of the landmarks."""
    au_params: PrepareAUParams = PrepareAUParams()
    """Origin of the action units."""
    split_params: PrepareSplitParams = PrepareSplitParams()
    """Training and test clips."""

    @model_validator(mode="after")
    def _starts_at_the_onset(self) -> "PrepareParams":
        if self.length is not None and not self.trim:
            raise ValueError("length: expected together with `trim: true`, got `trim: false`")
        if self.output_dir.resolve() in (self.root_dir.resolve(), *self.root_dir.resolve().parents):
            raise ValueError(f"output_dir: expected a folder that does not contain root_dir, got {self.output_dir}")
        return self


class PrepareConfig(Section):
    """Configuration file of `--mode prepare`."""

    format: Literal[2]
    """Version of this file format."""
    prepare_params: PrepareParams
    """Settings of `--mode prepare`."""
