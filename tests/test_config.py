"""Pipelines: defaults, changes, and one clear line for each thing that can be wrong."""

import errno
import os
import pathlib
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvdedge import config, consistency, methods
from hvdedge.errors import InputError

PREPARE = '[prepare]\nreader = "csv"\nsource = "rows.csv"\n'
TRAIN = '[train]\nmodel = "cnn"\n'
MINIMAL = PREPARE + "[extract]\n" + TRAIN


@pytest.fixture
def pipeline(tmp_path):
    """Write a pipeline beside a source and read it."""
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")

    def read(text=MINIMAL, changes=()):
        path = tmp_path / "some.toml"
        path.write_text(text)
        return config.read_pipeline(path, changes)

    return read


def test_what_is_not_given_has_its_default(pipeline):
    found = pipeline()
    assert (found.case, found.seed, found.memory_bytes) == ("some", 0, 10**9)
    assert found.sections["train"].settings["epochs"] == 10
    assert found.sections["train"].choices["strategy"].name == "ring_allreduce"
    assert found.sections["train"].choices["strategy"].options == {
        **{"accumulate": 1, "overlap": False, "exchange": "float32", "density": 0.01, "slow_share": 0.2},
        **{"balance": "auto"},
        **{"scaling": "linear", "warmup_epochs": 5.0},
    }
    assert [one.name for one in found.sections["profile"].methods] == ["statistics"]


def test_what_extract_learns_decides_what_clean_makes(pipeline):
    text = '[prepare]\nreader = "csv"\nsource = "rows.csv"\n'
    text += '[extract]\nextractor = "table"\nlabel = "b"\nsplit = "group"\nby = "a"\n'
    assert pipeline(text).learned == {"b": "extract.label", "a": "extract.by"}
    assert pipeline(text).options("clean")["learned"] == {"b": "extract.label", "a": "extract.by"}
    assert pipeline(PREPARE + '[clean.labels]\nlabel = "b"\n').learned == {"b": "clean.labels.label"}


def test_methods_run_in_the_order_of_their_sections(pipeline):
    text = MINIMAL + "[clean.missing]\n[clean.duplicates]\n[clean.errors]\n"
    assert [one.name for one in pipeline(text).sections["clean"].methods] == ["missing", "duplicates", "errors"]


def test_the_pipelines_seed_is_that_of_every_method_with_one(pipeline):
    found = pipeline("seed = 5\n" + MINIMAL)
    assert found.sections["train"].choices["model"].options["seed"] == 5
    assert pipeline("seed = 5\n" + MINIMAL, ["train.seed=6"]).sections["train"].choices["model"].options["seed"] == 6


def test_changes_are_read_as_toml_and_bare_words_as_text(pipeline):
    found = pipeline(MINIMAL, ["train.epochs=3", "train.optimizer=sgd", 'case="x"', "clean.missing.method=median"])
    assert found.case == "x"
    assert found.sections["train"].settings["epochs"] == 3
    assert found.sections["train"].settings["optimizer"] == "sgd"
    assert found.sections["clean"].methods[0].options["method"] == "median"


def test_what_is_written_reads_back_as_the_same_pipeline(pipeline, tmp_path):
    found = pipeline("seed = 3\nmemory = '512MB'\n" + MINIMAL + "[clean.missing]\n[compress.prune]\nsparsity = 0.25\n")
    path = tmp_path / "written.toml"
    path.write_text(config.to_toml(found.as_written()))
    again = config.read_pipeline(path)
    assert (again.case, again.seed, again.memory_bytes, again.sections["train"]) == (
        found.case,
        found.seed,
        found.memory_bytes,
        found.sections["train"],
    )
    assert again.sections["clean"] == found.sections["clean"]
    assert again.sections["compress"] == found.sections["compress"]
    assert again.sources == found.sources


