# ruff: noqa: RUF001
"""What a word is, in the scripts of the world."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from data_prep.filters import gopher
from data_prep.filters.contamination import Contamination
from data_prep.filters.phrases import Phrases
from data_prep.filters.sentences import ends_in_own_script, sentences
from data_prep.filters.words import Parsed, letters_in, separated, shingles, words_of

# Article 1 of the Universal Declaration of Human Rights.
ARTICLE_1 = {
    "hi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
    "bn": "সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা এবং অধিকার নিয়ে জন্মগ্রহণ করে।",
    "ta": "மனிதப் பிறிவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்.",
    "ml": "മനുഷ്യരെല്ലാവരും തുല്യാവകാശങ്ങളോടും അന്തസ്സോടും സ്വാതന്ത്ര്യത്തോടുംകൂടി ജനിച്ചിട്ടുള്ളവരാണ്.",
    "si": "සියලු මනුෂ්‍යයෝ නිදහස්ව උපත ලබා ඇත.",
    "he": "כָּל בְּנֵי הָאָדָם נוֹלְדוּ בְּנֵי חוֹרִין.",
    "ar": "يُولَدُ جَمِيعُ النَّاسِ أَحْرَارًا.",
    "vi": unicodedata.normalize("NFD", "Tất cả mọi người sinh ra đều được tự do."),
    "fa": "تمام افراد بشر آزاد به دنیا می‌آیند.",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "am": "የሰው፡ልጅ፡ሁሉ፡ሲወለድ፡ነጻ፡ነው።",
    "bo": "འགྲོ་བ་མི་རིགས་ཡོངས་ལ་",
}


@pytest.mark.parametrize(
    ("language", "count"),
    [
        *(("hi", 15), ("bn", 10), ("ta", 5), ("ml", 5), ("si", 6), ("he", 6)),
        *(("ar", 4), ("vi", 10), ("fa", 7), ("ko", 10), ("am", 6), ("bo", 6)),
    ],
)
def test_marks_belong_to_their_letter(language: str, count: int) -> None:
    words = [word for word in words_of(ARTICLE_1[language]) if gopher.WORD_CHARACTER.search(word)]
    assert len(words) == count
    assert all(unicodedata.category(word[0])[0] in "LN" for word in words)
    assert len(shingles(ARTICLE_1[language], 2)) == count - 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("don't stop -- it's 3.14!", ["don't", "stop", "--", "it's", "3", ".", "14", "!"]),
        ("well-known “quotes” and naïve", ["well-known", "“", "quotes", "”", "and", "naïve"]),
        ("co\u00adop\u00aderate now", ["cooperate", "now"]),
        ("cafe\u0301s e\u0323\u0302", ["cafe\u0301s", "e\u0323\u0302"]),
        ("col·lecció a · b", ["col·lecció", "a", "·", "b"]),
        ('צה"ל אמר "לא"', ['צה"ל', "אמר", '"', "לא", '"']),
        ("a\u200bb", ["a", "b"]),
        ("\u0301 alone", ["\u0301", "alone"]),
        ("GPT-4模型", ["GPT-4", "模", "型"]),
        ("カタカナ語", ["カタカナ", "語"]),
        ("Ինչո՞ւ են ազատ։", ["Ինչո՞ւ", "են", "ազատ", "։"]),
        ("", []),
    ],
)
def test_words_by_hand(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("text", "count"),
    [  # words by ICU 78's dictionaries
        ("人人生而自由在尊严和权利上一律平等他们赋有理性和良心并应以兄弟关系的精神相对待", 26),
        ("すべての人間は、生れながらにして自由であり、かつ、尊厳と権利とについて平等である。", 20),
        ("มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ", 15),
        ("ມະນຸດທຸກຄົນເກີດມາມີກຽດສັກສີສິດທິເສລີພາບແລະຄວາມສະເໝີພາບເທົ່າທຽມກັນ", 13),
        ("មនុស្សទាំងអស់កើតមកមានសេរីភាពនិងភាពស្មើៗគ្នាក្នុងសិទ្ធិនិងសេចក្ដីថ្លៃថ្នូរ", 13),
        ("လူတိုင်းသည်တူညီလွတ်လပ်သောဂုဏ်သိက္ခာဖြင့်လည်းကောင်းတူညီလွတ်လပ်သောအခွင့်အရေးများဖြင့်လည်းကောင်းမွေးဖွားလာသူများဖြစ်သည်", 21),
    ],
)  # fmt: skip
def test_words_of_scripts_without_spaces_are_estimated(text: str, count: int) -> None:
    found = [word for word in words_of(text) if gopher.WORD_CHARACTER.search(word)]
    assert 0.6 * count <= len(found) <= 1.5 * count
    assert "".join(words_of(text)) == text
    assert not any(unicodedata.category(word[0]).startswith("M") for word in found)
    assert len(separated(text).split()) == pytest.approx(len(found), abs=3)


def test_a_passage_has_the_same_words_wherever_it_stands() -> None:
    passage = "人人生而自由在尊严和权利上一律平等他们赋有理性和良心"
    alone, inside = words_of(passage), words_of("据说" + passage + "并应以兄弟关系的精神相对待")
    assert "|".join(alone[1:-1]) in "|".join(inside)
    grams = np.intersect1d(shingles(passage, 5), shingles("据说" + passage + "并应以兄弟", 5))
    assert len(grams) >= len(alone) - 6


def test_a_decomposed_text_has_the_words_of_the_composed_one() -> None:
    text = "Ngôn ngữ tiếng Việt, naïve café, ἄνθρωπος, 한국어 문장"
    apart = words_of(unicodedata.normalize("NFD", text))
    assert [unicodedata.normalize("NFC", word) for word in apart] == words_of(text)
    assert letters_in(apart) == letters_in(words_of(text))


def test_lengths_are_in_letters() -> None:
    assert letters_in(["café", "cafe\u0301", "שָׁלוֹם", "학교", "ok"]) == 4 + 4 + 4 + 5 + 2
    assert letters_in([]) == 0
    mean = gopher.quality(Parsed.of(ARTICLE_1["hi"]))["gopher_mean_word_length"]
    assert 3.5 < mean < 5
    assert np.isnan(
        gopher.quality(Parsed.of("人人生而自由，在尊严和权利上一律平等。"))["gopher_mean_word_length"]
    )
    mixed = "The Chinese word for tree is 木 and the one for wood is 林"
    assert gopher.quality(Parsed.of(mixed))["gopher_mean_word_length"] == 41 / 12


def test_ngrams_of_estimates_have_no_spaces_between_them() -> None:
    assert gopher.repetition(Parsed.of("模型模型"), top=[2], duplicate=[])["gopher_top_2_gram"] == 1
    assert gopher.repetition(Parsed.of("ab c ab c"), top=[2], duplicate=[])["gopher_top_2_gram"] == 8 / 9


@pytest.mark.parametrize(
    ("phrases", "text", "count"),
    [
        (["कम"], "कमी कम कमरा, कम।", 2),  # a vowel sign makes another word of it
        (["傻瓜"], "你这个傻瓜！大傻瓜", 2),
        (["darn"], "你darn吗, darned, DARN it, da\u00adrn", 3),
        (["ab", "abc", "ab cd"], "abc ab cd abd", 2),
        (["naïve"], "nai\u0308ve naïve", 1),
        ([], "anything", 0),
        (["", " \u200e"], "anything", 0),
        (["c++"], "c++ and c+++ and c++11", 2),
    ],
)
def test_phrases_stand_alone(phrases: list[str], text: str, count: int) -> None:
    assert Phrases(phrases).count(text) == count


def test_contamination_is_found_in_every_script(tmp_path: Path) -> None:
    question = " ".join([ARTICLE_1["hi"].rstrip("।")] * 2)
    passage = "人人生而自由在尊严和权利上一律平等他们赋有理性和良心并应以兄弟关系的精神相对待"
    for text, before, after in ((question, "उसने कहा कि ", " है"), (passage, "他说", "真的")):
        (tmp_path / "quiz.txt").write_text(text)
        check = Contamination.read([tmp_path / "quiz.txt"], 8)
        assert check.signals(before + text + after)["contaminated_ngrams"] > 0
        assert check.signals(text[: len(text) // 8])["contaminated_ngrams"] == 0


@pytest.mark.parametrize(
    ("line", "ends", "count"),
    [
        ("यह एक वाक्य है। यह दूसरा है।", True, 2),
        ("यह एक वाक्य है", False, 1),
        ("これは文です。これも「文です。」", True, 2),
        ("这是一句话！真的吗？是的", False, 3),
        ("هل هذا سؤال؟", True, 1),
        ("یہ ایک جملہ ہے۔", True, 1),
        ("Սա նախադասություն է։", True, 1),
        ("ይህ ዓረፍተ ነገር ነው።", True, 1),
        ("นี่คือประโยค นี่คืออีกประโยค", True, 2),
        ("នេះជាប្រយោគ។", True, 1),
        ("ဒါကဝါကျပါ။", True, 1),
        ("Τι είναι αυτό;", True, 1),
        ("one; two;", False, 1),
        ("“A quote in English.”", False, 1),  # as in the code of C4
        ("", False, 0),
    ],
)
def test_sentences_end_as_their_script_ends_them(line: str, ends: bool, count: int) -> None:
    assert ends_in_own_script(line) == ends
    assert sentences(line) == count
