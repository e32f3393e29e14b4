"""What public functions take: paths as text, tables by name, architectures as text or place."""

import ast
import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from bpe_bench import Replay, correlate, read_table, with_top_k, write_table
from bpe_bench.budget import BPE_1
from bpe_bench.correlation.planning import plan_trainings
from bpe_bench.errors import SelectionError, UnknownNameError
from bpe_bench.estimators import Prediction, ProxyEstimator, SurrogateEstimator, TableEstimator
from bpe_bench.execution.campaign import status_of
from bpe_bench.execution.journal import Journal
from bpe_bench.pruning import ObjectivePlan, make_objective
from bpe_bench.pruning.judging.pool import Pool
from bpe_bench.search import Darts, SearchPlan, read_traces, run_plan, write_traces
from bpe_bench.spaces import DeclaredSpace, get_space, given_architecture
from bpe_bench.surrogate import Question, evaluate_surrogates, fit_surrogate
from bpe_bench.tables.catalog import open_table, table_path
from bpe_bench.tables.curves import Split
from bpe_bench.tables.exporting import export_table
from bpe_bench.tables.importers import get_importer
from bpe_bench.tables.merging import merge
from bpe_bench.tables.storage import content_hash
from bpe_bench.training.trial import Trial

PACKAGE = Path(__file__).parents[1] / "bpe_bench"
MADE_HERE = {
    "content_hash", "description", "export_table", "lines_of", "rows_of", "write_table",
    "accuracy_of", "Replay", "Merged", "Figures",
}  # fmt: skip
"""What works on a table that was just made, and what holds one."""


def public():
    """Yield module, name, and node of every public function, method and field."""
    for file in sorted(PACKAGE.rglob("*.py")):
        module = file.relative_to(PACKAGE).with_suffix("")
        if any(part.startswith("_") and part != "__init__" for part in module.parts):
            continue
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                if any(ast.unparse(base) == "Protocol" for base in node.bases):
                    continue  # says what is given to others
                for member in node.body:
                    if isinstance(member, ast.FunctionDef | ast.AnnAssign):
                        yield module, node.name, member
            elif isinstance(node, ast.FunctionDef):
                yield module, node.name, node


def annotations():
    """Yield a readable place, the owner, and the annotation of every public parameter."""
    for module, owner, node in public():
        if isinstance(node, ast.AnnAssign):
            if not ast.unparse(node.target).startswith("_"):
                yield (
                    f"{module}:{owner}.{ast.unparse(node.target)}",
                    owner,
                    ast.unparse(node.annotation),
                )
        elif not node.name.startswith("_") or node.name == "__init__":
            arguments = node.args
            for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
                if each.annotation is not None:
                    place = f"{module}:{owner}.{node.name}({each.arg})"
                    yield place, owner, ast.unparse(each.annotation)


def test_a_path_may_be_text():
    found = [
        place
        for place, _, said in annotations()
        if re.search(r"\bPath\b", said) and not re.search(r"\bstr\b", said)
    ]
    assert found == []


def test_a_table_may_be_given_by_name():
    found = [
        place
        for place, owner, said in annotations()
        if re.search(r"\bTable\b", said) and owner not in MADE_HERE
    ]
    assert found == []


@pytest.mark.parametrize(
    "function",
    [
        lambda table: correlate(table).to_json()["rows"],
        lambda table: with_top_k(table, correlate("darts-bpe"), 3).row("BPE-1"),
        lambda table: plan_trainings(table, hours=9, rng=np.random.default_rng(0)).rows,
        lambda table: Replay.of(table).truth.tolist(),
        lambda table: Pool.of(table).rows,
        lambda table: TableEstimator(table, "BPE-1", split="test").expected_seconds(
            open_table("darts-bpe").architectures[0]
        ),
        lambda table: str(merge([table, table], ["a", "b"]).table.setting("BPE-1")),
    ],
)
def test_a_table_given_by_name_or_path_is_that_table(function):
    path = table_path("darts-bpe")
    by_object, *others = map(function, [open_table("darts-bpe"), "darts-bpe", path, str(path)])
    assert others == [by_object] * 3


def test_surrogates_are_fitted_and_judged_by_the_name_of_a_table():
    rng, question = np.random.default_rng, Question(target="correlation")
    fitted = fit_surrogate("darts-bpe", question, rng=rng(0), model="forest", folds=3)
    assert fitted.table == "darts-bpe"
    fitted.check_table("darts-bpe")
    report = evaluate_surrogates("darts-bpe", question, rng=rng(0), models=["forest"], folds=3)
    assert report.table == "darts-bpe"
    assert correlate("darts-bpe").table == "darts-bpe"


