"""``bpe-bench search``: what it prints and writes, and how it refuses."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from bpe_bench_cli.search import search as command
from scipy import stats

from bpe_bench import Split, open_table, write_table
from bpe_bench.execution.journal import Journal
from bpe_bench.search import read_traces
from bpe_bench.spaces import get_space

FIELDS = (
    "searcher", "space", "table", "dataset", "estimator", "budget", "repeats", "evaluations_mean",
    "simulated_seconds", "validation_mean", "validation_std", "test_mean", "test_std",
    "regret_mean", "optimum", "speedup", "warnings",
)  # fmt: skip
"""What the contract of the command line promises."""
TINY = "epochs=1,batch_size=128,learning_rate=0.05,layers=5,channels=2,image_size=8"


@pytest.fixture(scope="session")
def table(whole_space, tmp_path_factory):
    """A file with made-up figures of the whole of NAS-Bench-201."""
    path = tmp_path_factory.mktemp("search") / "whole.h5"
    write_table(whole_space, path)
    return path


@pytest.fixture
def search(bpe_bench, table):
    """Run a search over the made-up table."""

    def call(*more, searcher="random", over=table):
        words = ["search", "--searcher", searcher, "--space", "nas-bench-201"]
        return bpe_bench(*words, *(["--table", over] if over else []), *more)

    return call


def as_json(answer):
    status, out, _ = answer
    assert status == 0
    return json.loads(out)


def test_one_searcher_as_json(search, table, whole_space):
    found = as_json(search("--format", "json", "--repeats", 5, "--seconds", 1050))
    assert set(FIELDS) <= set(found)
    assert (found["searcher"], found["estimator"], found["repeats"]) == ("random", "table", 5)
    assert found["table"] == str(table)
    # Each evaluation costs 100 s: the eleventh would overrun 1,050 s and is not made.
    assert (found["evaluations_mean"], found["simulated_seconds"]) == (10.0, 1000.0)
    best = whole_space.accuracy("long", "validation").max()
    assert found["optimum"]["validation"] == pytest.approx(best)
    assert found["regret_mean"] == pytest.approx(best - found["validation_mean"])
    assert found["speedup"]["full_training"] == pytest.approx(10 * 1600 / 1000)
    assert found["speedup"]["nasnet"] == pytest.approx(2000 * 86400 / 1000)
    assert found["speedup"]["amoebanet"] == pytest.approx(3150 * 86400 / 1000)
    assert "published" in found["speedup"]["assumptions"]


def test_all_searchers_are_compared(search, tmp_path):
    traces = tmp_path / "traces.jsonl"
    options = ("--evaluations", 40, "--repeats", 30, "--traces", traces)
    found = as_json(search(*options, "--format", "json", searcher="all"))
    assert [row["searcher"] for row in found["rows"]] == ["random", "evolution", "reinforce"]
    assert [(c["first"], c["second"]) for c in found["comparisons"]] == [
        ("random", "evolution"), ("random", "reinforce"), ("evolution", "reinforce"),
    ]  # fmt: skip
    kept = read_traces(traces)
    assert len(kept) == 90
    by_name = {
        row["searcher"]: np.array(
            [t.outcome.validation for t in kept if t.searcher == row["searcher"]]
        )
        for row in found["rows"]
    }
    for row in found["rows"]:
        assert row["validation_mean"] == pytest.approx(by_name[row["searcher"]].mean())
        assert row["validation_std"] == pytest.approx(by_name[row["searcher"]].std(ddof=1))
    one = found["comparisons"][0]
    a, b = by_name["random"], by_name["evolution"]
    assert one["p_value"] == pytest.approx(stats.mannwhitneyu(a, b).pvalue)
    interval = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert (one["low"], one["high"]) == pytest.approx((interval.low, interval.high))


def test_the_table_says_what_is_asked_for(search, tmp_path):
    figure = tmp_path / "search.png"
    status, out, err = search(
        "--repeats", 12, "--evaluations", 30, "--plot", figure, searcher="all"
    )
    assert status == 0
    words = " ".join(out.split())
    assert out.startswith("The best of 3 searchers: ")
    assert ("nas-bench-201 on cifar10: 12 repeats, seed 0, by table ") in words
    assert (
        "under short (by default), 12 epochs x 17 layers x 16 channels, 32 pixels, steered by "
        "validation accuracy allowance of each: at most 30 evaluations "
    ) in words
    assert "the optimum: validation" in words
    assert "Mann-Whitney" in words
    assert "finds better architectures than" in words or "do not separate" in words
    assert " 6.2% " in words  # 100 of 1,600 s
    assert "a share of full training (1,600 s, the mean over the table); what either" in words
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "darts is left out" in err


def test_csv_has_a_line_per_searcher(search):
    status, out, _ = search("--format", "csv", "--repeats", 3, searcher="all")
    assert status == 0
    lines = out.splitlines()
    assert lines[0].startswith("searcher,answer,")
    header = lines[0].split(",")
    assert {"parameters_population", "budget_epochs", "chance_architecture"} <= set(header)
    assert "{" not in out  # no objects of Python in a cell
    assert [line.partition(",")[0] for line in lines[1:]] == ["random", "evolution", "reinforce"]


def test_the_same_seed_gives_the_same_bytes_whatever_the_processes(search):
    options = ("--format", "json", "--repeats", 4, "--evaluations", 20)
    outputs = [
        search(*options, "--seed", seed, "--jobs", jobs, searcher="evolution")[1]
        for seed, jobs in ((3, 1), (3, 2), (4, 1))
    ]
    assert outputs[0] == outputs[1] != outputs[2]


def test_the_published_settings(search):
    options = ("--published", "--format", "json", "--repeats", 2, "--evaluations", 60)
    evolution = as_json(search(*options, searcher="evolution"))["parameters"]
    assert (evolution["population"], evolution["tournament"]) == (50, 10)


def test_failed_evaluations_are_said(search, whole_space, tmp_path):
    """Of the made-up accuracies those of cells whose first gene is 0, a fifth, are taken away."""
    short = whole_space.curves["short", Split.VALIDATION]
    missing = np.array([cell.genes[0] == 0 for cell in whole_space.architectures])
    holes = replace(short, counts=np.where(missing, -1, short.counts))
    curves = {**whole_space.curves, ("short", Split.VALIDATION): holes}
    write_table(replace(whole_space, curves=curves), tmp_path / "holes.h5")
    options = ("--evaluations", 50, "--repeats", 2, "--traces", tmp_path / "traces")
    status, out, _ = search(*options, "--missing", "failed", over=tmp_path / "holes.h5")
    assert status == 0
    held = (
        "the table holds 12,500 of 15,625 architectures under this budget: the others count as "
        "failed evaluations"
    )
    assert held in out.splitlines()
    failed = sum(
        step.architecture.genes[0] == 0
        for trace in read_traces(tmp_path / "traces")
        for step in trace.steps
    )
    assert 0 < failed < 40
    assert f"failed evaluations, over all repeats: random {failed} of 100" in out.splitlines()
    # By default they are not proposed.
    status, out, _ = search(*options, over=tmp_path / "holes.h5")
    assert (status, "failed evaluations" in out) == (0, False)
    proposed = {s.architecture.genes[0] for t in read_traces(tmp_path / "traces") for s in t.steps}
    assert proposed == {1, 2, 3, 4}


def test_a_budget_may_be_an_epoch_of_a_curve(search, whole_space, tmp_path):
    """As ``correlate`` prints it: LABEL@EPOCH, half of the epochs for half of the 100 s."""
    curve = whole_space.curves["short", Split.VALIDATION]
    both = replace(curve, counts=np.repeat(curve.counts, 2, axis=1), epochs=np.array([6, 12]))
    curves = {**whole_space.curves, ("short", Split.VALIDATION): both}
    write_table(replace(whole_space, curves=curves), tmp_path / "curves.h5")
    words = ("--budget", "short@6", "--repeats", 1, "--seconds", 1050, "--format", "json")
    status, out, err = search(*words, over=tmp_path / "curves.h5")
    assert (status, json.loads(out)["evaluations_mean"]) == (0, 21)
    assert "warning: evaluations stop after epoch 6 of 12" in err.splitlines()
    _, _, err = search("--budget", "short@7", over=tmp_path / "curves.h5")
    assert err == (
        "bpe-bench: error: unknown epoch '7' of setting 'short'; there are: 6, 12 (in --budget)\n"
    )


def test_an_allowance_of_one_evaluation_is_said(search, whole_space, tmp_path):
    dear = tuple(replace(s, seconds=100 * s.seconds) for s in whole_space.settings)
    write_table(replace(whole_space, settings=dear), tmp_path / "dear.h5")
    words = ("--repeats", 2, "--budget", "short")
    _, out, err = search(*words, over=tmp_path / "dear.h5")
    warning = (
        "warning: the default allowance of 12,000 s is used up by one evaluation under this "
        "budget; allow more with --seconds or --evaluations"
    )
    assert warning in err.splitlines()
    assert "allowance of each: at most 3.33 h of simulated time (by default)" in out.splitlines()
    assert " 1.0 " in out.splitlines()[5]
    assert warning not in search(*words)[2]


STRAY = [
    ("random", "--tournament 5", "--searcher evolution or all, found --searcher random"),
    ("reinforce", "--population 5", "--searcher evolution or all, found --searcher reinforce"),
    ("evolution", "--entropy 0.1", "--searcher reinforce or all, found --searcher evolution"),
    ("random", "--learning-rate 1", "--searcher reinforce or all, found --searcher random"),
    ("evolution", "--without-replacement", "--searcher random or all, found --searcher evolution"),
    ("random", "--published", "--searcher evolution, reinforce or all, found --searcher random"),
    ("random", "--score full", "--searcher evolution, reinforce or all, found --searcher random"),
    ("all", "--order 2", "--searcher darts, or all with --estimator train, found --searcher all"),
    (
        "random",
        "--supernet-budget BPE-1",
        "--searcher darts, or all with --estimator train, found --searcher random",
    ),
    ("random", "--data x", "--estimator train or --searcher darts, found --estimator table"),
    ("random", "--device cpu", "--estimator train or --searcher darts, found --estimator table"),
    ("random", "--store x", "--estimator train or --searcher darts, found --estimator table"),
    ("random", "--surrogate x", "--estimator surrogate, found --estimator table"),
    ("random", "--extrapolate", "--estimator surrogate, found --estimator table"),
    (
        "random",
        "--estimator train --dataset x",
        "--estimator table or surrogate, found --estimator train",
    ),
    ("random", "--estimator train --split test", "--estimator table, found --estimator train"),
    ("random", "--estimator train --missing never", "--estimator table, found --estimator train"),
    (
        "random",
        "--estimator surrogate --table-seeds mean",
        "--estimator table, found --estimator surrogate",
    ),
    (
        "random",
        "--estimator surrogate --report-dataset x",
        "--estimator table, or surrogate with --table, found --estimator surrogate",
    ),
]


@pytest.mark.parametrize(("searcher", "words", "where"), STRAY, ids=[s[1] for s in STRAY])
def test_an_option_without_use_is_refused(search, searcher, words, where):
    status, out, err = search(*words.split(), searcher=searcher, over=None)
    assert (status, out) == (2, "")
    option = [word for word in words.split() if word.startswith("--")][-1]
    if option == "--without-replacement":
        option = "--with-replacement/--without-replacement"
    assert err == (f"bpe-bench: error: {option} goes with {where} (see bpe-bench search --help)\n")


def test_all_searchers_are_checked_before_the_first_one_works(search, monkeypatch):
    from bpe_bench.search import plan

    monkeypatch.setattr(plan, "repeat_search", None)
    _, _, err = search("--evaluations", 5, "--population", 6, searcher="all")
    assert err.startswith("bpe-bench: error: a population of 6 cannot be filled with 5 evaluations")


def test_all_searchers_take_the_parameters_that_they_have(search):
    options = ("--tournament", 5, "--entropy", 0.5, "--evaluations", 20, "--repeats", 2)
    rows = as_json(search(*options, "--format", "json", searcher="all"))["rows"]
    random, evolution, reinforce = (row["parameters"] for row in rows)
    assert random == {"replace": True}
    assert (evolution["tournament"], evolution["population"]) == (5, 6)
    assert (reinforce["entropy"], reinforce["learning_rate"]) == (0.5, 0.2)


def test_searchers_of_which_one_found_nothing_are_in_one_table(search, whole_space, tmp_path):
    """Cells cost 100 s, those whose first gene is not 4 cost 1,000 s; the allowance is 150 s."""
    cheap = np.array([cell.genes[0] == 4 for cell in whole_space.architectures])
    seconds = {("short", "seconds"): np.where(cheap, 100.0, 1000.0)}
    write_table(replace(whole_space, measures=seconds), tmp_path / "dear.h5")
    found = {}
    for seed in range(20):
        words = ("--seconds", 150, "--repeats", 1, "--seed", seed)
        status, out, _ = search(*words, searcher="all", over=tmp_path / "dear.h5")
        assert status == 0
        counts = re.findall(r"^(?:random|evolution|reinforce) +(\d\.\d) ", out, re.MULTILINE)
        found[tuple(counts)] = out
    some = next(out for counts, out in found.items() if len(set(counts)) == 2)
    assert " of full cost" in some
    nothing = found["0.0", "0.0", "0.0"]
    assert nothing.startswith("random, evolution, reinforce found nothing in one search: ")
    assert "of full cost" not in nothing


def test_nothing_found_is_said(search):
    status, out, err = search("--repeats", 2, "--seconds", 50)
    assert status == 0
    assert "best found" not in out
    assert "2 of 2 searches found nothing" in err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--evaluations", "0"], "evaluations must be at least 1, found 0"),
        (["--evaluations", "-2"], "evaluations must be at least 1, found -2"),
        (["--seconds", "0"], "seconds must be above 0 and finite, found 0"),
        (["--seconds", "-1"], "seconds must be above 0 and finite, found -1"),
        (["--repeats", "0"], "repeats must be at least 1, found 0"),
        (["--jobs", "0"], "jobs must be at least 1, found 0"),
        (
            ["--budget", "BPE-1"],
            "the table was not trained under budget 'BPE-1' on cifar10; the nearest that it has: "
            "short (epochs=12, layers=17, channels=16, image_size=32), long (",
        ),
        (["--budget", "shrt"], "unknown budget 'shrt'; there are: BPE-1, BPE-2, short, long; or "),
        (["--dataset", "mnist"], "unknown data set 'mnist'; there are: cifar10"),
        (["--target", "93"], "--target wants a number above 0 and at most 1, found '93'"),
        (
            ["--traces", "no/where.jsonl"],
            "cannot write no/where.jsonl: No such file or directory; give another file with "
            "--traces",
        ),
        (["--plot", "x.gif"], "a figure's file must end in .png, .svg, .pdf, found 'x.gif'"),
        (
            ["--plot", "no/a.png"],
            "cannot write figure no/a.png: there is no folder no; make it fir",
        ),
        (["--estimator", "surrogate"], "--estimator surrogate needs --surrogate FILE; make one "),
    ],
)
def test_bad_input_is_one_line(search, arguments, text):
    status, out, err = search(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"bpe-bench: error: {text}")
    assert err.count("\n") == 1


def test_an_unknown_searcher(search):
    _, _, err = search(searcher="annealing")
    assert err == (
        "bpe-bench: error: unknown searcher 'annealing'; there are: random, evolution, reinforce, "
        "darts (in --searcher)\n"
    )


def test_a_population_larger_than_the_evaluations(search):
    _, _, err = search("--evaluations", 5, "--population", 6, searcher="evolution")
    assert err == (
        "bpe-bench: error: a population of 6 cannot be filled with 5 evaluations; choose a smaller "
        "population or more evaluations (in --population)\n"
    )


def test_a_table_of_a_part_of_its_space(bpe_bench):
    arguments = ("--table", "nas-bench-201-curves", "--repeats", 3, "--evaluations", 20)
    status, out, err = bpe_bench(
        "search", "--searcher", "evolution", "--space", "nas-bench-201", *arguments
    )
    assert (status, "best found by evolution" in out, err) == (0, True, "")
    assert (
        "the table holds 200 of 15,625 architectures under this budget: the others are never "
        "proposed, and regret and optimum are of these"
    ) in out.splitlines()


def test_test_accuracies_steer_only_if_asked(bpe_bench):
    """All accuracies of darts-bpe are on test images."""
    words = ("search", "--searcher", "all", "--space", "darts", "--table", "darts-bpe")
    words += ("--evaluations", 60, "--repeats", 4, "--format", "json")
    status, out, err = bpe_bench(*words)
    assert (status, out) == (2, "")
    assert err == (
        "bpe-bench: error: the table has no validation accuracies on cifar10 to steer a search by; "
        "there are: test; name one with --split, which the report then says, or take another "
        "table\n"
    )
    rows = as_json(bpe_bench(*words, "--split", "test", "--jobs", 2))["rows"]
    assert rows == as_json(bpe_bench(*words, "--split", "test", "--jobs", 1))["rows"]
    table = open_table("darts-bpe")
    best = table.accuracy("full", Split.TEST).max()
    for row in rows:
        assert (row["known_architectures"], row["space_size"]) == (100, get_space("darts").size)
        assert (row["split"], row["report_split"], row["missing"]) == ("test", "test", "never")
        assert row["validation_mean"] is None
        assert row["failed_evaluations"] == 0
        assert row["optimum"] == {"validation": None, "test": best}
        assert row["regret_mean"] == pytest.approx(best - row["test_mean"])
        assert row["target"] == pytest.approx(best - 0.005)


def test_full_training_may_be_on_other_images(bpe_bench):
    """darts-proxy: trained on a copy of CIFAR-10; full training is published, test only."""
    words = ("search", "--searcher", "random", "--space", "darts", "--table", "darts-proxy")
    words += ("--evaluations", 45, "--repeats", 3)
    status, out, err = bpe_bench(*words)
    assert (status, "final figures on cifar10" in out.splitlines()[1]) == (0, True)
    assert "validation %" not in out  # full training has none
    assert err == (
        "warning: searches made up to 45 evaluations of the 40 architectures that the table "
        "holds: some were evaluated, and paid for, again\n"
    )
    status, out, err = bpe_bench(*words, "--without-replacement")
    assert (status, err) == (0, "")
    found = as_json(bpe_bench(*words, "--without-replacement", "--format", "json"))
    # All 40 are seen, so the one with the best signal is found.
    table = open_table("darts-proxy")
    signal = table.accuracy("cifar10-jpeg-epochs-3-image_size-16", Split.VALIDATION)
    full = table.accuracy("full", Split.TEST)
    assert found["evaluations_mean"] == 40
    assert found["test_mean"] == pytest.approx(full[np.argmax(signal)])
    assert (found["split"], found["report_split"]) == ("validation", "test")


def test_darts_over_a_table_says_what_its_supernet_saw(search, tmp_path, monkeypatch):
    """Its images, device and budget; costs of different devices and images are not compared."""
    monkeypatch.chdir(tmp_path)
    words = ("--supernet-budget", TINY, "--repeats", 1)
    status, out, err = search(*words, searcher="darts")
    assert status == 0
    assert "trained here on the images digits (by default), device cpu" in out.splitlines()
    assert "supernet of darts: 1 epoch x 5 layers x 2 channels, 8 pixels" in out.splitlines()
    assert "full cost" not in out
    assert "the supernet was trained on the digits that come with scikit-learn" in err
    assert "is used up by one evaluation" not in err
    found = as_json(search(*words, "--format", "json", searcher="darts"))
    assert (found["choices"]["images"], found["choices"]["device"]) == ("digits", "cpu")
    assert found["choices"]["by_default"] == ["allowance", "budget", "images"]
    assert found["parameters"]["budget"]["epochs"] == 1
    cheaper = [found["speedup"][name] for name in ("full_training", "nasnet", "amoebanet")]
    assert cheaper == [None, None, None]


def test_a_store_in_a_missing_folder_is_refused_before_darts_trains(search, tmp_path):
    store = tmp_path / "no" / "x.sqlite"
    _, out, err = search("--store", store, searcher="darts")
    assert out == ""
    assert err.startswith(f"bpe-bench: error: cannot write the store {store}: ")
    assert not store.parent.exists()


def test_what_was_chosen_is_said(search):
    status, out, _ = search("--repeats", 3, "--seed", 4)
    assert status == 0
    assert "nas-bench-201 on cifar10: 3 repeats, seed 4, by table " in out
    assert "allowance of each: at most 3.33 h of simulated time (by default)" in out.splitlines()
    assert "parameters: random (replace yes)" in out.splitlines()
    _, out, _ = search("--evaluations", 20, "--repeats", 1, searcher="evolution")
    assert "parameters: evolution (population 6, tournament 3, score pruned)" in out.splitlines()
    found = as_json(search("--seconds", 500, "--budget", "short", "--format", "json"))
    assert found["choices"] == {
        "budget": "short", "evaluations": None, "seconds": 500.0, "repeats": 100, "seed": 0,
        "images": None, "device": None, "trainer": None, "by_default": ["repeats"],
    }  # fmt: skip


def test_darts_over_a_part_is_refused_before_it_trains(bpe_bench, monkeypatch):
    from bpe_bench.training import task

    monkeypatch.setattr(task, "train_supernet_alone", None)
    words = ("--space", "nas-bench-201", "--table", "nas-bench-201-curves", "--repeats", 1)
    status, out, err = bpe_bench("search", "--searcher", "darts", *words)
    assert (status, out) == (2, "")
    assert err == (
        "bpe-bench: error: darts derives any architecture of nas-bench-201, and the table holds "
        "only 200 of them; take another searcher, a table of the whole space, --estimator train, "
        "or --missing failed (in --searcher)\n"
    )


def test_all_edges_of_a_part_cannot_be_scored(bpe_bench):
    words = ("--space", "darts", "--table", "darts-proxy", "--score", "full")
    _, _, err = bpe_bench("search", "--searcher", "evolution", *words)
    assert err == (
        "bpe-bench: error: score 'full' asks for cells with all edges, and the table holds only "
        "40 cells as they are built; take score 'pruned' (in --score)\n"
    )


def test_a_search_that_trains(bpe_bench, tmp_path):
    store = tmp_path / "trainings.sqlite"
    words = (
        "search", "--searcher", "evolution", "--space", "nas-bench-201", "--estimator", "train",
        "--budget", TINY, "--evaluations", 3, "--repeats", 1, "--store", store, "--jobs", 1,
        "--format", "json",
    )  # fmt: skip
    found = as_json(bpe_bench(*words))
    assert (found["estimator"], found["dataset"], found["table"]) == ("training", "digits", "")
    assert found["evaluations_mean"] == 3
    assert found["optimum"] is None
    assert found["regret_mean"] is None
    assert found["speedup"]["nasnet"] is None  # not a search on CIFAR-10
    space = get_space("nas-bench-201")
    with Journal(store, read_only=True) as journal:
        entries = {space.format(entry.trial.architecture): entry for entry in journal}
    # Every architecture that was evaluated is in the journal, the best one with these figures.
    assert {entry.state for entry in entries.values()} == {"done"}
    last = entries[found["best"]].records[-1].results
    assert found["validation_mean"] == last["validation"].correct / last["validation"].size
    assert found["test_mean"] == last["test"].correct / last["test"].size
    # Again: nothing is left to train, and all is the same, the clock included.
    assert as_json(bpe_bench(*words)) == found
    with Journal(store, read_only=True) as journal:
        assert len(journal) == len(entries)


def test_help_names_defaults(bpe_bench):
    _, out, _ = bpe_bench("search", "--help")
    assert command.name == "search"
    assert "12000 over a table" in " ".join(out.split())


def test_a_table_says_what_its_space_is(as_json, fails, table):
    words = ("search", "--searcher", "random", "--repeats", "1", "--evaluations", "3")
    assert as_json(*words, "--table", table)["space"] == "nas-bench-201"
    assert fails(*words) == (
        "search needs --space or --table, found neither; for instance --space nas-bench-201 "
        "(see bpe-bench search --help)"
    )
