"""What fitted surrogates and their predictions answer, with the figures of the rows."""

import numpy as np
import pytest

from bpe_bench import get_space
from bpe_bench.errors import SelectionError
from bpe_bench.surrogate import Question, ask, fit_surrogate


def asked(fitted, *budgets, **options):
    return ask(fitted, budgets, rng=np.random.default_rng(0), **options)


def test_a_surrogate_says_what_it_was_fitted_to_and_how_far_it_misses(correlating, accurate):
    # Half of an odd number of settings: the middle one.
    miss = sorted(correlating.models["correlation"].ensembles["budget"].residuals)[37 // 2]
    assert correlating.answer == (
        "Fitted forest to the Spearman correlations of 37 settings of darts-bpe: half of the "
        f"settings that it did not see are missed by at most {miss:.3f}. Costs are predicted, too."
    )
    residuals = accurate.models["accuracy"].ensembles["architecture"].residuals
    factor = np.exp(np.median(residuals)) - 1  # it is learned on the logarithm of 1 − accuracy
    assert accurate.answer == (
        "Fitted xgboost to the test accuracies of 100 darts architectures under 4 settings of "
        "darts-bpe: half of the architectures that it did not see are missed by at most "
        f"{100 * factor:.1f}% of the error rate."
    )
    assert correlating.describe()["answer"] == correlating.answer


def test_a_surrogate_of_costs_says_so(darts_bpe):
    fitted = fit_surrogate(darts_bpe, Question("cost"), rng=np.random.default_rng(0), folds=4)
    assert fitted.answer.startswith(
        "Fitted forest to the costs of 37 settings of a table: half of the settings that it did "
        "not see are missed by at most "
    )
    assert fitted.answer.endswith("%.")


def test_the_answer_to_one_budget_is_its_prediction_with_the_interval(correlating):
    answers = asked(correlating, "test5")
    (row,) = answers.rows
    r, low, high = (row[f"correlation{end}"] for end in ("", "_low", "_high"))
    minutes = [row[f"cost_seconds{end}"] / 60 for end in ("", "_low", "_high")]
    assert answers.answer == (
        f"test5 (BPE-1): Spearman correlation {r:.3f} (90% interval {low:.3f} to {high:.3f}); cost "
        "{:.3g} min (90% interval {:.3g} min to {:.3g} min).".format(*minutes)
    )
    assert next(iter(answers.to_json())) == "answer"


def test_the_answer_to_several_is_the_best(correlating, accurate):
    answers = asked(correlating)
    best = max(answers.rows, key=lambda row: row["correlation"])
    assert answers.answer.startswith(
        f"The best of 37 budgets is {best['label']}: Spearman correlation {best['correlation']:.3f}"
    )
    answers = asked(accurate, "test5", "test6", architectures="sample:3")
    place = int(np.argmax([row["accuracy"] for row in answers.rows]))
    label = ["test5 (BPE-1)", "test6"][place // 3]
    assert answers.answer.startswith(
        "The best of 6 predictions for architectures under 2 budgets is architecture "
        f"{1 + place % 3} under {label}: test accuracy {100 * answers.rows[place]['accuracy']:.2f} "
    )
    assert "; cost 6.23 min, as recorded." in answers.answer


def test_what_has_no_interval_is_said(correlating):
    answers = asked(correlating, "BPE-1,epochs=2000", extrapolate=True)
    assert "without an interval" in answers.answer


def test_given_accuracies_need_their_table_whose_architectures_are_drawn(informed, darts_bpe):
    with pytest.raises(SelectionError) as caught:
        asked(informed)
    assert str(caught.value) == (
        "accuracies under test6 must be given, and no table is; name the one that has them "
        "(--table darts-bpe)"
    )
    answers = asked(informed, "test5", table=darts_bpe)
    known = set(map(get_space("darts").format, darts_bpe.architectures))
    assert len(answers.rows) == 10
    assert {row["architecture"] for row in answers.rows} < known