def test_tables_are_merged_by_how_they_were_given(golden, tmp_path):
    write_table(golden, str(tmp_path / "a.h5"))
    changed = dataclasses.replace(golden, caveats=("others",))
    with pytest.raises(SelectionError, match=r"found: table 1, table 1$"):
        merge([golden, changed], ["table 1", "table 1"])
    merged = merge([str(tmp_path / "a.h5"), changed]).table
    assert merged.caveats == (*golden.caveats, "others")
    assert merged.provenance.source.count("made up") == 1


def test_paths_are_text_or_path(golden, tmp_path):
    folder = str(tmp_path)
    write_table(golden, f"{folder}/t.h5")
    assert content_hash(read_table(f"{folder}/t.h5")) == content_hash(golden)
    export_table(golden, f"{folder}/t.csv")
    assert get_importer("long-csv").read(f"{folder}/t.csv").settings == golden.settings
    (tmp_path / "s.toml").write_text(
        'name = "s"\n[parameters.a]\nkind = "integer"\nlow = 1\nhigh = 2\n'
    )
    assert DeclaredSpace.read(f"{folder}/s.toml") == DeclaredSpace.read(tmp_path / "s.toml")
    write_traces(f"{folder}/traces", [])
    assert read_traces(f"{folder}/traces") == []
    trial = Trial(golden.architectures[0], BPE_1, "digits")
    with Journal(f"{folder}/store") as journal:
        journal.add([trial])
    assert status_of(f"{folder}/store").counts["planned"] == 1
    assert ProxyEstimator("darts", BPE_1, f"{folder}/store", "digits").optimum() is None
    searcher = Darts(BPE_1, images=tmp_path, checkpoints=f"{folder}/nets")
    assert searcher.parameters()["images"] == folder


def test_an_architecture_is_given_as_itself_its_text_or_its_index(golden):
    space, rng = get_space("nas-bench-201"), np.random.default_rng(0)
    cell = space.from_index(11)
    given = (cell, space.format(cell), 11)
    assert [given_architecture(a, space.name) for a in given] == [cell] * 3

    class Ones:
        space = "nas-bench-201"

        def predict(self, architectures):
            share = np.array([a.genes.count(3) / 6 for a in architectures])
            return Prediction(share, np.full(len(share), 60.0))

    surrogate = SurrogateEstimator(Ones())
    assert {surrogate.evaluate(a, rng) for a in given} == {surrogate.evaluate(cell, rng)}
    assert [surrogate.outcome(a).validation for a in given] == [cell.genes.count(3) / 6] * 3
    table = TableEstimator(golden, "cheap")
    first = golden.architectures[1]
    for a in (first, get_space("darts").format(first), 1):
        assert table.evaluate(a, rng).accuracy == 0.601
        assert table.expected_seconds(a) == 10.0
    with pytest.raises(SelectionError) as caught:
        table.evaluate(6, rng)
    assert str(caught.value) == "the table counts its 6 architectures from 0, found 6"


def test_a_surrogate_takes_architectures_as_text_or_index():
    fitted = fit_surrogate(
        "nas-bench-201-curves",
        Question(budgets=["cifar10-valid-200"]),
        rng=np.random.default_rng(0),
        folds=2,
    )
    space = get_space("nas-bench-201")
    cell, budget = space.from_index(11), fitted.settings[0].budget
    found = fitted.accuracy([cell, space.format(cell), 11], budget).value
    assert found[0] == found[1] == found[2]


def test_a_split_is_given_as_text(golden):
    assert golden.curves_of("cheap", "test") is golden.curves["cheap", Split.TEST]
    assert golden.steering_accuracy("cheap", "validation")[0] == 0.611
    with pytest.raises(UnknownNameError) as caught:
        golden.accuracy("cheap", "tset")
    assert str(caught.value) == (
        "unknown split 'tset' of setting 'cheap' (did you mean 'test'?); there are: validation, "
        "test"
    )


def test_a_search_and_pruning_are_planned_over_a_table_given_in_any_way():
    path, found, objectives = table_path("nas-bench-201-curves"), [], []
    for table in (open_table("nas-bench-201-curves"), "nas-bench-201-curves", path):
        plan = SearchPlan("nas-bench-201", table=table, evaluations=3, repeats=2, jobs=1)
        found.append(run_plan(plan).reports[0])
    assert len({report.validation_mean for report in found}) == 1
    assert [report.table for report in found] == ["", "nas-bench-201-curves", str(path)]
    for table in (open_table("darts-bpe"), "darts-bpe", table_path("darts-bpe")):
        plan = ObjectivePlan("darts", table=table)
        objectives.append(make_objective(plan, np.random.default_rng(0)).name)
    assert objectives == ["", "darts-bpe", str(table_path("darts-bpe"))]
