"""The steps of a preparation of pictures and what passes between them.

pictures    files -> stored pictures             one part per group of files or range of scenes
said        pictures -> captions                 one part per part above, where shared captions go
looked      pictures -> verdicts                 likewise
same        hashes -> equal pictures             one part per share of all hashes
alike       hashes -> links                      one part per some choices of bits
clusters    links -> nearly equal pictures       one part
chosen      all of these -> kept, rejected       one part per part of pictures
sample      kept -> captions                     one part per part of pictures
tokenizer   captions -> model                    one part
tars        kept -> tar shards                   one part per shard
"""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from data_prep.account import total_input
from data_prep.amounts import nothing
from data_prep.by_part import Places, rows_at
from data_prep.config import TokenizerConfig
from data_prep.contract.dataset import TOKENIZER
from data_prep.contract.names import without_passwords
from data_prep.contract.pictures import TRAIN, VALIDATION, PictureManifest, PictureShard, write_manifest
from data_prep.contract.receipt import file_hash, versions, write_atomic
from data_prep.contract.settings import InputError
from data_prep.contract.shapes import COMPOSITION
from data_prep.contract.vocabulary import Vocabulary
from data_prep.documents import hash64, seeded_order, share_limit
from data_prep.filters.decide import DROP, KEPT
from data_prep.finish import remove_strays, write_documents
from data_prep.funnel import deduplication_steps, funnel_step, show_funnel
from data_prep.images import collect, decide, duplicates, shards
from data_prep.images.amounts import judged_size, kept_size, read_size, written_size
from data_prep.images.config import ImagesConfig
from data_prep.images.handling import handling
from data_prep.images.rules import DUPLICATES, SHARED
from data_prep.images.scores import score_files
from data_prep.images.sources import Input
from data_prep.parts import Execute, Part, finished, remove_unused
from data_prep.planning import FEW, total
from data_prep.progress import as_counts
from data_prep.steps import Steps
from data_prep.storage import Storage
from data_prep.tokenize import train

PARTS, LEAST_PART = 64, 1 << 20
"""Units of work that there are at least, and bytes that each has at least."""
CHOICES_TOGETHER = 8
"""Choices of bits that one part compares under."""
ROWS_PER_TASK = 2_000_000
FIELDS = ("caption", "label", "questions")