def test_a_source_is_found_beside_the_toml_then_in_the_data_folder(pipeline, tmp_path, monkeypatch):
    data = tmp_path / "elsewhere"
    data.mkdir()
    (data / "far.csv").write_text("a\n1\n")
    monkeypatch.setenv("HVDEDGE_DATA", str(data))
    assert pipeline().sources == ((tmp_path / "rows.csv").resolve(),)
    assert pipeline(MINIMAL.replace("rows.csv", "far.csv")).sources == ((data / "far.csv").resolve(),)
    (tmp_path / "b.csv").write_text("a\n1\n")
    assert [path.name for path in pipeline(MINIMAL.replace("rows.csv", "*.csv")).sources] == ["b.csv", "rows.csv"]


def test_a_folder_that_may_not_be_read_is_not_called_empty(pipeline, tmp_path, monkeypatch):
    text = MINIMAL.replace("rows.csv", "folder")
    for place in ("folder/a.csv", "folder/inner/b.csv"):
        (tmp_path / place).parent.mkdir()
        (tmp_path / place).write_text("a\n1\n")
    assert [path.name for path in pipeline(text).sources] == ["a.csv", "b.csv"]
    scandir = os.scandir

    def refuse(place):  # as the system does, but root reads everything
        if str(place) == str(tmp_path / "folder" / "inner"):
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refuse)
    line = r"prepare.source: received 'folder', of which .*folder/inner cannot be read \(Permission denied\), allowed"
    with pytest.raises(InputError, match=line):
        pipeline(text)


def test_files_that_may_not_be_looked_for_are_one_line(pipeline, monkeypatch):
    stat = os.stat

    def refuse(place, **options):  # as the system does, but root sees everything
        if "locked" in str(place):
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return stat(place, **options)

    monkeypatch.setattr(os, "stat", refuse)
    line = r"prepare.source: received 'locked/\*.csv', of which .*locked/\*.csv cannot be read \(Permission denied\), "
    with pytest.raises(InputError, match=line + "allowed: files and folders that you may read; change their rights"):
        pipeline(MINIMAL.replace("rows.csv", "locked/*.csv"))


def test_a_folder_is_read_with_all_below_it_but_for_the_pipeline_and_never_with_the_results(tmp_path):
    (tmp_path / "raw" / "inner").mkdir(parents=True)
    (tmp_path / "raw" / "inner" / "b.csv").write_text("a,b\n1,2\n")
    (tmp_path / "raw" / "a.csv").write_text("a,b\n1,2\n")
    path = tmp_path / "raw" / "some.toml"
    path.write_text(MINIMAL.replace("rows.csv", "."))
    for outside in (None, tmp_path, tmp_path / "results", tmp_path / "raw_results"):
        found = config.read_pipeline(path, results=outside).sources
        assert [place.name for place in found] == ["a.csv", "b.csv"]
    for inside in (
        tmp_path / "raw",
        tmp_path / "raw" / "results",
        tmp_path / "results" / ".." / "raw" / "runs" / "case",
    ):
        with pytest.raises(InputError, match=r"prepare.source: received '.', a folder that .* allowed: .* --results"):
            config.read_pipeline(path, results=inside)
        found = config.read_pipeline(path, ["prepare.source=*.csv"], results=inside).sources
        assert [place.name for place in found] == ["a.csv"]


def test_a_name_that_is_no_utf8_is_one_line(pipeline, tmp_path):
    (tmp_path / "folder").mkdir()
    open(os.fsencode(tmp_path / "folder") + b"/a\xff.csv", "w").close()
    line = r"prepare.source: received 'folder', with a name that is no UTF-8, b'.*/a\\xff.csv', allowed: names in"
    with pytest.raises(InputError, match=line):
        pipeline(MINIMAL.replace("rows.csv", "folder"))


def test_a_missing_source_says_where_it_can_be_had(pipeline):
    text = MINIMAL.replace('source = "rows.csv"', 'source = "none.csv"\norigin = "the archive"\nsha256 = "abc"')
    with pytest.raises(
        InputError, match=r"prepare.source: received 'none.csv', found neither in .* the archive; SHA-256 abc"
    ):
        pipeline(text)


