"""The words for ImageNet's thousand classes, one line each, in the classifier's order."""

from pathlib import Path

PACKAGES = ()


def convert(synsets: Path, lemmas: Path, *, target: Path) -> None:
    """Put the words of WordNet (``n01440764<tab>tench, Tinca tinca``) to the list of classes.

    Raises `ValueError` when a class has no words.
    """
    words = dict(line.split("\t", 1) for line in lemmas.read_text().splitlines() if line)
    classes = synsets.read_text().split()
    if missing := [name for name in classes if name not in words]:
        raise ValueError(f"no words for {', '.join(missing)}")
    target.write_text("".join(f"{words[name]}\n" for name in classes), encoding="utf-8")
