"""`--mode evaluate`: judge generated clips, with references, intervals, tables and a report."""

import logging
from pathlib import Path

from clips.reading import ClipError
from config.experiment import Config
from config.options import RunOptions
from core.run_folder import check_log_dir
from errors import UserError
from evaluation.jobs import Settings
from evaluation.methods import check_methods, describe_methods
from evaluation.result_clips import SystemResults, find_results, read_pairs
from evaluation.run import Evaluation, make_jobs
from logger import log_to_file

log = logging.getLogger("evaluate")

NOTHING_EVALUATED = 2


def evaluate(config: Config, options: RunOptions) -> int:
    """Judge the results of all systems in a folder.

    Returns:
        Exit status: 0, or 2 if no result can be evaluated.
    Raises:
        UserError: the list or the folder cannot be read, or a network of the settings is missing.
    """
    pairs_list = options.pairs or config.dataset_params.pairs_list
    if options.results is None or pairs_list is None:
        missing = "--results" if options.results is None else "--pairs (or dataset_params.pairs_list)"
        raise UserError(f"--mode evaluate: expected {missing}")
    check_log_dir(options.log_dir)
    params = config.evaluate_params
    pairs, problems = read_pairs(pairs_list, config.dataset_params)
    if not pairs:
        raise ClipError(f"{pairs_list}: none of its pairs can be used; the first: {problems[0]}")
    systems = list(find_results(options.results, pairs))
    check_methods(params)
    problems += [problem for system in systems for problem in system.problems]
    folder = result_folder(options.log_dir, options.results)
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(params, config.dataset_params.keypoint_dir, config.dataset_params.fps)
    with log_to_file(folder), Evaluation(folder, settings, pairs, describe_methods(params)) as evaluation:
        for problem in problems:
            evaluation.report(problem)
        judged = evaluation.run(make_jobs(pairs, systems))
        if not judged:
            log.error("error: no result in %s can be evaluated", options.results)
            return NOTHING_EVALUATED
        evaluation.write(options.results)
    _log_summary(systems, judged, folder)
    return 0


def result_folder(log_dir: Path, results: Path) -> Path:
    """Return the folder of tables and report, the same in every run on these results."""
    resolved = results.resolve()
    name = resolved.parent.name if resolved.name == "animation" else resolved.name
    return log_dir / f"{name or 'results'}-evaluate"


def _log_summary(systems: list[SystemResults], judged: int, folder: Path) -> None:
    log.info("%d results of %d systems judged; tables and report.html are in %s", judged, len(systems), folder)
