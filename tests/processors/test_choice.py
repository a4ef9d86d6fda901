from processors.choice import choose
from schemas.plan import LeftOut, PlannedFile


def files(*paths: str) -> list[PlannedFile]:
    return [PlannedFile(path, 1, "sha256", "0" * 64) for path in paths]


def chosen(paths: list[PlannedFile], include: tuple[str, ...] = (), *exclude: str) -> list[str]:
    return [file.path for file in choose(paths, include, exclude)[0]]


def test_pickles_are_left_out_where_there_are_safetensors() -> None:
    listed = files("config.json", "model.safetensors", "pytorch_model.bin")

    found, left_out = choose(listed, (), ())

    assert [file.path for file in found] == ["config.json", "model.safetensors"]
    assert left_out == (LeftOut("pytorch_model.bin", "a pickle beside safetensors"),)


def test_pickles_are_brought_where_there_is_nothing_better() -> None:
    assert chosen(files("a/pytorch_model.bin", "b/model.safetensors")) == [
        "a/pytorch_model.bin",
        "b/model.safetensors",
    ]


def test_the_index_of_left_out_pickles_is_left_out_too() -> None:
    listed = files("model.safetensors", "pytorch_model.bin.index.json")

    assert chosen(listed) == ["model.safetensors"]


def test_a_pickle_that_is_asked_for_is_brought() -> None:
    listed = files("model.safetensors", "pytorch_model.bin")

    assert chosen(listed, ("*.bin",)) == ["pytorch_model.bin"]


def test_globs_include_and_exclude_folders_and_names() -> None:
    listed = files("a/x.json", "a/y.txt", "b/x.json", "z.json")

    assert chosen(listed, ("a/",)) == ["a/x.json", "a/y.txt"]
    assert chosen(listed, ("*.json",), "b/*") == ["a/x.json", "z.json"]
    assert chosen(listed, (), "*.json") == ["a/y.txt"]
