"""What tasks about one text or a pair of texts have in common: what the model reads."""

from typing import Any

from pipeline.tasks.rows import Row
from pipeline.tasks.settings import LabelledSettings, TaskSettings, TextsSettings
from pipeline.tasks.task import Feature, Task


class Texts(Task):
    """What tasks about one text or two have in common: what the model reads."""

    settings: TextsSettings

    def read(self, row: Row) -> tuple[str, str]:
        """Both texts; the second is empty where there is one."""
        return texts_of(self.settings, row)

    def features(self, row: Row, index: int, wanted: bool = True) -> list[Feature]:
        """The text or the pair."""
        first, second = self.read(row)
        encode = self.vocabulary.encode
        framed, cut = self.frame.make(encode(first), encode(second) if second else None)
        target, weight = self.wanted(row) if wanted else (0, 1.0)
        return [Feature(index, (framed,), target, weight, cut)]

    def wanted(self, row: Row) -> tuple[Any, float]:
        """A row's target and its weight in the loss."""
        raise NotImplementedError

    def show(self, row: Row) -> str:
        """The texts below one another."""
        return "\n".join(filter(None, self.read(row)))

    @classmethod
    def group(cls, settings: TaskSettings, row: Row) -> tuple[str, str]:
        """Equal texts, and labels."""
        assert isinstance(settings, TextsSettings)
        label = row.label(settings.label) if isinstance(settings, LabelledSettings) else ""
        return "\n".join(texts_of(settings, row)), label


def texts_of(settings: TextsSettings, row: Row) -> tuple[str, str]:
    """Both texts of a row; the second is empty where there is one."""
    return row.text(settings.text), row.text(settings.second) if settings.second else ""