def test_a_list_of_paths_holds_what_patterns_match_and_what_is_in_the_run_later(pipeline, tmp_path):
    for name in ("b.csv", "a.csv"):
        (tmp_path / name).write_text("x\n1\n")
    (tmp_path / "shop").mkdir()
    text = MINIMAL + '[profile.inclusion_dependencies]\ntables = ["[ab].csv", "shop", "{run}/raw/c.csv"]\n'
    options = pipeline(text).sections["profile"].methods[-1].options
    assert options["tables"] == (*(str(tmp_path / name) for name in ("a.csv", "b.csv", "shop")), "{run}/raw/c.csv")
    assert config.in_run(options, pathlib.Path("/results/x"))["tables"][-1] == "/results/x/raw/c.csv"
    with pytest.raises(InputError, match=r"inclusion_dependencies.tables: received 'none.csv', found neither in"):
        pipeline(MINIMAL + '[profile.inclusion_dependencies]\ntables = ["none.csv"]\n')


def test_a_path_in_the_run_is_resolved_once_the_run_is_known(pipeline):
    options = (
        pipeline(MINIMAL + '[clean.missing]\ntruth = "{run}/raw/cells.csv"\n').sections["clean"].methods[0].options
    )
    assert options["truth"] == "{run}/raw/cells.csv"
    assert config.in_run(options, pathlib.Path("/results/x"))["truth"] == "/results/x/raw/cells.csv"


WRONG = [
    ("trian.epochs=3", "trian", "did you mean 'train'"),
    ("train.epoch=3", "train.epoch", "did you mean 'epochs'"),
    ("train.epochs=many", "train.epochs", "'many'"),
    ("train.epochs=-1", "train.epochs", "allowed: a whole number from 1;"),
    ("train.epochs=0", "train.epochs", "from 1"),
    ("train.batch_size=0", "train.batch_size", "from 1"),
    ("train.learning_rate=0", "train.learning_rate", "a number above 0"),
    ("train.learning_rate=inf", "train.learning_rate", "a number above 0;"),
    ("train.local_steps=4", "train.local_steps", "an option of another method, allowed with strategy = 'local_sgd'"),
    ("train.warmup_epochs=-1", "train.warmup_epochs", "from 0"),
    ("train.scaling=cubic", "train.scaling", "allowed: linear, none, sqrt; name one of these"),
    ("train.optimizer=adm", "train.optimizer", "did you mean 'adam'"),
    ("train.precision=float8", "train.precision", "allowed: auto, bfloat16, float16, float32"),
    ("train.divergence=off", "train.divergence", "allowed: restore, stop;"),
    ("train.plateau=-1", "train.plateau", "a whole number from 0"),
    ("extract.validation=0.9", "extract", "together below 1"),
    ("extract.split=groups", "extract.split", "did you mean 'group'"),
    ("extract.split=time", "extract.by", "with split = 'time', allowed: a column for group, time and given"),
    ('extract.borders=["a", "b"]', "extract.borders", "received ['a', 'b'] with split = 'stratified'"),
    ("extract.split=files", "extract.test_files", "received [] with split = 'files', allowed: names of files"),
    ('extract.test_files="b.csv"', "extract.test_files", "received ['b.csv'] with split = 'stratified'"),
    ('train.frozen="conv*"', "train.frozen", "received ['conv*'] without initial_weights"),
    ('prepare.sha256=["a", "b"]', "prepare.sha256", "received 2 checksums for 1 files"),
    ("extract.by=day", "extract.by", "received 'day' with split = 'stratified'"),
    ("compress.share_weights.dense_bits=0", "compress.share_weights.dense_bits", "a whole number from 1 to 8"),
    ("compress.prune.sparsity=1", "compress.prune.sparsity", "a number from 0 below 1"),
    ("compress.fixed_point.bits=4", "compress.fixed_point.bits", "allowed: 16, 8"),
    ("train.strategy=ring_alreduce", "train.strategy", "did you mean 'ring_allreduce'"),
    ("train.model=cn", "train.model", "cnn"),
    ("train.model=3", "train.model", "allowed: a text in quotes"),
    ("train=3", "train", "section"),
    ("clean.mising.method=mean", "clean.mising", "did you mean 'missing'"),
    ("clean.labels.folds=1", "clean.labels.folds", "received 1, allowed: a whole number from 2;"),
    ("clean.missing=3", "clean.missing", "section"),
    ("clean.missing.methods=mean", "clean.missing.methods", "did you mean 'method'"),
    (
        'clean.privacy={drop = ["a"], mask = ["b", "a"]}',
        "clean.privacy.mask",
        "'a', which is in 'drop', too, allowed: one",
    ),
    ('clean.privacy={drop = ["a"], quasi = ["a"], k = 2}', "clean.privacy.quasi", "'a', which is dropped"),
    ('clean.privacy={quasi = ["a"]}', "clean.privacy.k", "received 0 with quasi = ['a'], allowed: k of at least 1"),
    ("clean.privacy.k=3", "clean.privacy.k", "received 3 with quasi = [], allowed: k of at least 1 with columns"),
    ("clean.privacy.suppress=true", "clean.privacy.suppress", "true without k"),
    ('clean.errors.dependencies=["zip city"]', "clean.errors.dependencies", "'zip city', allowed: columns -> columns,"),
    ('clean.errors.dependencies=["a -> b ->"]', "clean.errors.dependencies", "such as ZipCode -> City; write it so"),
    ("compress.prune.sparsity=1", "compress.prune.sparsity", "below 1"),
    ("extract.test=1.5", "extract.test", "a number above 0 below 1"),
    ("memory=lots", "memory", "512MB"),
    ("memory=1kB", "memory", "64MB"),
    ("prepare.header=yes", "prepare.header", 'allowed: "auto", true, false;'),
    ("clean.missing.keep=3", "clean.missing.keep", "a list in brackets, each a column's name in"),
    ("seed=-1", "seed", "from 0"),
    ("case=../x", "case", "letters"),
    ("prepare.reader=", "prepare.reader", "allowed"),
    ("train", "--set", "allowed: KEY=VALUE such as train.epochs=3; write it so"),
    ("=3", "--set", "KEY=VALUE"),
    ("case.x=3", "--set", "not a section; set case itself"),
]


