"""What newcomers type wrongly: one line each, which names the option and says what exists."""

import shlex

import pytest

CURVES = "search --searcher random --space nas-bench-201 --table nas-bench-201-curves"
TRAINED = "search --searcher random --space darts --estimator train --budget epochs=1"

WRONG = [
    # Names
    ("corelate darts-bpe", "corelate", "did you mean 'correlate'?"),
    ("correlate darts-bpe --topk 3", "--topk", "Did you mean"),
    ("correlate darts-bqe", "TABLE", "did you mean 'darts-bpe'?"),
    ("correlate folder", "TABLE", "or give the path of a table file"),
    ("correlate missing.h5", "TABLE", "no table file at missing.h5; give a path that exists"),
    ("correlate text.txt", "TABLE", "not HDF5"),
    ("correlate darts-bpe --compare BPE-1 BPE-7", "--compare", "did you mean 'BPE-2'?"),
    ("correlate darts-bpe --statistic pearson", "--statistic", "one of spearman, kendall"),
    ("correlate darts-bpe --split tset", "--split", "did you mean 'test'?"),
    ("correlate darts-bpe --split validation", "--split", "there are: test"),
    ("correlate darts-bpe --dataset cifar100", "--dataset", "there are: cifar10"),
    ("correlate darts-bpe --device A100", "--device", "there are: RTX 2080 Ti, V100"),
    ("correlate darts-bpe --where epoch=10", "--where", "did you mean 'epochs'?"),
    ("mip --space dart", "--space", "did you mean 'darts'?"),
    ("mip --space darts --importance lime", "--importance", "there are: forest, permutation"),
    ("mip --space darts --then-search annealing", "--then-search", "there are: random, evolution"),
    ("mip --space nas-bench-201 --table darts-bpe", "--table", "is of space 'darts', not of"),
    ("mip evaluate --methods mpi", "--methods", "did you mean 'mip'?"),
    (f"{CURVES} --budget test1", "--budget", "cifar10-valid-12, cifar10-valid-200"),
    ("search --searcher genetic --space darts --table darts-proxy", "--searcher", "reinforce, da"),
    ("search --searcher random --space nasbench201", "--space", "did you mean 'nas-bench-201'?"),
    ("surrogate evaluate darts-bpe --model linear", "--model", "one of forest, xgboost"),
    ("surrogate fit darts-bpe --given tset1 -o a", "--given", "did you mean 'test1'?"),
    ("tables info darts_bpe", "TABLE", "did you mean 'darts-bpe'?"),
    ("tables query darts-bpe 100", "CELL", "counts its 100 architectures of darts from 0"),
    ("tables query darts-bpe 3 --budget tset1", "--budget", "did you mean 'test1'?"),
    ("tables import csv text.txt -o a.h5", "KIND", "long-csv, long-parquet, journal"),
    ("tables merge darts-bpe nas-bench-201-curves -o a.h5", "TABLE", "cannot be merged"),
    ("tables fetch darts-bpf", "NAME", "did you mean 'darts-bpe'?"),
    ("regress darts-bpf", "TABLE", "did you mean 'darts-bpe'?"),
    ("train --budget BPE-7", "--budget", "or give name=value,..."),
    ("train --budget BPE-1,epoch=5", "--budget", "did you mean 'epochs'?"),
    ("train --protocol published", "--protocol", "one of split, paper"),
    ("train --device gpu", "--device", "this machine has: cpu"),
    ("train plan --hours 5 --table darts-bqe", "--table", "did you mean 'darts-bpe'?"),
    ("mip evalute", "evalute", "did you mean 'evaluate'?"),
    ("tables lst", "lst", "did you mean 'list'?); there are: export, fetch, import, info, list"),
    ("tables query 11 darts-bpe", "TABLE", "unknown table '11'; there are: darts-bpe"),
    ("tables query darts-bpe '|none~0|'", "CELL", "an architecture of darts, or a place from 0 to"),
    ("surrogate predict darts-bpe", "FILE", "no surrogate file at darts-bpe; make one with"),
    (f"{CURVES} --dataset imagenet", "--dataset", "there are: cifar10"),
    (f"{CURVES} --budget cifar10-valid-200@7", "--budget", "there are: 1-4, 6, 8, 10, 12"),
    (f"{CURVES} --surrogate darts-bpe", "--surrogate", "goes with --estimator surrogate"),
    (f"{TRAINED} --trainer none.py:train", "--trainer", "no file none.py for the trainer"),
    (f"{TRAINED} --trainer shlex:none", "--trainer", "there are: split, join, quote"),
    (f"{TRAINED} --trainer string:digits", "--trainer", "called as train(architecture, budget"),
    (f"{TRAINED} --device cuda:99", "--device", "this machine has: cpu"),
    (f"{TRAINED} --device mps", "--device", "this machine has: cpu"),
    ("surrogate evaluate darts-bpe --grouping both --grouping cells", "--grouping",
     "wants one of architecture, budget, both; found 'cells'"),
    ("train retry --state done", "--state", "wants one of failed, diverged"),
    # Numbers and units
    ("correlate darts-bpe --confidence 95", "--confidence", "between 0 and 1, for instance 0.95"),
    ("correlate darts-bpe --top-k 500", "--top-k", "the number of architectures, 100; found 500"),
    ("correlate darts-bpe --top-k 0", "--top-k", "k must be between 1 and"),
    ("correlate darts-bpe --epochs 7", "--epochs", "there are: 10, 15, 20, 25, 30, 50, 100"),
    ("correlate darts-bpe --epochs ten", "--epochs", "wants all, last or N[,N...]"),
    ("correlate darts-bpe --where epochs=ten", "--where", "must be a whole number, found 'ten'"),
    ("correlate darts-bpe --normalise-devices V100=-1", "--normalise-devices", "above 0, found -1"),
    ("correlate darts-bpe --seed -1", "--seed", "wants a whole number of at least 0, found '-1'"),
    ("mip --space darts --max-cost-hours 0", "--max-cost-hours", "must be above 0"),
    ("mip --space darts --max-cost-hours 2h", "--max-cost-hours", "wants a number, found '2h'"),
    ("mip --space darts --keep 0", "--keep", "at least 1, found 0"),
    ("mip evaluate --repeats 0", "--repeats", "at least 2, found 0"),
    (f"{CURVES} --repeats 0", "--repeats", "at least 1, found 0"),
    (f"{CURVES} --evaluations -5", "--evaluations", "at least 1, found -5"),
    (f"{CURVES} --seconds 0", "--seconds", "above 0 and finite, found 0"),
    (f"{CURVES} --target 93", "--target", "a number above 0 and at most 1, found '93'"),
    ("surrogate fit darts-bpe --architectures some -o a", "--architectures", "at least 1, or all"),
    ("surrogate fit darts-bpe --folds 1 -o a", "--folds", "number of at least 2, found '1'"),
    ("train --budget BPE-1,epochs=0", "--budget", "at least 1, found 0"),
    ("train --budget BPE-1,data_fraction=50", "--budget", "above 0 and at most 1, found 50"),
    ("train --architectures darts-bpe:200", "--architectures", "has architectures 0-99"),
    ("train --architectures sample:0", "--architectures", "at least 1 and at most 1000000, found"),
    ("train --seeds 3000000000", "--seeds", "whole numbers from 0 to 2147483647"),
    ("train --jobs 0", "--jobs", "a whole number of at least 1, found '0'"),
    ("train plan --hours 0", "--hours", "above 0 hours and finite, found 0"),
    ("correlate darts-bpe --confidence 95%", "--confidence", "wants a number, found '95%'"),
    ("correlate darts-bpe --where epochs=11", "--where", "the selection asks for epochs=11"),
    ("mip evaluate --hours -5", "--hours", "above 0 and finite, found -5"),
    (f"{CURVES} --confidence 95", "--confidence", "between 0 and 1, for instance 0.95"),
    ("search --searcher darts --space darts --order 3", "--order", "at least 1 and at most 2"),
    ("train --jobs two", "--jobs", "wants a whole number of at least 1, found 'two'"),
    ("train --seeds 4294967295", "--seeds", "whole numbers from 0 to 2147483647"),
    ("train --seeds -1", "--seeds", "found '-1'"),
    ("train --budget BPE-1,epochs=", "--budget", "expected name=value, found 'epochs='"),
    ("train --architectures sample:99999999999", "--architectures", "at most 1000000, found"),
    (f"{CURVES.replace('random', 'evolution')} --population 99999999999999999999", "--population",
     "at most 1000000"),
    # Files and folders
    ("correlate darts-bpe -o missing/a.txt", "-o", "give another file with -o"),
    ("correlate darts-bpe -o folder", "-o", "found the folder 'folder'; name a file in it"),
    ("correlate darts-bpe --plot a.gif", "--plot", "must end in .png, .svg, .pdf"),
    ("correlate darts-bpe --plot missing/a.png", "--plot", "make it first"),
    (f"{CURVES} --traces missing/a.jsonl", "--traces", "give another file with --traces"),
    ("search --searcher random --space darts --estimator surrogate --surrogate missing",
     "--surrogate", "make one with: bpe-bench surrogate fit"),
    ("surrogate predict text.txt", "FILE", "fit it again with: bpe-bench surrogate fit"),
    ("tables export darts-bpe -o missing/a.csv", "-o", "give another file with -o"),
    ("tables import long-csv missing.csv -o a.h5", "SOURCE", "no file at missing.csv; give a .csv"),
    ("tables import journal text.txt -o a.h5", "SOURCE", "it is not an SQLite file"),
    ("regress darts-bpe --junit missing/a.xml", "--junit", "give another file with --junit"),
    ("train --store missing/a.sqlite", "--store", "give another file with --store"),
    ("train --store folder", "--store", "found the folder 'folder'; name a file in it"),
    ("train --store text.txt", "--store", "it is not an SQLite file"),
    ("train --data missing", "--data", "understood are: digits"),
    ("train --data folder", "--data", "understood are: digits"),
    ("train --architectures missing.txt", "--architectures", "TABLE:0-19, sample:N or a file"),
    ("train --architectures text.txt", "--architectures", "line 1: malformed DARTS genotype"),
    ("train --architectures nas-bench-201-curves:0-3", "--architectures", "not of 'darts'"),
    ("train status --store missing.sqlite", "--store", "makes one"),
    ("correlate results.csv", "TABLE", "tables import long-csv results.csv -o FILE.h5"),
    ("mip --space broken.toml", "--space", "cannot read the space broken.toml: "),
    ("mip --space missing.toml", "--space", "No such file or directory"),
    ("surrogate fit darts-bpe -o missing/a", "-o", "give another file with -o"),
    ("surrogate predict folder", "FILE", "found the folder 'folder'"),
    ("tables import long-csv results.csv -o a.h5", "SOURCE", "missing columns: architecture"),
    ("tables import long-csv text.txt --space broken.toml -o a.h5", "--space", "cannot read the"),
    ("tables merge darts-bpe -o a.h5", "table", "at least 2 tables, found 1; name another"),
    ("tables fetch nas-bench-201 --mirror missing", "--mirror", "no mirror at missing; give a fo"),
    ("tables import long-csv results.csv -o results.csv", "-o", "which SOURCE names; give anothe"),
    ("correlate text.txt -o ./text.txt", "-o", "would overwrite text.txt, which TABLE names"),
    # Missing, twice, or without use
    ("mip", "--space", "or --table, found neither; for instance --space darts"),
    ("search --searcher random", "--space", "or --table, found neither"),
    ("surrogate fit darts-bpe", "-o", "Missing option"),
    ("surrogate predict", "FILE", "make one with: bpe-bench surrogate fit TABLE -o FILE"),
    ("tables info", "TABLE", "Missing argument"),
    ("train plan", "--hours", "Missing option"),
    ("correlate darts-bpe --format csv --format json", "--format", "it takes one value"),
    ("correlate darts-bpe --compare BPE-1 BPE-1", "--compare", "choose another budget"),
    ("train --budget BPE-1 --budget BPE-1", "--budget", "leave one out"),
    ("train --seeds 0,0", "--seeds", "name each once"),
    ("train --store a.sqlite status", "--store", "options of status come after its name"),
    ("train --architectures darts-bpe:0-3 --seed 5", "--seed", "goes with --architectures sample"),
    ("tables list --seed 3", "--seed", "leave it out"),
    ("mip --space darts --vary epochs=5,10", "--vary", "goes with --objective surrogate or train"),
    ("mip --space darts --evaluations 5", "--evaluations", "goes with --then-search"),
    (f"{CURVES} --tournament 3", "--tournament", "goes with --searcher evolution"),
    ("surrogate evaluate darts-bpe --target correlation --architectures 50", "--architectures",
     "--target accuracy"),
    ("correlate darts-bpe darts-proxy", "TABLE", "found 'darts-proxy' as well; leave it out"),
    ("correlate darts-bpe --compare BPE-1", "--compare", "requires 2 arguments"),
    ("correlate darts-bpe --where epochs=10 --where epochs=50", "--where", "leave one out"),
    (f"{CURVES} --with-replacement --without-replacement", "--with-replacement", "exclude each"),
    (f"{CURVES} --order 1", "--order", "goes with --searcher darts"),
    ("tables list darts-bpe", "darts-bpe", "takes no argument, found 'darts-bpe' as well"),
    ("tables verify", "TABLE", "Missing argument"),
]  # fmt: skip


def test_there_are_sixty_and_more():
    assert len({command for command, *_ in WRONG}) == len(WRONG) >= 60


@pytest.mark.parametrize(("command", "option", "said"), WRONG, ids=[c for c, *_ in WRONG])
def test_wrong_input_is_one_line_that_names_the_option(
    command, option, said, bpe_bench, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.txt").write_text("hi\n")
    (tmp_path / "results.csv").write_text("a,b\n1,2\n")
    (tmp_path / "broken.toml").write_text("name = [\n")
    before = {*tmp_path.iterdir()}
    status, out, err = bpe_bench(*shlex.split(command))
    assert (status, out) == (2, "")
    assert err.startswith("bpe-bench: error: ")
    assert err.count("\n") == 1
    assert option in err
    assert said in err
    assert {*tmp_path.iterdir()} == before
