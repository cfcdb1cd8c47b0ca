"""The recipe's sections for filters. A threshold of null switches its rule off; light to import."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, field_validator, model_validator

from data_prep.contract.problems import did_you_mean, first_problem
from data_prep.contract.settings import Settings

Share = float | None
FilterName = Literal["url", "language", "gopher_repetition", "gopher_quality", "c4", "fineweb"]
SectionName = Literal["gopher_repetition", "gopher_quality", "c4", "fineweb"]
_CODES = (
    "af als am an ar arz as ast av az azb ba bar bcl be bg bh bn bo bpy br bs bxr ca cbk ce ceb ckb "
    "co cs cv cy da de diq dsb dty dv el eml en eo es et eu fa fi fr frr fy ga gd gl gn gom gu gv he "
    "hi hif hr hsb ht hu hy ia id ie ilo io is it ja jbo jv ka kk km kn ko krc ku kv kw ky la lb lez "
    "li lmo lo lrc lt lv mai mg mhr min mk ml mn mr mrj ms mt mwl my myv mzn nah nap nds ne new nl nn "
    "no oc or os pa pam pfl pl pms pnb ps pt qu rm ro ru rue sa sah sc scn sco sd sh si sk sl so sq "
    "sr su sv sw ta te tg th tk tl tr tt tyv ug uk ur uz vec vep vi vls vo wa war wuu xal xmf yi yo "
    "yue zh"
)
LANGUAGES = frozenset(_CODES.split())
"""What lid.176 tells apart (Joulin et al. 2017)."""


def known(languages: Iterable[str], where: str = "") -> None:
    """Raises `ValueError` where a code is none of LANGUAGES; its sentence begins with `where`."""
    for code in languages:
        if code not in LANGUAGES:
            hint = did_you_mean(code, sorted(LANGUAGES), likeness=0.5)
            raise ValueError(f"{where}{code} is no language that lid.176 knows, such as en, hi or zh{hint}")


class LanguageFilter(Settings):
    """fastText's lid.176 on the first 1,000 characters."""

    keep: list[str] = Field(default_factory=lambda: ["en"])
    """Languages that stay, as ISO 639 codes; empty keeps all."""
    threshold: float = Field(0.65, ge=0.0, le=1.0)
    """Least confidence in the language; FineWeb's."""

    @field_validator("keep")
    @classmethod
    def _known(cls, keep: list[str]) -> list[str]:
        known(keep)
        return keep


class GopherQualityFilter(Settings):
    """Rae et al. 2021 (Gopher), appendix A1.1, by datatrove's reading of it.

    The numbers are for English. Counts and shares of words hold for other languages as they are; the mean
    length of words does for those that have letters and spaces, and is not asked of others."""

    later = frozenset({"stop_words"})

    min_words: int | None = Field(50, ge=0)
    """Fewest words that are not symbols alone."""
    max_words: PositiveInt | None = 100_000
    """Most words that are not symbols alone."""
    min_mean_word_length: PositiveFloat | None = 3.0
    """Least mean length of such words, in letters; accents and points are none, a syllable of Hangul is 2 or
    3."""
    max_mean_word_length: PositiveFloat | None = 10.0
    """Greatest mean length of such words, in letters."""
    max_hash_ratio: Share = 0.1
    """Most `#` signs per word."""
    max_ellipsis_ratio: Share = 0.1
    """Most ellipses per word."""
    max_bullet_lines: Share = 0.9
    """Greatest share of lines that start with a bullet."""
    max_ellipsis_lines: Share = 0.3
    """Greatest share of lines that end in an ellipsis."""
    min_alphabetic_words: Share = 0.8
    """Least share of words with a letter."""
    min_stop_words: int | None = Field(2, ge=0)
    """Fewest different stop words."""
    stop_words: list[str] | None = None
    """The stop words that count; null is the, be, to, of, and, that, have, with, asked of English texts
    alone."""


