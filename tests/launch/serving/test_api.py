"""The API as OpenAI's client meets it: answers are those of `generate`, errors are 4xx, slots come free."""

import asyncio
import json
import math
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import torch
from openai import AsyncOpenAI

from launch.serving.api import Api
from launch.serving.limits import Limits
from launch.serving.served import Served
from pipeline.generation.sampling import Sampling
from pipeline.preferences.comparisons import Comparisons, encode
from pipeline.preferences.rankings import read_rankings
from pipeline.prompting.chat import ChatTemplate, Message
from tests.launch.serving.made import NAME, client, double, said, serving
from tests.pipeline import tiny

HOW: dict[str, Any] = {"model": NAME, "temperature": 0.9, "top_p": 0.95, "seed": 7}
SAMPLING = Sampling(0.9, 0, 0.95, 7)
TEXT = "returns the sum of a list"
WAIT = 120.0


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> Served:
    return double(tmp_path_factory.mktemp("gpt") / "run", "gpt2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("feedback")


@pytest.fixture(scope="module")
def server(gpt: Served, folder: Path) -> Iterator[tuple[str, Api]]:
    with serving(gpt, folder, Limits(slots=6, queue=60, tokens=64)) as one:
        yield one


def until(true: Any) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_chat_is_answered_as_generate_answers_it(server: tuple[str, Api], gpt: Served) -> None:
    messages = [{"role": "user", "content": TEXT}]
    expected = [said(gpt, TEXT, 20, SAMPLING, True, before) for before in range(3)]
    found = client(server[0]).chat.completions.create(messages=messages, max_tokens=20, n=3, **HOW)
    assert [choice.message.content for choice in found.choices] == expected
    assert {choice.finish_reason for choice in found.choices} <= {"stop", "length"}
    assert len(set(expected)) == 3
    prompt = len(gpt.chat_prompt([Message("user", TEXT)]))
    assert found.usage is not None
    assert (found.usage.prompt_tokens, found.usage.total_tokens) == (
        prompt,
        prompt + found.usage.completion_tokens,
    )


def test_a_stream_has_the_same_parts_with_log_probabilities(server: tuple[str, Api], gpt: Served) -> None:
    asked: dict[str, Any] = {
        "messages": [{"role": "system", "content": "reads"}, {"role": "user", "content": TEXT}],
        "logprobs": True,
        "top_logprobs": 2,
        "max_completion_tokens": 15,
    }
    whole = client(server[0]).chat.completions.create(**HOW, **asked)
    stream = client(server[0]).chat.completions.create(
        **HOW, **asked, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    parts = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(part.delta.content or "" for part in parts) == whole.choices[0].message.content
    logs = [one for part in parts if part.logprobs for one in part.logprobs.content or ()]
    assert whole.choices[0].logprobs is not None
    assert logs == whole.choices[0].logprobs.content
    assert (parts[0].delta.role, parts[-1].finish_reason) == ("assistant", whole.choices[0].finish_reason)
    assert chunks[-1].usage == whole.usage
    assert whole.usage is not None
    assert len(logs) == whole.usage.completion_tokens
    assert all(len(one.top_logprobs) == 2 for one in logs)


def test_texts_are_gone_on_with_and_log_probabilities_are_the_model_s(
    server: tuple[str, Api], gpt: Served
) -> None:
    prompts = [TEXT, "reads", TEXT]
    found = client(server[0]).completions.create(prompt=prompts, max_tokens=12, logprobs=1, **HOW)
    expected = [
        said(gpt, text, 12, SAMPLING, False, before) for text, before in zip(prompts, (0, 0, 1), strict=True)
    ]
    assert [choice.text for choice in found.choices] == expected
    logs = found.choices[0].logprobs
    assert logs is not None
    row = list(gpt.text_prompt(TEXT))
    ids = {gpt.piece(token): token for token in range(gpt.model.vocabulary.size)}
    for token, log, top in zip(
        logs.tokens or (), logs.token_logprobs or (), logs.top_logprobs or (), strict=True
    ):
        with torch.inference_mode():
            expected_logs = gpt.model.module({"tokens": torch.tensor([row])})["logits"][-1, 0]
        expected_logs = expected_logs[: gpt.model.vocabulary.size].log_softmax(0)
        assert log == pytest.approx(float(expected_logs[ids[token]]), abs=1e-5)
        assert next(iter(top.values())) == pytest.approx(float(expected_logs.max()), abs=1e-5)
        row.append(ids[token])


def test_ids_are_a_prompt_and_a_prompt_is_echoed(server: tuple[str, Api], gpt: Served) -> None:
    ids = list(gpt.text_prompt(TEXT))
    one = client(server[0])
    plain = one.completions.create(prompt=TEXT, max_tokens=9, **HOW).choices[0].text
    assert one.completions.create(prompt=ids, max_tokens=9, **HOW).choices[0].text == plain
    echoed: dict[str, Any] = {"prompt": TEXT, "max_tokens": 9, "echo": True, "stop": ["sum", "never said"]}
    assert one.completions.create(**echoed, **HOW).choices[0].text == TEXT + plain


def test_a_stop_sequence_ends_an_answer_and_is_not_in_it(server: tuple[str, Api], gpt: Served) -> None:
    answers = (said(gpt, TEXT, 40, replace(SAMPLING, seed=seed), False) for seed in range(99))
    seed, whole = next((seed, answer) for seed, answer in enumerate(answers) if len(answer) > 30)
    stop = whole[12:15]
    how = {**HOW, "seed": seed, "stop": [stop, "never said"]}
    asked: dict[str, Any] = {"prompt": TEXT, "max_tokens": 40, **how}
    found = client(server[0]).completions.create(**asked).choices[0]
    assert (found.text, found.finish_reason) == (whole[: whole.index(stop)], "stop")
    parts = [chunk.choices[0] for chunk in client(server[0]).completions.create(**asked, stream=True)]
    assert "".join(part.text for part in parts) == found.text
    until(lambda: server[1].scheduler.load().running == 0)


def test_fifty_clients_at_once_get_what_each_gets_alone(server: tuple[str, Api], gpt: Served) -> None:
    texts = [f"{TEXT} of {number} numbers" for number in range(50)]
    seeds = [Sampling(0.9, 0, 0.95, number) for number in range(50)]
    lengths = [8 + number % 13 for number in range(50)]
    expected = [
        said(gpt, *one, True)
        for one in zip(texts, lengths, seeds, strict=True)  # each by itself
    ]

    async def ask(one: AsyncOpenAI, number: int) -> str:
        stream = await one.chat.completions.create(
            **{**HOW, "seed": number},
            messages=[{"role": "user", "content": texts[number]}],
            max_tokens=lengths[number],
            stream=True,
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def all_of_them() -> list[str]:
        async with AsyncOpenAI(
            base_url=f"{server[0]}/v1", api_key="none", max_retries=0, timeout=WAIT
        ) as one:
            return await asyncio.gather(*(ask(one, number) for number in range(50)))

    assert asyncio.run(all_of_them()) == expected
    assert len(set(expected)) > 35


def test_clients_that_are_killed_free_their_slots(
    server: tuple[str, Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, api = server
    host, port = address.removeprefix("http://").split(":")
    step, goes_on = api.scheduler._batch.step, threading.Event()
    monkeypatch.setattr(api.scheduler._batch, "step", lambda: (goes_on.wait(WAIT), step())[1])
    before, sockets = api.metrics.given_up, []
    for stream in (True, False) * 6:
        body = json.dumps({"model": NAME, "prompt": TEXT, "stream": stream}).encode()
        one = socket.create_connection((host, int(port)))
        head = f"POST /v1/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        one.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        sockets.append(one)
    until(lambda: api.scheduler.load().running + api.scheduler.load().waiting == 12)
    for one in sockets:
        one.close()
    until(lambda: api.metrics.given_up == before + 12)
    goes_on.set()
    until(lambda: (api.scheduler.load().running, api.scheduler.load().waiting) == (0, 0))
    assert client(address).completions.create(prompt=TEXT, max_tokens=3, **HOW).choices[0].finish_reason


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "model: Field required"),
    ({"messages": []}, "messages: "),
    ({"messages": [{"role": "robot", "content": "a"}]}, "messages.0.role"),
    ({"messages": [{"role": "assistant", "content": "a"}]}, "nothing to answer"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "messages.0"),
    ({"temperature": 3}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"n": 9}, "n: "),
    ({"n": True}, "n: "),
    ({"seed": -1}, "seed"),
    ({"seed": 2**70}, "seed"),
    ({"stop": ["a"] * 5}, "stop"),
    ({"stop": ""}, "stop"),
    ({"max_tokens": 65}, "at most 64"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"frequency_penalty": 0.5}, "frequency_penalty"),
    ({"tools": [{"type": "function"}]}, "tools"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"nonsense": 1}, "nonsense: is no key"),
    ({"messages": [{"role": "user", "content": "a" * 20000}]}, "characters"),
    ({"messages": [{"role": "user", "content": "a file of a list " * 20}]}, "the model reads at most"),
]


