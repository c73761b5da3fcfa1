"""The section of `--mode prepare`: a data set as it was received, and the folders to make of it."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from config.sections import FilePath, Fraction, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Section


class PrepareCropParams(Section):
    """One square for the whole clip, placed by the landmarks of its onset frame."""

    size: Annotated[int, Field(ge=16)] = 256
    """Side of the written frames, pixels."""
    margin: NonNegativeFloat = 0.3
    """Kept around the box of the 68 landmarks (brows to chin) on each side, in parts of its larger side."""
    raised: Fraction = 0.08
    """How far the square lies above the box's middle, for the forehead, in parts of the box's larger side."""
    upright: bool = False
    """Turn the whole clip so that the eyes of the onset frame are level."""
    grey: bool = False
    """Write grey frames; clips without colour are written grey in any case."""


class PrepareLandmarkParams(Section):
    """68 landmarks of the onset frame, and from there of every frame."""

    backend: Literal["face-alignment", "files"] = "face-alignment"
    """`face-alignment` finds them by its networks on the onset frame. `files` reads them, in pixels of the release's
    own frames: from `dir`, or from where the reader of the data set found them."""
    dir: FilePath | None = None
    """Folder of CLIP.npy, .csv or .pts, of the onset frame or of every frame of the release's clip; OpenFace tables
    (`x_0` to `y_67`) serve as well."""
    boxes: FilePath | None = None
    """CSV with the columns `clip,x0,y0,x1,y1`: faces on onset frames, brows to chin and ear to ear, in which
    `face-alignment` looks; null: the largest face that it finds."""
    follow: Literal["track", "files"] = "track"
    """`track`: from the onset frame by sub-pixel optical flow, because detectors jitter by as much as a
    micro-expression moves. `files`: as they stand in files with a row for every frame."""

    @model_validator(mode="after")
    def _fits_together(self) -> "PrepareLandmarkParams":
        if self.backend == "files" and self.boxes is not None:
            raise ValueError("boxes: expected `backend: face-alignment`, got `files`")
        if self.backend == "face-alignment" and (self.dir is not None or self.follow == "files"):
            raise ValueError("backend: expected `files` together with `dir` or `follow: files`, got `face-alignment`")
        return self


class PrepareAUParams(Section):
    """A table of action units a clip: the user's, else curves from the FACS code, onset, apex and offset."""

    dir: FilePath | None = None
    """Folder of CLIP.csv of OpenFace 2, py-feat or LibreFace, whose rows are frames of the release's clip; null: those
    that the reader of the data set found."""
    intensity: Annotated[float, Field(gt=0, le=5)] = 2.0
    """Height of the curves of action units to which the code gives no intensity, 0 to 5."""
    min_confidence: Fraction = 0.0
    """As `dataset_params.au_min_confidence`, for the user's tables."""
    max_gap: NonNegativeInt = 0
    """As `dataset_params.au_max_gap`."""
    unknown: Literal["error", "zero"] = "error"
    """As `dataset_params.au_unknown`."""


class PrepareSplitParams(Section):
    """Which clips are in `train/` and which in `test/`."""

    by: Literal["subject", "list", "megc", "none"] = "subject"
    """`subject`: a seeded share of the subjects is tested. `list`: the clips or subjects of `test_list` are. `megc`:
    the nine driving clips of the MEGC generation task are, and their subjects are not trained on. `none`: all are
    trained on. `splits/` has a list for `test_list` for every subject, to leave it out."""
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the subjects, for `subject`."""
    seed: NonNegativeInt = 0
    """Of that share."""
    test_list: FilePath | None = None
    """Text file for `list`: a clip or a subject a line."""

    @model_validator(mode="after")
    def _has_list(self) -> "PrepareSplitParams":
        if (self.by == "list") != (self.test_list is not None):
            raise ValueError("test_list: expected together with `by: list`, and only there")
        return self


class PrepareParams(Section):
    data_set: Literal["casme2", "samm", "smic-hs", "smic-hs-e", "casme3", "mmew", "4dme", "dfme", "folder", "video"]
    """Whose layout and coding sheet `root_dir` has; `folder`: folders of frames, `video`: video files."""
    root_dir: FilePath
    """Folder of the release as it was unpacked; relative to where you are."""
    sheet: FilePath | None = None
    """Its coding sheet; null: the one that lies in `root_dir` or beside it."""
    release: str | None = None
    """Folder of `root_dir` that is meant, where several releases lie there, such as `CASME2_RAW_selected`."""
    missing_apex: Literal["motion", "midpoint"] = "motion"
    """Apex of action-unit curves where the release gives none: the frame in which the landmarks are farthest from the
    onset, head motion removed, or halfway from onset to offset."""
    output_dir: FilePath
    """Folder to make; it holds nothing else."""
    fps: PositiveFloat | None = None
    """Frame rate of loose frames in frames a second; data sets and videos have their own."""
    trim: bool = True
    """Write the frames from onset to offset only, where the release says so."""
    length: Annotated[int, Field(ge=2)] | None = None
    """Number of frames to which every clip is brought by linear interpolation between neighbouring frames; null keeps
    its frames. Only with `trim`, so that the onset stays the first frame."""
    workers: PositiveInt | None = None
    """Processes; null takes one a processor core."""
    crop_params: PrepareCropParams = PrepareCropParams()
    """The square that is cut out."""
    landmark_params: PrepareLandmarkParams = PrepareLandmarkParams()
    """Where landmarks come from."""
    au_params: PrepareAUParams = PrepareAUParams()
    """Where action units come from."""
    split_params: PrepareSplitParams = PrepareSplitParams()
    """Training and test clips."""

    @model_validator(mode="after")
    def _starts_at_the_onset(self) -> "PrepareParams":
        if self.length is not None and not self.trim:
            raise ValueError("length: expected together with `trim: true`, got `trim: false`")
        if self.output_dir.resolve() in (self.root_dir.resolve(), *self.root_dir.resolve().parents):
            raise ValueError(f"output_dir: expected a folder that does not hold root_dir, got {self.output_dir}")
        return self


class PrepareConfig(Section):
    """What `--mode prepare` reads."""

    format: Literal[2]
    """Version of this file format."""
    prepare_params: PrepareParams
    """`--mode prepare`."""
