"""The recipe's sections for filters. A threshold of null switches its rule off; light to import."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from data_prep.contract.settings import Settings

Share = float | None
FilterName = Literal["url", "language", "gopher_repetition", "gopher_quality", "c4", "fineweb"]


class LanguageFilter(Settings):
    """fastText's lid.176 on the first 1,000 characters."""

    keep: list[str] = Field(default_factory=lambda: ["en"])
    """Languages that stay, as ISO 639 codes; empty keeps all."""
    threshold: float = Field(0.65, ge=0.0, le=1.0)
    """Least confidence in the language; FineWeb's."""


class GopherQualityFilter(Settings):
    """Rae et al. 2021 (Gopher), appendix A1.1, by datatrove's reading of it."""

    min_words: int | None = Field(50, ge=0)
    """Fewest words that are not symbols alone."""
    max_words: PositiveInt | None = 100_000
    """Most words that are not symbols alone."""
    min_mean_word_length: PositiveFloat | None = 3.0
    """Least mean length of such words, in characters."""
    max_mean_word_length: PositiveFloat | None = 10.0
    """Greatest mean length of such words, in characters."""
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
    """Fewest different ones of: the, be, to, of, and, that, have, with."""


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
    """Drop lines that do not end in `. ? ! "`; FineWeb switches this off."""
    min_line_words: int = Field(5, ge=0)
    """Fewest words of a line."""
    max_word_characters: PositiveInt = 1000
    """A line with a longer word is dropped."""
    javascript_lines: bool = True
    """Drop lines that mention javascript."""
    policy_lines: bool = True
    """Drop lines about cookies, privacy and terms of use."""
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
    """File with a bad word or phrase a line; null knows none."""


class FineWebFilter(Settings):
    """Penedo et al. 2024 (FineWeb), section 3.6, on the lines that are not empty."""

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