def test_numbers_that_an_option_allows_are_named(pipeline):
    text = MINIMAL.replace('"csv"', '"image_folder"')
    assert pipeline(text, ["prepare.channels=1"]).sections["prepare"].choices["reader"].options["channels"] == 1
    with pytest.raises(InputError, match="prepare.channels: received 2, allowed: 1, 3; name one of these"):
        pipeline(text, ["prepare.channels=2"])


@pytest.mark.parametrize(("change", "where", "says"), WRONG, ids=[change for change, _, _ in WRONG])
def test_what_is_wrong_is_named_in_one_line(pipeline, change, where, says):
    with pytest.raises(InputError) as error:
        pipeline('case = "some"\n' + MINIMAL, [change])
    assert where in str(error.value)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def compressed(*steps, train="", extract=""):
    """A pipeline whose model goes through these steps."""
    sections = "".join(f"[compress.{step}]\n" for step in steps)
    return MINIMAL.replace("[extract]\n", f"[extract]\n{extract}") + train + sections


CHAINS = [
    ("distill", "prune_units", "prune", "share_weights", "fixed_point", "huffman"),
    ("prune", "quantize_aware", "huffman"),
    ("half_precision",),
    ("prune", "half_precision", "huffman"),
]
UNDOING = [
    ("share_weights", "prune"),
    ("prune", "fixed_point", "prune_units"),
    ("half_precision", "huffman", "prune"),
    ("prune", "distill"),
    ("fixed_point", "quantize_aware"),
    ("huffman", "fixed_point"),
    ("half_precision", "share_weights"),
]


@pytest.mark.parametrize("steps", CHAINS)
def test_steps_that_leave_each_others_work_are_taken(pipeline, steps):
    found = pipeline(compressed(*steps)).sections["compress"].methods
    assert tuple(step.name for step in found) == steps
    assert all(step.method.order for step in found)


@pytest.mark.parametrize("steps", UNDOING)
def test_a_step_that_undoes_an_earlier_one_is_refused(pipeline, steps):
    line = f"compress.{steps[-1]}: received a step behind compress.[a-z_]+, whose work it undoes, allowed: "
    with pytest.raises(InputError, match=line):
        pipeline(compressed(*steps))