class GopherRepetitionFilter(Settings):
    """Rae et al. 2021 (Gopher), table A1: shares above which a document repeats itself too much."""

    max_duplicate_lines: Share = 0.30
    """Of lines that occurred before."""
    max_duplicate_paragraphs: Share = 0.30
    """Of paragraphs that occurred before."""
    max_duplicate_line_characters: Share = 0.20
    """Of characters in such lines."""
    max_duplicate_paragraph_characters: Share = 0.20
    """Of characters in such paragraphs."""
    max_top_ngrams: dict[int, float] = Field(default_factory=lambda: {2: 0.20, 3: 0.18, 4: 0.16})
    """Of characters in the commonest n-gram of words, by n."""
    max_duplicate_ngrams: dict[int, float] = Field(
        default_factory=lambda: {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
    )
    """Of characters in n-grams that occurred before, not counting overlaps twice, by n."""


class C4Filter(Settings):
    """Raffel et al. 2020 (T5). Lines are dropped by the first group of keys, which rewrite the text; pages by
    the second. Defaults are those of the code that made C4; the paper's text has 3 words and 5 sentences."""

    terminal_punctuation: bool = True
    """Drop lines that do not end in `. ? ! "`, as sentences do in their own script, or in Thai or Lao, which
    mark no end; FineWeb switches this off."""
    min_line_words: int = Field(5, ge=0)
    """Fewest words of a line, by the spaces between them; estimated where a script has none."""
    max_word_characters: PositiveInt = 1000
    """A line with a longer word is dropped."""
    javascript_lines: bool = True
    """Drop lines that mention javascript."""
    policy_lines: bool = True
    """Drop lines about cookies, privacy and terms of use, in English."""
    references: bool = True
    """Remove `[1]`, `[edit]` and `[citation needed]`."""

    max_lorem_ipsum: int | None = Field(0, ge=0)
    """Most lines with "lorem ipsum"."""
    max_curly_brackets: int | None = Field(0, ge=0)
    """Most lines with a `{`."""
    min_sentences: int | None = Field(3, ge=0)
    """Fewest sentences in the lines that stay."""
    max_bad_words: int | None = Field(0, ge=0)
    """Most occurrences of words of the list."""
    bad_words: Path | None = None
    """File with a bad word or phrase a line, of any language; null knows none."""


class FineWebFilter(Settings):
    """Penedo et al. 2024 (FineWeb), section 3.6, on the lines that are not empty.

    The numbers are for English: where a character says more, as in Chinese, more lines are short."""

    min_punctuated_lines: Share = 0.12
    """Least share of lines that end in terminal punctuation."""
    max_short_lines: Share = 0.67
    """Greatest share of lines of at most 30 characters."""
    max_duplicate_line_characters: Share = 0.01
    """Greatest share of characters in lines that occurred before."""
    max_newline_ratio: Share = 0.3
    """Most line ends per word."""


class UrlFilter(Settings):
    """Where pages may not come from."""

    blocklist: Path | None = None
    """File with a domain a line (its subdomains are blocked with it), or a prefix of a URL with its path."""


class FilterConfig(Settings):
    """Which documents stay. Signals are computed once and stored; thresholds decide afterwards."""

    later = frozenset({"by_language"})

    use: list[FilterName] = Field(default_factory=list)
    """Filters in the order in which they reject. FineWeb's order is url, language, gopher_repetition,
    gopher_quality, c4, fineweb."""
    min_characters: int = Field(1, ge=0)
    """Shortest text that is kept, in characters, after every other filter."""
    max_characters: PositiveInt = 10_000_000
    """Longest text that is kept, in characters."""
    url: UrlFilter = UrlFilter()
    language: LanguageFilter = LanguageFilter()
    gopher_quality: GopherQualityFilter = GopherQualityFilter()
    gopher_repetition: GopherRepetitionFilter = GopherRepetitionFilter()
    c4: C4Filter = C4Filter()
    fineweb: FineWebFilter = FineWebFilter()
    by_language: dict[str, dict[SectionName, dict[str, Any]]] = Field(default_factory=dict)
    """Other values for documents of a language, by its code and the section: what is given there takes the
    place of the section's own, as in `{hi: {gopher_quality: {stop_words: [और, के, का], max_mean_word_length:
    9}}}`."""

    @model_validator(mode="after")
    def _languages(self) -> Self:
        known(self.by_language, "by_language: ")
        for code, sections in self.by_language.items():
            if "bad_words" in sections.get("c4", {}):
                raise ValueError(
                    f"by_language.{code}.c4.bad_words: one list, c4.bad_words, serves all languages"
                )
            for name, values in sections.items():
                try:
                    self._section(name, values)
                except ValidationError as error:
                    raise ValueError(f"by_language.{code}.{name}.{_problem(error)}") from None
        return self

    def of_language(self, code: str) -> "FilterConfig":
        """The settings for documents of a language."""
        sections = self.by_language.get(code, {})
        return self.model_copy(
            update={name: self._section(name, values) for name, values in sections.items()}
        )

    def _section(self, name: SectionName, values: dict[str, Any]) -> Settings:
        general: Settings = getattr(self, name)
        return type(general).model_validate({**general.model_dump(), **values})


def _problem(error: ValidationError) -> str:
    """What is wrong with a section's value."""
    first = first_problem(error)
    if first.kind == "extra_forbidden":
        return f"{first.key}: no such key"
    return f"{first.key} is {first.value!r}; it {first.message.removeprefix('Input ')}"
