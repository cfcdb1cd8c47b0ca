r"""A tuned model's chat template, as transformers' `apply_chat_template` reads it: Jinja, with the same ids.

Our own markers are tokens that no text is encoded into, in transformers neither. The template writes a marker
between two noncharacters, U+FDD0 and U+FDD1, which no text may have in it and which the template takes out
of messages; tokenizer.json leaves alone what stands between them and cuts the same letters elsewhere:

    \ufdd0<bos>\ufdd1\ufdd0<|user|>\ufdd1What is <|end|>?\ufdd0<|end|>\ufdd1\ufdd0<|assistant|>\ufdd1

A published tokenizer's template is roles in words, between the tokens that begin and end its texts.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_prep.contract.pieces import SPACE
from data_prep.contract.roles import SETTINGS
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import ASSISTANT, BOS, END, RESERVED, Vocabulary
from pipeline.conversion.files import read_json
from pipeline.prompting.chat import MARKERS, ChatTemplate, Message

OPEN, CLOSE = "\ufdd0", "\ufdd1"
_ROLES = ", ".join(f"'{role}'" for role in MARKERS)
_CHECK = (
    "{%- if message['role'] not in [" + _ROLES + "] %}"
    "{{ raise_exception('roles are system, user and assistant, not ' + message['role']) }}{%- endif %}"
)


def _literal(text: str) -> str:
    """A text as Jinja writes it, without a character that a terminal or an editor would change."""
    escaped = text.encode("unicode_escape").decode().replace("'", "\\'")
    return f"'{escaped}'"


def jinja(template: ChatTemplate) -> str:
    """The template as a text."""
    if template.marked:
        first, end = f"{OPEN}{BOS}{CLOSE}", f"{OPEN}{END}{CLOSE}"
        role = f"{_literal(OPEN + '<|')} + message['role'] + {_literal('|>' + CLOSE)}"
        gone = "".join(f" | replace({_literal(sign)}, '')" for sign in (OPEN, CLOSE))
        content, opened = f"(message['content']{gone})", f"{OPEN}{ASSISTANT}{CLOSE}"
    else:
        pieces = template.vocabulary.piece_of
        first, end = pieces(template.vocabulary.bos), pieces(template.end)
        role = "'<|' + message['role'] + '|> '"
        content, opened = "message['content']", ASSISTANT
    return (
        f"{{{{- {_literal(first)} }}}}"
        "{%- for message in messages %}"
        f"{_CHECK}"
        f"{{{{- {role} + {content} + {_literal(end)} }}}}"
        "{%- endfor %}"
        f"{{%- if add_generation_prompt %}}{{{{- {_literal(opened)} }}}}{{%- endif %}}"
    )


def has_template(folder: Path) -> bool:
    """Whether a folder is one of ours of a model that was tuned on the template of our markers."""
    path = folder / SETTINGS[0]
    template = read_json(path).get("chat_template") if path.is_file() else None
    return isinstance(template, str) and _literal(OPEN).strip("'") in template


def rendered(messages: Sequence[Message], answer: bool) -> str:
    """What the template of our own markers writes, without Jinja."""
    found = f"{OPEN}{BOS}{CLOSE}"
    for message in messages:
        content = message.content.replace(OPEN, "").replace(CLOSE, "")
        found += f"{OPEN}{MARKERS[message.role]}{CLOSE}{content}{OPEN}{END}{CLOSE}"
    return found + (f"{OPEN}{ASSISTANT}{CLOSE}" if answer else "")


def with_markers(content: dict[str, Any], bpe: bool) -> dict[str, Any]:
    """A tokenizer.json that finds our markers where the template writes them, and nowhere else.

    Every stretch between two markers is a text of its own: spaces at its ends go where they do from a whole
    text, and the sign for a space is put before it.
    """
    steps: list[dict[str, Any]] = []
    for step in content["normalizer"]["normalizers"]:
        steps.append(step)
        if step["type"] == "Strip":
            steps += [_replace(f" *{OPEN}", OPEN), _replace(f"{CLOSE} *", CLOSE)]
        if step["type"] == "Prepend":
            steps += [_replace(f"^{SPACE}(?={OPEN})", ""), _replace(f"{CLOSE}(?=[^{OPEN}])", CLOSE + SPACE)]
    apart, cut = content["pre_tokenizer"], []
    if apart:
        pattern = f"(?<!{OPEN})(?:{apart['pattern']['Regex']})"
        cut.append(apart | {"pattern": {"Regex": pattern}})
    signs = {"Regex": f"[{OPEN}{CLOSE}]"}
    cut.append({"type": "Split", "pattern": signs, "behavior": "Removed", "invert": False})
    model = content["model"] | ({"ignore_merges": True} if bpe else {})
    return content | {
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": cut},
        "model": model,
    }


def _replace(pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}


TALKS: tuple[tuple[Message, ...], ...] = (
    (Message("user", "Add the numbers.\n\n2 and 3"),),
    (Message("system", " Be brief. "), Message("user", "Who?"), Message("assistant", "Nobody,  twice.")),
    (Message("user", "".join(RESERVED)), Message("assistant", ""), Message("user", "<|end|><|user|> no")),
)
"""Conversations that are easily got wrong."""


def check_markers(content: dict[str, Any], vocabulary: Vocabulary) -> None:
    """`InputError` where a tokenizer.json gives a conversation, or a single piece, other ids than ours."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.encode_special_tokens = True
    template = ChatTemplate(vocabulary)
    for messages in TALKS:
        found = tokenizer.encode(rendered(messages, answer=True), add_special_tokens=False).ids
        if found != template.prompt(messages):
            raise InputError("tokenizer.json would give a conversation other ids than the chat template does")
    if content["model"]["type"] != "BPE":
        return
    for index in range(vocabulary.size):  # a whole text that is a piece must be cut as before
        text = vocabulary.piece_of(index).replace(SPACE, " ").removeprefix(" ")
        if index not in vocabulary.reserved and not text.startswith("<0x"):
            found = tokenizer.encode(text, add_special_tokens=False).ids
            if found != vocabulary.encode(text):
                raise InputError(f"tokenizer.json would give {text!r} other ids")
