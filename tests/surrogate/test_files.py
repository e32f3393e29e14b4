"""Surrogates in files: read back to the bit; every kind of damage is one line."""

import io
import json
import shutil
import zipfile

import numpy as np
import pytest

from bpe_bench import BPE_1
from bpe_bench.errors import SurrogateFileError
from bpe_bench.surrogate import Question, fit_surrogate, load_surrogate, save_surrogate


def same(one, other):
    for a, b in zip(vars(one).values(), vars(other).values(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def files(accurate, correlating, informed, tmp_path_factory):
    """A surrogate file of each kind."""
    folder = tmp_path_factory.mktemp("surrogates")
    for name, fitted in (
        ("accurate", accurate),
        ("correlating", correlating),
        ("informed", informed),
    ):
        save_surrogate(folder / name, fitted)
    return folder


@pytest.mark.parametrize("name", ["accurate", "correlating", "informed"])
def test_it_is_the_same_when_it_is_read_back(name, files, darts_bpe, request):
    fitted, read = request.getfixturevalue(name), load_surrogate(files / name)
    assert read.describe() == fitted.describe()
    assert repr(read.settings) == repr(fitted.settings)
    assert (read.ranges, read.notes) == (fitted.ranges, fitted.notes)
    for target, model in fitted.models.items():
        assert repr(read.models[target].settings) == repr(model.settings)
    if fitted.by_setting:
        same(read.correlation([BPE_1]), fitted.correlation([BPE_1]))
        same(read.budget_cost([BPE_1]), fitted.budget_cost([BPE_1]))
        assert read.error == fitted.error
        return
    given = fitted.given_from(darts_bpe, darts_bpe.architectures) if fitted.given else None
    answers = [f.accuracy(darts_bpe.architectures, BPE_1, given=given) for f in (fitted, read)]
    same(*answers)


def test_the_same_surrogate_gives_the_same_bytes(accurate, files, darts_bpe, tmp_path):
    save_surrogate(tmp_path / "again", accurate)
    assert (tmp_path / "again").read_bytes() == (files / "accurate").read_bytes()
    fitted = {}
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        question = Question(budgets=["test5"])
        made = fit_surrogate(darts_bpe, question, rng=np.random.default_rng(seed), folds=2)
        save_surrogate(tmp_path / name, made)
        fitted[name] = (tmp_path / name).read_bytes()
    assert fitted["one"] == fitted["same"] != fitted["other"]


def test_a_booster_in_the_file_is_xgboosts_own_json(files):
    with zipfile.ZipFile(files / "accurate") as archive:
        assert "learner" in json.loads(archive.read("accuracy/architecture/0/json"))
        header = json.loads(archive.read("header.json"))
        arrays = [n for n in archive.namelist() if n.endswith(".npy")]
        assert arrays
        for name in arrays:
            np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
    assert header["format"] == "bpe-bench-surrogate"
    assert {"python", "numpy", "xgboost", "scikit-learn", "bpe-bench"} == set(header["versions"])


def refused(path):
    with pytest.raises(SurrogateFileError) as caught:
        load_surrogate(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_missing_file(tmp_path):
    assert refused(tmp_path / "x").endswith(
        "x; make one with: bpe-bench surrogate fit TABLE -o FILE"
    )


def test_a_name_that_is_too_long():
    assert refused("x" * 300) == (
        f"cannot read surrogate {'x' * 300}: File name too long; give another file"
    )


@pytest.mark.parametrize("name", ["accurate", "correlating"])
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99, 1 - 1e-5])
def test_truncated_files(name, share, files, tmp_path):
    data = (files / name).read_bytes()
    (tmp_path / "cut").write_bytes(data[: int(share * len(data))])
    assert "cannot read" in refused(tmp_path / "cut")


def test_flipped_bytes_are_found_or_harmless(files, tmp_path, correlating):
    """Every part carries a checksum; bytes of the ZIP's own bookkeeping may not matter."""
    data = bytearray((files / "correlating").read_bytes())
    rng = np.random.default_rng(0)
    found = 0
    for place in rng.integers(len(data), size=25):
        spoilt = bytearray(data)
        spoilt[place] ^= 0x55
        (tmp_path / "flipped").write_bytes(spoilt)
        try:
            read = load_surrogate(tmp_path / "flipped")
        except SurrogateFileError:
            found += 1
        else:
            same(read.correlation([BPE_1]), correlating.correlation([BPE_1]))
    assert found > 20


def test_foreign_files(tmp_path, repository):
    (tmp_path / "text").write_text("accuracy,cost\n")
    assert "is truncated, damaged or of another kind" in refused(tmp_path / "text")
    assert "of another kind" in refused(repository / "tables" / "darts-bpe.h5")
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("a.txt", "a")
    assert "a ZIP file without header.json, so it is not a surrogate" in refused(tmp_path / "zip")


@pytest.fixture
def spoilt(files, tmp_path):
    """Return what changes the header, or drops, adds or replaces parts, and reads the file."""

    def spoil(name, change=None, **parts):
        source, target = files / name, tmp_path / "spoilt"
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
            for part in old.namelist():
                data = old.read(part)
                if part == "header.json" and change is not None:
                    header = json.loads(data)
                    change(header)
                    data = json.dumps(header).encode()
                data = parts.get(part, data)
                if data is not None:
                    new.writestr(part, data)
        return refused(target)

    return spoil


def test_a_file_that_does_not_name_the_settings_of_each_quantity(files, tmp_path, correlating):
    with (
        zipfile.ZipFile(files / "correlating") as old,
        zipfile.ZipFile(tmp_path / "early", "w") as new,
    ):
        for part in old.namelist():
            data = old.read(part)
            if part == "header.json":
                header = json.loads(data)
                for model in header["models"].values():
                    del model["settings"]
                data = json.dumps(header).encode()
            new.writestr(part, data)
    read = load_surrogate(tmp_path / "early")
    for target, model in correlating.models.items():
        assert read.models[target].ranges == model.ranges
    same(read.budget_cost([BPE_1]), correlating.budget_cost([BPE_1]))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda h: h.update(format="other"),
            "its format should be 'bpe-bench-surrogate', found 'o",
        ),
        (
            lambda h: h.update(format_version=2),
            "is of format version 2, and this bpe-bench reads 1",
        ),
        (lambda h: h.update(format_version="1"), "format version should be 1, found '1'"),
        (lambda h: h.update(space="nowhere"), "unknown search space 'nowhere'"),
        (lambda h: h.update(split="exam"), "exam"),
        (lambda h: h.update(dataset=3), "dataset should be text, found 3"),
        (lambda h: h.pop("table_sha256"), "table_sha256"),
        (lambda h: h.update(n_architectures=0), "n_architectures should be a whole number from 1"),
        (lambda h: h.update(settings=[]), "it has no settings;"),
        (lambda h: h.update(models={}), "it has no models;"),
        (lambda h: h["settings"][0]["budget"].update(epochs=0), "epochs must be a whole number"),
        (lambda h: h["settings"][0].update(seconds=-1), "seconds of setting"),
        (lambda h: h["models"].update(speed=h["models"]["correlation"]), "it predicts 'speed'"),
        (lambda h: h["models"]["cost"].update(model="oracle"), "unknown model 'oracle'"),
        (lambda h: h["models"]["cost"].update(hyper_parameters=["x"]), "unknown hyper-parameter"),
        (lambda h: h["models"]["cost"].update(columns=["x"]), "by columns that this bpe-bench"),
        (lambda h: h["models"]["cost"].update(trend=False), "should have a trend or should not"),
        (lambda h: h["models"]["cost"].update(members={}), "no members for cost by budget"),
        (lambda h: h["models"]["cost"]["members"].update(budget=10**9), "members should be a who"),
        (
            lambda h: h["models"]["cost"]["members"].update(budget=12),
            "should have a trend or should not",
        ),
        (lambda h: h["models"]["cost"]["members"].update(budget=2), "invalid residuals"),
        (lambda h: h["models"]["cost"].update(settings=["x"]), "predicts cost from settings"),
        (lambda h: h["models"]["cost"].update(settings=[]), "predicts cost from settings"),
        (lambda h: h["models"]["cost"].update(settings=3), "settings should be a list of texts"),
        (lambda h: h["models"]["cost"].update(devices="V100"), "devices should be a list of texts"),
        (lambda h: h.update(models=[]), "of another kind"),
    ],
)
def test_headers_that_cannot_be(change, text, spoilt):
    assert text in spoilt("correlating", change)


