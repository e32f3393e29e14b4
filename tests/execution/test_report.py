"""What a campaign brought: counts, the best network, and whether it is clearly the best."""

import dataclasses

import pytest

from bpe_bench import BPE_1, Split, get_space
from bpe_bench.execution.campaign import status_of
from bpe_bench.execution.journal import Journal
from bpe_bench.execution.report import done_in, report_campaign
from bpe_bench.training.trial import EpochRecord, SplitResult, Trial

CHEAP = BPE_1.replace(epochs=1, layers=5)
DEAR = CHEAP.replace(channels=16)


@pytest.fixture
def trained(tmp_path):
    """Return what fills a store with trials and right images of 1,000, and reports on them."""
    space = get_space("nas-bench-201")
    store = tmp_path / "my store.sqlite"

    def fill(results, *, states=None):
        trials, chosen = [], {}
        for (place, budget, seed), correct in results.items():
            trial = Trial(space.from_index(place), budget, "digits", seed)
            trials.append(trial)
            chosen[trial.id] = correct, 5.0 if budget == DEAR else 1.0
        with Journal(store) as journal:
            journal.add(trials)
            while claim := journal.claim("me", stale_after=60):
                correct, seconds = chosen[claim.trial.id]
                result = {Split.VALIDATION: SplitResult(correct, 1000, 0.5)}
                if correct is None:
                    journal.finish(claim.trial.id, "me", "failed", "out of luck")
                    continue
                journal.record(claim.trial.id, "me", EpochRecord(1, result, seconds, 0), b"")
                journal.finish(claim.trial.id, "me", "done")
        return report_campaign(
            trials,
            status_of(store),
            done_before=0,
            seconds=90.0,
            choices={"space": "nas-bench-201", "dataset": "digits"},
        ), trials

    return fill


def test_the_best_is_of_the_dearest_budget_and_the_mean_over_seeds(trained):
    report, _ = trained(
        {
            (1, CHEAP, 0): 990,
            (1, DEAR, 0): 800, (1, DEAR, 1): 820,
            (2, DEAR, 0): 830, (2, DEAR, 1): 770,
        }
    )  # fmt: skip
    best = report.best
    assert best.architecture == get_space("nas-bench-201").format(
        get_space("nas-bench-201").from_index(1)
    )
    assert (best.accuracy, best.rival, best.candidates) == (0.81, 0.8, 2)
    # Wilson's formula of 810 of 1,000, worked out apart.
    assert (best.low, best.high) == pytest.approx((0.784517, 0.833111), abs=1e-6)
    assert report.answer == (
        "5 of 5 trainings of nas-bench-201 on digits are done, in 1.5 min. The best of 2 under "
        "channels=16 has 81.0% [78.5, 83.3] validation accuracy on 1,000 images; the next has "
        "80.0%, which is not clearly worse."
    )


def test_a_best_whose_interval_lies_above_the_next_is_clear(trained):
    report, _ = trained({(1, CHEAP, 0): 900, (2, CHEAP, 0): 700})
    assert report.answer.endswith(
        "under their budget has 90.0% [88.0, 91.7] validation accuracy on "
        "1,000 images; the next has 70.0%, which is clearly worse."
    )


def test_failures_say_how_to_start_over(trained, tmp_path):
    report, trials = trained({(1, CHEAP, 0): 900, (2, CHEAP, 0): None})
    store = tmp_path / "my store.sqlite"
    assert (report.done, report.failed, done_in(store, trials)) == (1, 1, 1)
    assert (
        f"1 failed or diverged; start them over with: bpe-bench train retry --store '{store}'"
        in (report.answer)
    )
    assert report.best.rival is None
    assert report.answer.endswith(
        "The only network under their budget has 90.0% [88.0, 91.7] validation accuracy on 1,000 "
        "images."
    )
    assert status_of(store).answer == (
        "1 of 2 trainings are done, 1 failed or diverged; start them over with: bpe-bench train "
        f"retry --store '{store}'; make a table of them with: bpe-bench tables import journal "
        f"'{store}' -o FILE"
    )


def test_what_was_done_before_did_not_take_the_time_of_this_run(trained):
    report, _ = trained({(1, CHEAP, 0): 900, (2, CHEAP, 0): 700})
    resumed = dataclasses.replace(report, done_before=1)
    assert resumed.answer.startswith(
        "2 of 2 trainings of nas-bench-201 on digits are done, 1 of them before; this run took 1.5 "
        "min. "
    )


def test_a_store_that_does_not_exist_has_nothing_done(tmp_path):
    assert done_in(tmp_path / "none.sqlite", []) == 0
    assert list(tmp_path.iterdir()) == []
