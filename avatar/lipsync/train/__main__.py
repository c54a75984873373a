"""Makes the corpus and trains the lip model: `python -m avatar.lipsync.train CORPUS_FOLDER`."""

from __future__ import annotations

import argparse
from pathlib import Path

from avatar.lipsync.network import WEIGHTS
from avatar.lipsync.train import corpus
from avatar.lipsync.train.export import arrays_of, model_of, read, save
from avatar.lipsync.train.model import LipNetwork
from avatar.lipsync.train.train import Plan, train


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m avatar.lipsync.train", description=__doc__)
    parser.add_argument("corpus", type=Path, help="folder of the corpus; what is missing in it is synthesised")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="file of the weights (default: the program's own)")
    parser.add_argument("--steps", type=int, default=Plan.steps)
    parser.add_argument("--batch", type=int, default=Plan.batch)
    parser.add_argument("--width", type=int, default=Plan.width)
    parser.add_argument("--rate", type=float, default=Plan.rate, help="highest learning rate")
    parser.add_argument("--start", type=Path, help="weights to go on from, of the same width")
    parser.add_argument("--espeak-share", type=float, default=corpus.ESPEAK_SHARE, help="of the training sequences")
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--threads", type=int, default=Plan.threads)
    parser.add_argument("--processes", type=int, default=2, help="for synthesis")
    parser.add_argument("--corpus-only", action="store_true")
    given = parser.parse_args()
    corpus.make(given.corpus, corpus.Amount(), seed=given.seed, processes=given.processes)
    if given.corpus_only:
        return
    plan = Plan(given.steps, given.batch, width=given.width, rate=given.rate, seed=given.seed, threads=given.threads)
    shards, noises = corpus.load(given.corpus, given.espeak_share)
    hours = sum(len(shard.mel) for shard in shards) / 360_000
    print(f"{len(shards)} voices, {hours:.1f} h of features")

    def keep(step: int, loss: float, model: LipNetwork) -> None:
        save(arrays_of(model), given.out)

    model = train(shards, noises, plan, keep, model_of(read(given.start)) if given.start else None)
    save(arrays_of(model), given.out)
    print(f"wrote {given.out}")


if __name__ == "__main__":
    main()