def npy(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


HUGE = npy(np.zeros(3)).replace(b"(3,)", b"(9999999999999,)").replace(b" " * 13, b"", 1)


@pytest.mark.parametrize(
    ("part", "data", "text"),
    [
        ("correlation/budget/fold.npy", None, "fold"),
        ("correlation/budget/0/left.npy", None, "a forest has unexpected arrays"),
        ("correlation/budget/fold.npy", npy(np.full(37, 10)), "invalid residuals"),
        ("correlation/budget/residuals.npy", npy(np.full(37, np.nan)), "invalid residuals"),
        ("correlation/budget/residuals.npy", npy(np.ones(36)), "invalid residuals"),
        ("correlation/budget/residuals.npy", npy(np.array([{}]), allow_pickle=True), "pickle"),
        ("correlation/budget/residuals.npy", b"\x93NUMPY", "damaged"),
        ("correlation/budget/residuals.npy", HUGE, "damaged"),
        ("correlation/budget/0/left.npy", npy(np.ones(3)), "a forest has unexpected arrays"),
        ("cost/budget/0/trend.npy", npy(np.ones(3)), "a trend has a wrong number"),
        ("header.json", b"{", "damaged"),
        ("header.json", b"[]", "its format should be"),
        ("header.json", b"\xff\xfe", "damaged"),
    ],
)
def test_parts_that_cannot_be(part, data, text, spoilt):
    assert text in spoilt("correlating", **{part: data})


def test_a_file_that_unpacks_to_too_much(files, tmp_path, monkeypatch):
    monkeypatch.setattr("bpe_bench.surrogate.files._MOST_BYTES", 1000)
    assert "bytes, more than 1000" in refused(files / "correlating")


def test_another_compression(files, tmp_path):
    with zipfile.ZipFile(tmp_path / "lzma", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("header.json", "{}")
    assert "it is compressed otherwise" in refused(tmp_path / "lzma")


def test_a_file_that_cannot_be_written_leaves_what_was_there(files, tmp_path, correlating):
    with pytest.raises(SurrogateFileError, match=r"^cannot write surrogate .*; give another file$"):
        save_surrogate(tmp_path / "nowhere" / "x", correlating)
    shutil.copy(files / "accurate", tmp_path / "kept")
    before = (tmp_path / "kept").read_bytes()
    broken = type("Broken", (), {"__getattr__": lambda self, name: 1 / 0})()
    with pytest.raises(ZeroDivisionError):
        save_surrogate(tmp_path / "kept", broken)
    assert (tmp_path / "kept").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]