def test_a_step_that_cannot_work_for_the_task_is_refused(pipeline):
    text = compressed("prune", "distill", extract='extractor = "image"\nclusters = true\n').replace(
        "cnn", "autoencoder"
    )
    with pytest.raises(InputError, match="compress.distill: received a step for extract.clusters, allowed: for class"):
        pipeline(text)


PRIVATE = [
    ('strategy = "federated"\nclip = 1.0\nnoise = 1.0\n', "train.noise = 1.0"),
    ('strategy = "federated"\nsecure = true\n', "train.secure = true"),
    ('strategy = "ring_tmp"\nprivate = true\n', "train.private = true"),
    ('strategy = "federated"\npartition = "client"\n', 'train.partition = "client"'),
]


@pytest.mark.parametrize(("train", "told"), PRIVATE)
def test_no_step_looks_at_rows_that_training_keeps_private(pipeline, train, told):
    extract = 'client = "who"\n'
    for steps, allowed in (
        (("share_weights",), "epochs = 0, or none; set it"),
        (("distill",), "none; take it out"),
        (("fixed_point",), "none; take it out"),
        (("prune]\nepochs = 0\n[compress.quantize_aware",), "none; take it out"),
    ):
        with pytest.raises(InputError, match=f"looks at the rows themselves with {told}, which .* {allowed}"):
            pipeline(compressed(*steps, train=train, extract=extract))
    for steps in (
        ("half_precision", "huffman"),
        ("prune]\nepochs = 0\n[compress.share_weights]\nepochs = 0\n[compress.huffman",),
    ):
        pipeline(compressed(*steps, train=train, extract=extract))
    pipeline(compressed("prune", train='strategy = "federated"\n', extract=extract))


def test_columns_are_hashed_with_a_key_only(pipeline, monkeypatch):
    monkeypatch.delenv("HVDEDGE_PRIVACY_KEY", raising=False)
    monkeypatch.setenv("HVDEDGE_OTHER", "0123456789abcdef")
    for section in ("", "[clean.privacy]\n", '[clean.privacy]\nhash = "a"\nkey_variable = "HVDEDGE_OTHER"\n'):
        found = pipeline(MINIMAL + section)
        consistency.check_key(found.path, found.sections)
    found = pipeline(MINIMAL + '[clean.privacy]\nhash = "a"\n')
    with pytest.raises(
        InputError, match="some.toml: clean.privacy.hash: received no key, .*allowed: at least 16 bytes"
    ):
        consistency.check_key(found.path, found.sections)
    (found.path.parent / "key.txt").write_text("0123456789abcdef")
    found = pipeline(MINIMAL + '[clean.privacy]\nhash = "a"\nkey = "key.txt"\n')
    consistency.check_key(found.path, found.sections)


@pytest.mark.parametrize("text", ["case = \n", "[train\n", 'case = "a"\ncase = "b"\n'])
def test_broken_toml_is_one_line_that_names_the_file(pipeline, text):
    with pytest.raises(InputError, match=r"some.toml: received broken TOML \(.*line"):
        pipeline(text)


def test_a_file_that_is_no_text_is_not_called_broken_toml(tmp_path):
    (tmp_path / "data.bin").write_bytes(b"\xff\xfe\x00\x9c")
    with pytest.raises(InputError, match="data.bin: received a file that is no text in UTF-8, allowed: TOML; give the"):
        config.read_pipeline(tmp_path / "data.bin")


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(InputError, match="none.toml: received no file"):
        config.read_pipeline(tmp_path / "none.toml")


def test_a_section_without_a_method_names_those_that_there_are(pipeline):
    with pytest.raises(InputError, match="train.model: received nothing, allowed: .*cnn"):
        pipeline('[prepare]\nreader = "csv"\nsource = "rows.csv"\n[train]\n')


def test_without_a_section_on_learning_a_pipeline_is_about_tables(pipeline, tmp_path):
    found = pipeline('[prepare]\nreader = "csv"\nsource = "rows.csv"\n[clean.missing]\n')
    assert found.stages == ("prepare", "clean", "profile", "report")
    (tmp_path / "written.toml").write_text(config.to_toml(found.as_written()))
    assert config.read_pipeline(tmp_path / "written.toml").stages == found.stages
    assert pipeline(MINIMAL + "[compress]\n").stages == config.STAGES
    with pytest.raises(InputError, match="train.model: received nothing"):
        config.read_pipeline(tmp_path / "written.toml", last="train")


