"""Recognition of streams: audio in pieces, words while it comes."""
