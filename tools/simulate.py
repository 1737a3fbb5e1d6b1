"""Simulate many seeds over all processors, or tell the story of one of them again, to the same trace."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from time import monotonic
from typing import Final

from tests.simulation.scenario import Told, tell
from tests.simulation.shared_scenario import tell_shared
from tests.simulation.village_scenario import tell_village

MESSAGES: Final = "messages"
STORIES: Final[Mapping[str, Callable[..., Told]]] = {MESSAGES: tell, "shared": tell_shared, "village": tell_village}
"""Kinds of stories, each with seeds of its own: messages that are delivered, data that is shared, and data that members
share who come and go."""

HASH_SEED = "0"
CHUNK = 5
"""Seeds that a process tells in a row before it says what came of them."""


def replay_command(seed: int, story: str = MESSAGES) -> str:
    """What a person types to see the story of a seed again."""
    return f"make simulate SEED={seed}" + ("" if story == MESSAGES else f" STORY={story}")


def tell_all(seeds: Sequence[int], processes: int, story: str = MESSAGES) -> Iterator[tuple[int, Told | str]]:
    """What came of each seed, as they end: the story, or the text of what it raised."""
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(_tell_some, chunk, story) for chunk in chunks]):
            yield from future.result()


def _tell_some(seeds: Sequence[int], story: str) -> list[tuple[int, Told | str]]:
    logging.getLogger("covm").addHandler(logging.NullHandler())
    return [(seed, _tell_one(seed, story)) for seed in seeds]


def _tell_one(seed: int, story: str) -> Told | str:
    try:
        return STORIES[story](seed)
    except Exception:  # noqa: BLE001 - whatever a story raises is what came of it
        return traceback.format_exc(limit=-6)
    finally:
        gc.collect()


def _with_fixed_hashes() -> None:
    """Starts this program again with a fixed hash seed, without which sets of strings have another order each time."""
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        os.environ["PYTHONHASHSEED"] = HASH_SEED
        os.execv(sys.executable, [sys.executable, "-m", "tools.simulate", *sys.argv[1:]])


def main() -> int:
    """Runs what was asked for; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tools.simulate", description=__doc__)
    parser.add_argument(
        "--story", choices=list(STORIES), default=MESSAGES, help="what the stories are about (messages)"
    )
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds (200)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--seed", type=int, help="one seed again, its trace line by line")
    parser.add_argument("--quiet", action="store_true", help="with --seed: what came of it alone")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many at once (one a processor)")
    arguments = parser.parse_args()
    _with_fixed_hashes()
    if arguments.seed is not None:
        return _replay(arguments.seed, arguments.story, is_quiet=arguments.quiet)
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    return _run_many(seeds, arguments.processes, arguments.story)


def _replay(seed: int, story: str, *, is_quiet: bool) -> int:
    told = STORIES[story](seed, None if is_quiet else print)
    print(f"seed {seed} ({told.kind}): {told.took_s:.1f} s in {told.steps:,} steps; {told.ends}")
    print(f"trace {told.trace}")
    for each in told.broken:
        print(f"broken: {each}")
    return int(bool(told.broken))


def _run_many(seeds: range, processes: int, story: str) -> int:
    began_s, failed, ends, kinds = monotonic(), 0, Counter[str](), Counter[str]()
    for done, (seed, told) in enumerate(tell_all(seeds, processes, story), 1):
        if isinstance(told, Told):
            ends.update(told.ends)
        if isinstance(told, str) or told.broken:
            failed += 1
            kinds[told.kind if isinstance(told, Told) else "raised"] += 1
            said = told if isinstance(told, str) else "\n".join([*told.broken[:3], f"trace {told.trace}"])
            print(f"\nseed {seed} {'' if isinstance(told, str) else f'({told.kind})'} failed:\n{said}")
            print(f"again: {replay_command(seed, story)}", flush=True)
        if done % 100 == 0:
            print(f"{done:,} of {len(seeds):,} seeds in {monotonic() - began_s:.0f} s, {failed} failed", flush=True)
    print(f"{len(seeds):,} seeds in {monotonic() - began_s:.0f} s, {failed} failed {dict(kinds) or ''}")
    print(f"{story}: {dict(sorted(ends.items()))}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