@pytest.mark.parametrize(("more", "words"), WRONG)
def test_what_is_wrong_with_a_request_is_one_sentence(
    server: tuple[str, Api], more: dict[str, Any], words: str
) -> None:
    body = {"model": NAME, "messages": [{"role": "user", "content": "a"}], **more} if more else {}
    found = httpx2.post(f"{server[0]}/v1/chat/completions", json=body)
    assert found.status_code == 400
    assert words in found.json()["error"]["message"]


def test_other_models_and_places_and_kinds_of_bodies(server: tuple[str, Api]) -> None:
    address, one = server[0], client(server[0])
    assert [model.id for model in one.models.list()] == [NAME]
    assert one.models.retrieve(NAME).owned_by == "bloomery"
    with pytest.raises(openai.NotFoundError, match=f"the model here is {NAME}"):
        one.completions.create(model="gpt-5", prompt="a")
    assert httpx2.get(f"{address}/v1/completions").status_code == 405
    assert httpx2.get(f"{address}/nothing").json()["error"]["message"] == "there is nothing at this address"
    chat, kind = f"{address}/v1/chat/completions", {"content-type": "application/json"}
    assert httpx2.post(chat, content=b"{}").status_code == 415
    for content in (b"", b"{", b"[]", b"\xff", b"NaN", b'"\\ud800"', b"[" * 5000):
        assert httpx2.post(chat, content=content, headers=kind).status_code == 400
    assert httpx2.post(chat, content=b" " * (1 << 20) + b"{}", headers=kind).status_code == 413


