import pytest

from backbones.strict_yaml import load_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        (".5", 0.5),
        ("-3", -3),
        ("0x1F", 31),
        ("010", 10),
        ("12:30", "12:30"),
        ("2024-01-02", "2024-01-02"),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("true", True),
        ("~", None),
        ("key:", {"key": None}),
        ("''", ""),
        ("1_000", "1_000"),
        ("", None),
        ("timm:resnet18", "timm:resnet18"),
    ],
)
def test_scalars_are_what_a_person_means(text: str, value: object) -> None:
    loaded = load_yaml(text, "plan")
    assert loaded == value
    assert type(loaded) is type(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3", ["plan", "line 3", "'a'", "twice"]),
        ("!!python/object/apply:os.system ['true']", ["plan", "python/object"]),
        ("a: [1, 2", ["plan", "line"]),
        ("a: 1\n---\nb: 2", ["plan"]),
        ("&a [*a]", ["aliases"]),
    ],
)
def test_mistakes_name_the_place(text: str, words: list[str]) -> None:
    with pytest.raises(ValueError, match="plan") as error:
        load_yaml(text, "plan")
    assert all(word in str(error.value) for word in words)


def test_alias_bomb_is_refused_without_being_expanded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    with pytest.raises(ValueError, match="aliases expand"):
        load_yaml("\n".join(lines), "plan")


def test_ordinary_aliases_work() -> None:
    assert load_yaml("a: &x [1, 2]\nb: *x", "plan") == {"a": [1, 2], "b": [1, 2]}


def test_deep_nesting_is_an_error_not_a_crash() -> None:
    with pytest.raises(ValueError, match="plan"):
        load_yaml("[" * 100_000, "plan")
