"""Text that was made up, for tests of language models."""

from __future__ import annotations

import random


def zipf_text(num_sentences: int, num_words: int, seed: int) -> list[list[str]]:
    """Sentences of which neighbouring words depend on each other."""
    generator = random.Random(seed)
    weights = [1 / (i + 1) for i in range(num_words)]
    words = [f"w{i}" for i in range(num_words)]
    text = []
    for _ in range(num_sentences):
        sentence = generator.choices(words, weights, k=generator.randint(1, 7))
        for i in range(1, len(sentence)):
            if generator.random() < 0.5:
                sentence[i] = words[(words.index(sentence[i - 1]) * 7 + 1) % num_words]
        text.append(sentence)
    return text