def test_without_a_section_on_training_a_pipeline_ends_with_its_features(pipeline, tmp_path):
    found = pipeline('[prepare]\nreader = "csv"\nsource = "rows.csv"\n[extract]\nextractor = "table"\n')
    assert found.stages == ("prepare", "clean", "profile", "extract", "report")
    assert found.sections["extract"].choices["extractor"].name == "table"
    with pytest.raises(InputError, match="train.model: received nothing"):
        config.read_pipeline(tmp_path / "some.toml", last="evaluate")


@pytest.mark.parametrize(
    ("extract", "model", "told"),
    [
        ('extractor = "table"', "cnn", "'cnn', which takes images, for the vectors of extractor = 'table'.*: dense"),
        ('extractor = "text"', "dense", "for the tokens of extractor = 'text', allowed: embedding, rnn; change one"),
        ("[extract.pca]", "cnn", "for the vectors of extract.pca, allowed: dense; change one"),
        ('extractor = "graph"', "dense", r"for the nodes of .*, allowed: gcn; change one"),
    ],
)
def test_a_model_that_cannot_take_the_features_is_told_before_anything_runs(pipeline, tmp_path, extract, model, told):
    with pytest.raises(InputError, match=f"some.toml: train.model: received .*{told}"):
        pipeline(PREPARE + TRAIN.replace("cnn", model) + f"[extract]\n{extract}\n")
    assert config.read_pipeline(tmp_path / "some.toml", last="extract").sections["train"].choices["model"].name == model


@pytest.mark.parametrize(
    ("model", "able"), [("cnn", "image"), ("dense", "image, table, windows"), ("embedding", "text")]
)
def test_training_on_rows_of_ones_own_without_extract_is_told_before_anything_runs(pipeline, tmp_path, model, able):
    text = PREPARE + TRAIN.replace("cnn", model)
    with pytest.raises(InputError, match=rf"extract: received no section, .*; add \[extract\] .* \({able}\) and its"):
        pipeline(text)
    assert config.read_pipeline(tmp_path / "some.toml", last="profile").sections["train"].choices["model"].name == model
    assert pipeline('[prepare]\nreader = "digits"\n' + TRAIN).sections["extract"].choices["extractor"].name == "image"


def test_compress_runs_where_it_has_a_section_and_evaluate_wherever_a_model_is_trained(pipeline, tmp_path):
    found = pipeline()
    assert found.stages == ("prepare", "clean", "profile", "extract", "train", "evaluate", "report")
    (tmp_path / "written.toml").write_text(config.to_toml(found.as_written()))
    assert config.read_pipeline(tmp_path / "written.toml").stages == found.stages
    assert pipeline(MINIMAL, ["compress.prune.sparsity=0.5"]).stages == config.STAGES
    assert config.read_pipeline(tmp_path / "some.toml", last="compress").stages == config.STAGES  # asked for by --to
    without_model = MINIMAL.replace('model = "cnn"\n', "")
    (tmp_path / "some.toml").write_text(without_model)
    assert "train" in config.read_pipeline(tmp_path / "some.toml", last="extract").stages
    with pytest.raises(InputError, match="train.model: received nothing"):
        pipeline(without_model)


@pytest.mark.parametrize("tables", ['"rows.csv"', '["more.csv", "rows.csv"]', '"."'])
def test_a_further_table_that_prepare_reads_is_refused(pipeline, tmp_path, tables):
    (tmp_path / "more.csv").write_text("c\n1\n")
    text = MINIMAL + "[profile.inclusion_dependencies]\ntables = "
    told = (
        "some.toml: profile.inclusion_dependencies.tables: received .*, which is or holds 'rows.csv' that prepare reads"
    )
    with pytest.raises(InputError, match=told):
        pipeline(text + tables)
    assert len(pipeline(text + '"more.csv"').sections["profile"].methods[-1].options["tables"]) == 1


def test_every_extractor_and_model_says_what_its_examples_are():
    for kind in ("features", "models"):
        assert all(methods.find(kind, name, "").examples for name in methods.names(kind))


