"""Measures of what a recogniser wrote, when it wrote it, and how sure its alignment was."""
