"""The record of a prepared clip: for every stage its key, results and files, by which later runs skip finished work.

A record is believed only where it has the form that this program writes and, where it names one, the digest of its
content; everything else is made again.
"""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

STAGES = ("frames", "landmarks", "action_units")
"""Stages with files, in the order in which they are made."""
State = dict[str, Any]
"""Record of a clip.

    onset: key, and `landmarks` of the onset frame or the `failure` because of which there are none.
    frames, landmarks, action_units: key, results, and `files`, a manifest.
    failure: key and reason of a failure that the same inputs would cause again.
    listed: `row` in `clips.csv`, `remarks`, and a hash of the `settings`.
"""

_DIGEST = "digest"


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Onset(_Part):
    key: str
    landmarks: Annotated[list[tuple[float, float]], Field(min_length=68, max_length=68)] | None = None
    failure: str | None = None


class _Stage(_Part):
    key: str
    files: dict[str, tuple[int, str]] | None = None


class _Frames(_Stage):
    centre: tuple[float, float]
    side: Annotated[int, Field(gt=0)]
    angle: float
    size: Annotated[int, Field(gt=0)]
    outside: float
    release_size: tuple[int, int]


class _ActionUnits(_Stage):
    source: Literal["", "table", "code"]
    remarks: list[tuple[str, str]]
    problem: str | None


class _Failure(_Part):
    key: str
    reason: str


class _Listed(_Part):
    row: dict[str, str | int | float]
    remarks: list[tuple[str, str]]
    settings: str


_PARTS: dict[str, type[_Part]] = {
    "onset": _Onset,
    "frames": _Frames,
    "landmarks": _Stage,
    "action_units": _ActionUnits,
    "failure": _Failure,
    "listed": _Listed,
}


def parse_state(data: bytes) -> State:
    """Read a record; parts that are damaged are left out."""
    try:
        state = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(state, dict):
        return {}
    if state.pop(_DIGEST, None) not in (None, _digest(state)):
        return {}
    return {name: part for name, part in state.items() if name in _PARTS and _is_valid(_PARTS[name], part)}


def state_text(state: State) -> str:
    """Text of a record."""
    return json.dumps({**state, _DIGEST: _digest(state)}, sort_keys=True) + "\n"


def _digest(state: State) -> str:
    return hashlib.blake2b(json.dumps(state, sort_keys=True).encode(), digest_size=16).hexdigest()


def _is_valid(model: type[_Part], part: object) -> bool:
    try:
        model.model_validate_json(json.dumps(part))
    except ValidationError:
        return False
    return model is not _Onset or any(isinstance(part, dict) and name in part for name in ("landmarks", "failure"))