def test_a_list_of_one_may_be_written_without_brackets(pipeline):
    text = MINIMAL + '[clean.missing]\nkeep = "email"\n'
    assert pipeline(text).sections["clean"].methods[0].options["keep"] == ("email",)


@pytest.mark.parametrize(
    ("text", "size"),
    [("512MB", 512 * 10**6), ("1 GiB", 2**30), (10**8, 10**8), ("0.5GB", 5 * 10**8), ("2g", 2 * 10**9)],
)
def test_sizes_are_read_as_people_write_them(text, size):
    assert config.size_bytes(pathlib.Path("x"), "memory", text) == size


_values = st.one_of(
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f")),
)
_keys = st.text(min_size=1).filter(lambda key: "\x7f" not in key)


@given(
    st.recursive(
        st.dictionaries(_keys, _values | st.lists(_values)),
        lambda tree: st.dictionaries(_keys, _values | tree),
        max_leaves=5,
    )
)
def test_any_tree_is_written_as_toml_that_reads_back(tree):
    assert tomllib.loads(config.to_toml(tree)) == tree


@pytest.mark.parametrize("kind", methods.FUNCTIONS)
def test_every_method_file_can_be_read_without_importing_it(kind):
    for name in methods.names(kind):
        method = methods.find(kind, name, kind)
        assert method.summary, f"{kind}/{name}.py has no docstring"
        assert callable(method.load())


def test_a_stages_methods_have_names_of_their_own_whatever_their_kind():
    for stage, kinds in config.LISTS.items():
        found = [name for kind in kinds for name in methods.names(kind)]
        assert len({*found}) == len(found), stage
        taken = {*config.CHOICES.get(stage, {}), *config.Extract.__struct_fields__} if stage == "extract" else set()
        assert not taken & {*found}


def test_methods_of_several_kinds_run_in_the_order_of_their_sections(pipeline):
    found = pipeline(
        MINIMAL.replace("cnn", "dense") + "[extract.pca]\n[extract.stratified]\n[extract.mutual_information]\n"
    )
    kinds = [(one.name, one.method.kind) for one in found.sections["extract"].methods]
    assert kinds == [("pca", "reduction"), ("stratified", "selection"), ("mutual_information", "reduction")]


TUNE = MINIMAL + '[tune]\nmetric = "accuracy"\n'


def test_what_is_searched_for_is_read_checked_and_written(pipeline, tmp_path):
    text = TUNE + '[tune.space]\n"train.learning_rate" = {low = 1e-4, high = 1e-2, log = true}\ntrain.epochs = [3, 4]\n'
    found = pipeline(text)
    assert found.tune.settings == {"trials": 20, "ranks": 1, "metric": "accuracy"}
    assert (found.tune.search.name, found.tune.first_stage()) == ("tpe", "train")
    assert found.options("train")["tune"]["space"]["train.epochs"] == [3, 4]
    again = tmp_path / "again.toml"
    again.write_text(config.to_toml(found.as_written()))
    assert config.read_pipeline(again).tune == found.tune


def test_a_trial_has_its_options_and_no_search(pipeline):
    text = TUNE + '[tune.space]\n"train.epochs" = [3, 4]\n"clean.missing.neighbours" = [5, 6]\n[clean.missing]\n'
    found = pipeline(text)
    trial = found.changed({"train.epochs": 4, "clean.missing.neighbours": 6})
    assert (trial.value("train.epochs"), trial.value("clean.missing.neighbours"), trial.tune) == (4, 6, None)
    assert trial.sources == found.sources
    settled = config.settled(found, {"train.epochs": 4})
    assert (settled.value("train.epochs"), settled.tune) == (4, found.tune)


def test_whole_numbers_stand_for_any_where_any_are_allowed(pipeline):
    space = '[tune.space]\n"train.learning_rate" = {low = 1, high = 2}\n"train.epochs" = {low = 1, high = 2}\n'
    found = pipeline(TUNE + space).tune.space
    assert 1.5 in found["train.learning_rate"]
    assert 1.5 not in found["train.epochs"]


