"""From frame scores to tokens, words and their times."""