def test_a_full_queue_is_said(gpt: Served, tmp_path: Path) -> None:
    with (
        serving(gpt, tmp_path, Limits(slots=1, queue=1, tokens=64)) as (address, _),
        pytest.raises(openai.RateLimitError, match="try again"),
    ):
        client(address).completions.create(prompt=TEXT, n=3, **HOW)


def test_time_that_is_up_ends_an_answer_as_it_is(gpt: Served, tmp_path: Path) -> None:
    with serving(gpt, tmp_path, Limits(tokens=64, seconds=0.0)) as (address, _):
        found = client(address).completions.create(prompt=TEXT, **HOW).choices[0]
        assert (found.text, found.finish_reason) == ("", "length")


def test_votes_become_comparisons_that_reward_models_learn_from(
    server: tuple[str, Api], folder: Path, gpt: Served
) -> None:
    def vote(answer: str, choice: str, prompt: str = TEXT) -> int:
        messages = [{"role": "user", "content": prompt}]
        body = {"model": NAME, "messages": messages, "answer": answer, "vote": choice}
        return int(httpx2.post(f"{server[0]}/votes", json=body).raise_for_status().json()["comparisons"])

    votes = [("a sum", "up"), ("a file", "down"), ("two", "down"), ("", "down")]
    assert [vote(*one) for one in votes] == [0, 1, 2, 2]
    assert vote("two", "none") == 1
    assert [vote(*one, "reads") for one in votes[:2]] == [1, 2]
    file = folder / "preferences.jsonl"
    first, _ = read_rankings(file)
    assert (first.answers, first.beats.tolist()) == (("a sum", "a file"), [[0, 1], [0, 0]])
    vocabulary = gpt.model.vocabulary
    compared = encode(ChatTemplate(vocabulary), first)
    assert compared.rows[0][: compared.starts[0]].tolist() == list(gpt.chat_prompt(first.prompt))
    config = tiny.config(train={"global_batch": 1, "micro_batch": 1}, data={"sequence_length": 64})
    source = Comparisons(config, vocabulary, [file], [], 0, 1)  # what stages `reward` and `dpo` learn from
    assert dict(source.counts) == {"rows": 2, "train": 1, "validation": 1}
    assert source.step(0)[0]["pair_weights"].tolist() == [[[0, 1], [0, 0]]]


def test_health_and_what_prometheus_reads(server: tuple[str, Api]) -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    client(server[0]).completions.create(prompt=TEXT, max_tokens=3, **HOW)
    assert httpx2.get(f"{server[0]}/health").json() == {"status": "ok"}
    text = httpx2.get(f"{server[0]}/metrics").text
    found = {family.name: family for family in parser.text_string_to_metric_families(text)}
    rows = {
        (one.labels["route"], one.labels["status"]): one.value for one in found["bloomery_requests"].samples
    }
    assert rows["/v1/completions", "200"] >= 1
    assert found["bloomery_slots"].samples[0].value == 6
    whole = found["bloomery_answer_seconds"]
    buckets = [one.value for one in whole.samples if one.name.endswith("_bucket")]
    assert buckets == sorted(buckets)
    assert buckets[-1] >= 1
    assert math.isfinite(next(one.value for one in whole.samples if one.name.endswith("_sum")))


@pytest.mark.parametrize("family", ["t5"])
def test_a_decoder_behind_an_encoder_answers_too(family: str, tmp_path: Path) -> None:
    served = double(tmp_path / "run", family)
    expected = [said(served, TEXT, 10, SAMPLING, chat) for chat in (True, False)]
    with serving(served, tmp_path / "feedback") as (address, _):
        one = client(address)
        messages = [{"role": "user", "content": TEXT}]
        chat = one.chat.completions.create(messages=messages, max_tokens=10, **HOW).choices[0].message.content
        assert [chat, one.completions.create(prompt=TEXT, max_tokens=10, **HOW).choices[0].text] == expected
        stream = one.chat.completions.create(messages=messages, max_tokens=10, stream=True, **HOW)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == chat