class PicturePreparation(Steps):
    """One run of the stage."""

    def __init__(
        self,
        config: ImagesConfig,
        tokenizer: TokenizerConfig,
        seed: int,
        storage: Storage,
        execute: Execute,
        notify: Callable[[str], None],
        start: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(storage, execute, notify, start)
        self.config, self.tokens, self.seed = config, tokenizer, seed

    def run(self, inputs: Sequence[Input], others: Sequence[str] = ()) -> dict[str, Any]:
        """Every step; returns the receipt's counts. `others` are names of files that are not read."""
        with self.progress:
            manifest = self.steps(inputs, others)
        show_funnel(self.funnel, self.notify)
        totals = {f"{name}_samples": split.total("samples") for name, split in manifest.splits.items()}
        return {
            "input": self.input,
            "funnel": self.funnel,
            **totals,
            "classes": len(manifest.classes),
            "vocabulary_size": manifest.vocabulary_size,
            **as_counts(self.progress, self.funnel[0]["documents"]),
        }

    def steps(self, inputs: Sequence[Input], others: Sequence[str]) -> PictureManifest:
        """The dataset's manifest."""
        collected = self.collect(inputs, others)
        fields = self.fields(collected)
        judging = {
            "rules": self.config.rules.model_dump(mode="json"),
            "fields": fields,
            "shared": self.shared(collected),
        }
        judged = self.judge(collected, judging)
        drops = self.duplicates(collected, judged)
        kept = self.decide(collected, judged, drops, judging)
        files = [part.path("kept.parquet") for part in kept]
        self.tokenizer(kept, files, fields)
        write_documents(self.storage, files)
        manifest = self.tars(collected, kept, fields)
        remove_unused(self.storage, self.used)
        remove_strays(self.storage, manifest)
        return manifest

    def collect(self, inputs: Sequence[Input], others: Sequence[str]) -> list[Part]:
        """Read everything."""
        settings = self.config.model_dump(
            mode="json",
            include={
                "kind",
                "image_field",
                "caption_field",
                "label_field",
                "question_field",
                "class_names",
                "pixels",
                "shapes",
            },
        )
        settings["paths"] = [] if self.config.kind == "shapes" else ["-"]  # the inputs say which they are
        if self.config.kind != "shapes":
            del settings["shapes"]
        else:
            for name in ("count", "validation", "composition"):
                del settings["shapes"][name]  # the inputs are ranges of numbers
        wanted = [
            self.plan(
                "pictures",
                collect.VERSION,
                {"inputs": [asdict(one) for one in group], "images": settings},
                versions("pillow"),
            )
            for group in grouped(inputs, self.config.part_bytes, self.seed)
        ]
        done = self.step(collect.collect, wanted, read_size)
        for line in itertools.chain(*(part.counts["damaged"] for part in done)):
            self.notify(line)
        self.input = total_input((part.counts for part in done), [], others)
        if not self.input["documents"]:
            failures = total(part.counts["failures"] for part in done)
            why = ", ".join(f"{count} {reason}" for reason, count in failures.most_common(3))
            raise InputError(
                f"images.paths: no picture could be had of {len(inputs)} files ({why or 'all are empty'})"
            )
        size = sum(part.counts["bytes"] for part in done)
        failures = total(part.counts["failures"] for part in done)
        self.funnel.append(funnel_step("decoded", self.input["documents"], size, failures))
        return done

    def fields(self, collected: Sequence[Part]) -> list[str]:
        """What every picture has: what the recipe asks for, or what all of them have."""
        if self.config.fields is not None:
            return [name for name in FIELDS if name in self.config.fields]
        having = total(part.counts["having"] for part in collected)
        return [name for name in FIELDS if having[name] == self.input["documents"]]

    def shared(self, collected: Sequence[Part]) -> list[str]:
        """Captions of too many pictures, where that counts."""
        if not self.config.rules.once:
            return []
        wanted = [
            self.plan("said", decide.VERSION, {"pictures": part.path("pictures.parquet")})
            for part in collected
        ]
        counts: Counter[str] = Counter()
        for part in self.step(decide.count_captions, wanted, nothing):
            table = pq.read_table(part.path("captions.parquet"))
            counts.update(dict(zip(table["caption"].to_pylist(), table["count"].to_pylist(), strict=True)))
        return sorted(caption for caption, count in counts.items() if count > SHARED)

    def judge(self, collected: Sequence[Part], judging: dict[str, Any]) -> list[Part]:
        """What the rules say of every picture."""
        scores = [file_hash(path) for path in score_files(self.config.rules.scores)]
        wanted = [
            self.plan("looked", decide.VERSION, {"pictures": part.path("pictures.parquet")} | judging, scores)
            for part in collected
        ]
        judged = self.step(decide.judge_part, wanted, judged_size)
        left = total(part.counts["kept"] for part in judged)
        rejected = total(part.counts["rejected"] for part in judged)
        self.funnel.append(funnel_step("kept by the rules", left["documents"], left["bytes"], rejected))
        return judged

    def duplicates(self, collected: Sequence[Part], judged: Sequence[Part]) -> dict[str, list[Path]]:
        """The files of pictures that go (DROP) by the reason for which they do."""
        rules, drops = self.config.duplicates, dict[str, list[Path]]()
        arguments = {
            "signals": [part.path("signals.npy") for part in collected],
            "verdicts": [part.path("verdicts.npy") for part in judged],
        }
        count = sum(part.counts["kept"]["documents"] for part in judged)
        if rules.exact:
            shares = 1 + count // ROWS_PER_TASK
            wanted = [
                self.plan("same", duplicates.VERSION, arguments | {"share": share, "shares": shares})
                for share in range(shares)
            ]
            done = self.step(duplicates.drop_equal, wanted, nothing)
            drops[DUPLICATES[0]] = [part.path("drops.npy") for part in done]
        if rules.near and self.config.kind != "shapes":
            about = {
                "exact_drops": drops.get(DUPLICATES[0], []),
                "distance": rules.distance,
                "colour": rules.colour,
                "likeness": rules.likeness,
            }
            choices = duplicates.masks(count, rules.distance)
            wanted = [
                self.plan(
                    "alike",
                    duplicates.VERSION,
                    arguments | about | {"masks": choices[first : first + CHOICES_TOGETHER]},
                )
                for first in range(0, len(choices), CHOICES_TOGETHER)
            ]
            edges = [part.path("edges.npy") for part in self.step(duplicates.find_links, wanted, nothing)]
            chosen = self.plan("clusters", duplicates.VERSION, arguments | {"edges": edges})
            done = self.step(duplicates.choose, [chosen], nothing)
            drops[DUPLICATES[1]] = [part.path("drops.npy") for part in done]
        return drops

    @property
    def splits(self) -> list[str]:
        """The splits of the dataset."""
        drawn = self.config.kind == "shapes" and self.config.shapes.composition
        return [TRAIN, VALIDATION, *([COMPOSITION] if drawn else [])]

    def decide(
        self,
        collected: Sequence[Part],
        judged: Sequence[Part],
        drops: dict[str, list[Path]],
        judging: dict[str, Any],
    ) -> list[Part]:
        """The kept and the rejected pictures of every part, and their splits."""
        places = {name: Places(paths, DROP) for name, paths in drops.items()}
        arguments = judging | {
            "splits": self.splits,
            "validation_below": self.validation_below(collected, judged, places),
            "seed": self.seed,
        }
        gone = {name: [np.load(path) for path in paths] for name, paths in drops.items()}
        digest = hash64(*(array.tobytes() for name in sorted(gone) for array in gone[name]))
        wanted = [
            self.plan(
                "chosen",
                decide.VERSION,
                arguments
                | {"pictures": part.path("pictures.parquet"), "verdicts": other.path("verdicts.npy")},
                digest,
                unnamed={
                    "storage": self.storage,
                    "drops": {name: found.of(number) for name, found in places.items()},
                },
                sliced=["drops"],
            )
            for number, (part, other) in enumerate(zip(collected, judged, strict=True))
        ]
        kept = self.step(decide.decide_part, wanted, kept_size)
        self.funnel += deduplication_steps(self.funnel[-1], kept, drops)
        self._check_left(kept)
        return kept

    def _check_left(self, kept: Sequence[Part]) -> None:
        for split in (TRAIN, VALIDATION):
            if not any(part.counts["splits"][split]["documents"] for part in kept):
                removed = total(step["removed"] for step in self.funnel)
                why = ", ".join(f"{count} {reason}" for reason, count in removed.most_common(3))
                raise InputError(
                    f"images: no picture is left for {split}; not taken: {why or 'none'}; name "
                    "validation_paths or raise validation_share, or loosen rules and duplicates"
                )

    def validation_below(
        self, collected: Sequence[Part], judged: Sequence[Part], drops: dict[str, Places]
    ) -> int:
        """The key below which a picture without a split is held out; few pictures hold out at least one."""
        limit = int(share_limit(self.config.validation_share))
        if self.config.kind == "shapes" or self.config.validation_paths:
            return limit
        left = sum(part.counts["kept"]["documents"] for part in judged)
        gone = sum(places.rows for places in drops.values())
        if (left - gone) * self.config.validation_share >= FEW or left - gone < 2:
            return limit
        keys = []
        for number, (part, other) in enumerate(zip(collected, judged, strict=True)):
            stays = np.load(other.path("verdicts.npy"))["rule"] == KEPT
            for places in drops.values():
                stays[rows_at(places.here, places.of(number), DROP)["row"]] = False
            ids = np.load(part.path("signals.npy"))["id"][stays]
            keys.append(seeded_order(np.ascontiguousarray(ids), self.seed, VALIDATION))
        ordered = np.sort(np.concatenate(keys))
        return min(max(limit, int(ordered[0])), int(ordered[-1]) - 1)

    def tokenizer(self, kept: Sequence[Part], files: Sequence[Path], fields: Sequence[str]) -> None:
        """The dataset's tokenizer.model, where there are captions or questions: the recipe's, or one
        of their words."""
        target = self.storage.folder / TOKENIZER
        target.unlink(missing_ok=True)
        if not {"caption", "questions"} & {*fields}:
            return
        if self.tokens.model:
            write_atomic(target, Vocabulary(self.tokens.model).content)
            return
        size = sum(part.counts["splits"][TRAIN]["text_bytes"] for part in kept)
        share = min(1.0, self.tokens.sample_bytes / max(size, 1))
        drawing = {"share": share, "seed": self.seed, "column": "words"}
        wanted = [self.plan("sample", train.VERSION, drawing | {"kept": path}) for path in files]
        drawn = self.step(train.sample, wanted, nothing)
        arguments = {
            "samples": [part.path("sample.parquet") for part in drawn],
            "tokenizer": self.tokens.model_dump(mode="json", exclude={"model", "sample_bytes"}),
        }
        [done] = self.step(train.train, [self.plan("tokenizer", train.VERSION, arguments)], nothing)
        write_atomic(target, done.path("model").read_bytes())

    def tars(self, collected: Sequence[Part], kept: Sequence[Part], fields: Sequence[str]) -> PictureManifest:
        """The tar shards of all splits and the manifest that makes the folder a dataset."""
        classes = class_order(total(part.counts["labels"] for part in kept), self.config.class_names)
        wanted = []
        for number, split in enumerate(self.splits):
            size = sum(part.counts["splits"][split]["bytes"] for part in kept)
            count = max(1, round(size / self.config.shard_bytes))
            arguments = {
                "split": split,
                "number": number,
                "shards": count,
                "classes": classes,
                "asked": "questions" in fields,
                "kept": [part.path("kept.parquet") for part in kept],
                "indexes": [part.path("kept.npy") for part in kept],
                "pictures": [part.path("pictures.parquet") for part in collected],
                "data": [part.path("pictures.bin") for part in collected],
            }
            wanted += [
                self.plan(
                    "tars",
                    shards.VERSION,
                    arguments | {"shard": shard},
                    unnamed={"storage": self.storage},
                    sliced=["data"],
                )
                for shard in range(count)
            ]
        self._forget_missing(wanted)
        done = self.step(shards.build, wanted, written_size)
        splits: dict[str, list[tuple[PictureShard, Any]]] = {name: [] for name in self.splits}
        for part in done:
            entry = PictureShard.model_validate(part.counts["shard"])
            splits[part.arguments["split"]].append((entry, np.load(part.path("samples.npy"))))
        recipe = self.config.model_dump(mode="json", exclude={"workers"})
        about = {"recipe": without_passwords(recipe), "input": self.input, "funnel": self.funnel}
        return write_manifest(
            self.storage.folder, splits, ["image", *fields], classes, self._pixels(kept), about
        )

    def _forget_missing(self, wanted: Sequence[Part]) -> None:
        """Unmark the shards whose tar is gone or of another size, so that they are written again."""
        for part in finished(wanted).values():
            entry = part.counts["shard"]
            path = self.storage.folder / entry["path"]
            if not path.is_file() or path.stat().st_size != entry["bytes"]:
                part.path("json").unlink()

    def _pixels(self, kept: Sequence[Part]) -> dict[str, Any]:
        """How pixels were handled; `size` is the side of all pictures where they are equal squares."""
        sides = {side for part in kept for side in part.counts["sides"] if any(part.counts["sides"])}
        return handling(self.config.pixels) | {"size": sides.pop() if len(sides) == 1 else None}


def grouped(inputs: Sequence[Input], part_bytes: int, seed: int) -> list[list[Input]]:
    """Parts of about `part_bytes`, at least some dozens where there are that many files; a seeded order that
    does not depend on the order they were named in. Scenes are a part for each range."""
    size = min(part_bytes, max(sum(one.file.size for one in inputs) // PARTS, LEAST_PART))
    groups: list[list[Input]] = []
    full = size
    for one in sorted(
        inputs, key=lambda one: (hash64(seed, "files", one.file.name), one.file.name, one.start)
    ):
        if full >= size or not one.file.path:
            groups.append([])
            full = 0
        groups[-1].append(one)
        full += sum(file.size for file in one.files)
    return groups


def class_order(counts: Counter[str], names: Sequence[str]) -> list[str]:
    """The names of the classes that there are: as given, else numbers by their value, else by the
    alphabet."""
    if names:
        return list(names)
    if all(name.isdecimal() for name in counts):
        return sorted(counts, key=int)
    return sorted(counts)
