"""The shipped table darts-bpe: built again from the published files, and their traps."""

import math
import shutil

import pytest
from bpe_bench_tables.build.darts_bpe import BUDGET_FILE, TRUTH_FILE, build, main
from click.testing import CliRunner

from bpe_bench.errors import SourceFileError
from bpe_bench.tables.catalog import entries
from bpe_bench.tables.storage import content_hash, verify_table
from bpe_bench.tables.table import Split

ENTRY = entries()["darts-bpe"]


@pytest.fixture
def sources(published, tmp_path):
    """A copy of the two spreadsheets that a test may spoil."""
    for name in (TRUTH_FILE, BUDGET_FILE):
        shutil.copyfile(published / "darts-bpe" / name, tmp_path / name)
    return tmp_path


def test_building_again_gives_the_shipped_table(published, darts_bpe, tmp_path):
    output = tmp_path / "built.h5"
    result = CliRunner().invoke(main, [str(published / "darts-bpe"), "-o", str(output)])
    assert result.exit_code == 0, result.output
    digest = verify_table(output)
    assert digest == content_hash(darts_bpe) == ENTRY.content_sha256
    assert result.output == f"{output}: content SHA-256 {digest}\n"


def test_a_missing_spreadsheet(sources):
    (sources / BUDGET_FILE).unlink()
    with pytest.raises(SourceFileError) as caught:
        build(sources)
    url = next(s.url for s in ENTRY.sources if s.name == BUDGET_FILE)
    assert str(caught.value) == f"no {BUDGET_FILE} in {sources}; it is published at {url}"


def test_a_spreadsheet_with_another_checksum(sources):
    path = sources / TRUTH_FILE
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(SourceFileError) as caught:
        build(sources)
    source = next(s for s in ENTRY.sources if s.name == TRUTH_FILE)
    assert str(caught.value).startswith(
        f"{path} is not the published file: its SHA-256 should be {source.sha256}, found "
    )
    assert str(caught.value).endswith(f"; get it from {source.url}")


def test_the_command_refuses_in_one_line(tmp_path):
    result = CliRunner().invoke(main, [str(tmp_path)])
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: no {TRUTH_FILE} in ")
    assert result.output.count("\n") == 1


def test_the_file_is_small():
    assert ENTRY.path.stat().st_size < 200_000


def test_what_the_table_holds(darts_bpe):
    assert len(darts_bpe.architectures) == len(set(darts_bpe.architectures)) == 100
    assert len(darts_bpe.settings) == 38
    assert darts_bpe.references == ("full",)
    assert set(darts_bpe.curves) == {(s.label, Split.TEST) for s in darts_bpe.settings}
    assert any("test accuracy" in caveat for caveat in darts_bpe.caveats)


def test_every_figure_of_the_sheets(darts_bpe, published_budgets, published_truth):
    columns = {name: place for place, name in enumerate(published_budgets[9][:38]) if place}
    figures = {
        label: [row[place] for row in published_budgets[10:110]] for label, place in columns.items()
    }
    figures["full"] = [row[2] for row in published_truth]
    for label, percent in figures.items():
        counts = darts_bpe.curves_of(label, Split.TEST).counts[0, 0]
        assert [count / 100 for count in counts.tolist()] == percent


def test_every_cost_of_the_sheet(darts_bpe, published_budgets):
    hours = dict(zip(published_budgets[9][1:38], published_budgets[114][1:38], strict=True))
    found = {label: s / 3600 for label, s in darts_bpe.seconds().items() if label != "full"}
    assert found == pytest.approx(hours, abs=0.01 / 3600)
    assert math.isnan(darts_bpe.setting("full").seconds)


def test_test26_is_its_own_column_and_not_test1_as_labelled(darts_bpe):
    budget = darts_bpe.setting("test26").budget
    assert (budget.layers, budget.channels) == (8, 16)
    first, other = (darts_bpe.curves_of(n, Split.TEST).counts for n in ("test1", "test26"))
    assert (first != other).any()
    assert other[0, 0, :3].tolist() == [7262, 7213, 7244]


def test_full_training_has_one_run_though_the_sheet_has_two_columns(darts_bpe):
    assert darts_bpe.curves_of("full", Split.TEST).counts.shape == (1, 1, 100)


@pytest.mark.parametrize(
    ("label", "device", "hours"),
    [
        ("test5", "V100", 0.0852),
        ("test32", "RTX 2080 Ti", 0.5494),
        ("test14", "RTX 2080 Ti", 0.2757),
        ("test23", "V100", 9.1072),
        ("test33", "V100", 1.3802),
    ],
)
def test_costs_keep_their_device(darts_bpe, label, device, hours):
    setting = darts_bpe.setting(label)
    assert setting.device == device
    assert setting.seconds == pytest.approx(hours * 3600)


def test_what_the_names_alone_say(darts_bpe):
    settings = {s.label: s.budget for s in darts_bpe.settings}
    linear = {label for label, b in settings.items() if b.lr_schedule == "linear"}
    assert linear == {"linear_lr", "linear_lr2", "linear_lr3"}
    halved = {label: b.data_fraction for label, b in settings.items() if b.data_fraction != 1}
    assert halved == {"test1_halfdata": 0.5}
    # The half-data budget is test1 otherwise.
    assert settings["test1_halfdata"].replace(data_fraction=1.0) == settings["test1"]


def test_the_values_of_the_32_settings(darts_bpe):
    """Counted in the paper's table of values."""
    budgets = [darts_bpe.setting(f"test{i}").budget for i in range(1, 33)]

    def count(name, value):
        return sum(getattr(b, name) == value for b in budgets)

    assert [count("epochs", v) for v in (10, 50, 100, 300)] == [14, 6, 5, 3]
    assert [count("batch_size", v) for v in (96, 128, 256, 512, 1024)] == [2, 26, 2, 1, 1]
    assert [count("layers", v) for v in (6, 8, 20)] == [14, 2, 11]
    assert [count("precision", v) for v in ("fp16", "fp32")] == [14, 18]
    assert [count("channels", v) for v in (8, 12, 16, 36)] == [17, 2, 3, 6]
    assert [count("cutout", v) for v in (0, 16)] == [31, 1]
    assert [count("image_size", v) for v in (16, 32)] == [18, 14]