@pytest.mark.parametrize(
    ("tune", "told"),
    [
        ("", "tune.space: received 'nothing'"),
        ("[tune.space]\n", "tune.space: received 'nothing'"),
        ('[tune.space]\n"train.epoch" = [1, 2]\n', "tune.space.train.epoch: received 'epoch'"),
        (
            '[tune.space]\n"train.epochs" = [1, 0]\n',
            "tune.space.train.epochs: received 0, allowed: a whole number from 1",
        ),
        ('[tune.space]\n"train.model" = ["cnn", "cmn"]\n', "did you mean 'gcn'?"),
        ('[tune.space]\n"train.model" = ["cnn", "rnn"]\n', "tune.space.train.model: received 'rnn', which takes"),
        ('[tune.space]\n"compress.prune.sparsity" = [0.5, 0.9]\n', "as a trial ends with its training"),
        ("[tune.space]\nseed = [1, 2]\n", "received 'seed', allowed: options of"),
        ('[tune.space]\n"extract.test" = [0.1, 0.2]\n', "decides by what trials are judged"),
        ('metrik = "loss"\n', "did you mean 'metric'?"),
        ('search = "tpa"\n', "did you mean 'tpe'?"),
        (
            'search = "population"\n[tune.space]\n"train.model" = ["cnn", "resnet"]\n',
            "changes options while models train",
        ),
        ('search = "population"\nmin_epochs = 3\n[tune.space]\n"train.epochs" = [1, 2]\n', "allowed with search = "),
        ('[tune.space]\n"train.epochs" = [1, 2]\n[extract]\nvalidation = 0.0\n', "these rows judge the trials"),
    ],
)
def test_a_search_that_cannot_be_is_one_line(pipeline, tune, told):
    before = MINIMAL if "[extract]" not in tune else PREPARE + TRAIN
    with pytest.raises(InputError) as error:
        pipeline(before + "[tune]\n" + tune)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_metric_that_there_is_not_offers_the_nearest(pipeline):
    with pytest.raises(InputError, match="did you mean 'accuracy'"):
        pipeline(MINIMAL + '[tune]\nmetric = "acuracy"\n[tune.space]\n"train.epochs" = [1, 2]\n')


def test_a_trial_needs_its_ranks(pipeline):
    found = pipeline(TUNE + 'ranks = 3\n[tune.space]\n"train.epochs" = [1, 2]\n')
    consistency.check_ranks(found.path, found.sections, 3, found.tune)
    with pytest.raises(InputError, match=r"tune\.ranks: received 3 on 2 ranks, allowed: up to 2"):
        consistency.check_ranks(found.path, found.sections, 2, found.tune)


def test_a_tuned_run_has_the_options_of_the_same_search_alone(pipeline, tmp_path):
    from hvdedge import records

    text = TUNE + '[tune.space]\n"train.epochs" = [3, 4]\n'
    found = pipeline(text)
    record = {
        **{"stage": "train", "case": "some", "run": "r", "status": "done", "cluster": "local", "started": ""},
        **{"wall_seconds": 1.0, "world_size": 1, "options": found.options("train")},
        "metrics": {"search": {"best": 1}, "trials": [{"number": 1, "options": {"train.epochs": 4}}]},
    }

    def write(**changes):
        (tmp_path / "train.json").write_bytes(records.to_json({**record, **changes}))
        return config.tuned(found, tmp_path)

    assert config.tuned(found, tmp_path) is found
    assert write().value("train.epochs") == 4
    assert write(status="running") is found
    for best in (99, "x", [1], None, -1):
        assert write(metrics={**record["metrics"], "search": {"best": best}}) is found
    assert write(metrics={"search": 3, "trials": 4}) is found
    assert write(options={}) is found
    more = pipeline(text.replace('"accuracy"', '"accuracy"\ntrials = 90'))
    assert config.tuned(more, tmp_path) is more
    write()
    assert config.tuned(more, tmp_path).value("train.epochs") == 4  # more trials of the same search
    other = pipeline(text.replace("[3, 4]", "[3, 5]"))
    assert config.tuned(other, tmp_path) is other
    (tmp_path / "train.json").write_text("{")
    assert config.tuned(found, tmp_path) is found
